/// A stretch of time, in seconds; the end is not part of it.
public struct TimeWindow: Hashable, Sendable {
  public var start: UnixSeconds, end: UnixSeconds

  public init(start: UnixSeconds, end: UnixSeconds) {
    precondition(start <= end, "a window ends after it starts")
    self.start = start
    self.end = end
  }

  public func contains(_ instant: UnixSeconds) -> Bool { start <= instant && instant < end }
}

/// What opening hours say about an instant.
public struct OpeningStatus: Hashable, Sendable {
  public var state: OpeningState
  /// When open: the closing time; nil if it does not close within `CityGraphLimits.openStretchDays`.
  public var openUntil: UnixSeconds?
  /// When not open: the next time that it certainly opens, if it does within `CityGraphLimits.nextOpeningDays`.
  public var opensAt: UnixSeconds?
  /// The rule's comment, in the mapper's words.
  public var comment: String?
}

extension OpeningHours {
  public func status(at instant: UnixSeconds, in calendar: CityCalendar) -> OpeningStatus {
    let (state, comment) = stateAndComment(at: instant, in: calendar)
    return switch state {
    case .open: OpeningStatus(state: .open, openUntil: openUntil(instant, in: calendar), comment: comment)
    case .closed, .unknown: OpeningStatus(state: state, opensAt: nextOpening(from: instant, in: calendar), comment: comment)
    }
  }

  public func state(at instant: UnixSeconds, in calendar: CityCalendar) -> OpeningState {
    stateAndComment(at: instant, in: calendar).state
  }

  /// The end of the open stretch that contains the instant; nil when it is not open then, or does not close within a week.
  public func openUntil(_ instant: UnixSeconds, in calendar: CityCalendar) -> UnixSeconds? {
    let horizon = instant + Int64(CityGraphLimits.openStretchDays) * 86_400
    guard let first = openWindows(from: instant, to: horizon, in: calendar).first, first.start == instant else { return nil }
    return first.end < horizon ? first.end : nil
  }

  /// The first instant, from the given one on, at which it is certainly open.
  public func nextOpening(from instant: UnixSeconds, in calendar: CityCalendar) -> UnixSeconds? {
    let today = calendar.timeZone.local(instant).date
    var earliest: UnixSeconds?
    for ahead in -1...CityGraphLimits.nextOpeningDays {
      for segment in segments(of: today + ahead, in: calendar) where segment.state == .open && segment.end > instant {
        earliest = min(earliest ?? .max, max(segment.start, instant))
      }
      if let earliest, ahead >= 0 || earliest == instant { return earliest }
    }
    return nil
  }

  /// The stretches in which it is certainly open, within the given time, in order and merged.
  public func openWindows(from start: UnixSeconds, to end: UnixSeconds, in calendar: CityCalendar) -> [TimeWindow] {
    guard start < end else { return [] }
    let last = calendar.timeZone.local(end).date
    var day = calendar.timeZone.local(start).date - 1
    var windows: [TimeWindow] = []
    while day <= last {
      for segment in segments(of: day, in: calendar) where segment.state == .open {
        let from = max(segment.start, start)
        let to = min(segment.end, end)
        guard from < to else { continue }
        if let previous = windows.last, from <= previous.end {
          windows[windows.count - 1].end = max(previous.end, to)
        } else {
          windows.append(TimeWindow(start: from, end: to))
        }
      }
      day = day + 1
    }
    return windows
  }

  // MARK: One day

  private struct Segment {
    var start: UnixSeconds, end: UnixSeconds
    var state: OpeningState
    var comment: String?
  }

  private func stateAndComment(at instant: UnixSeconds, in calendar: CityCalendar) -> (state: OpeningState, comment: String?) {
    let today = calendar.timeZone.local(instant).date
    var found: (OpeningState, String?) = (.closed, nil)
    // Yesterday's hours may reach past midnight, and today's rules do not send those guests home.
    for day in [today, today - 1] {
      for segment in segments(of: day, in: calendar) where segment.start <= instant && instant < segment.end {
        if segment.state == .open { return (.open, segment.comment) }
        found = (.unknown, segment.comment)
      }
    }
    return found
  }

  /// The open and unknown stretches that begin on a day, in order.
  private func segments(of date: CivilDate, in calendar: CityCalendar) -> [Segment] {
    var painting = DayPainting()
    for rule in rules where rule.applies(on: date, holidays: calendar.holidays) {
      painting.apply(rule)
    }
    return painting.strokes.map {
      Segment(
        start: calendar.timeZone.instant(date, minute: $0.start), end: calendar.timeZone.instant(date, minute: $0.end),
        state: $0.state, comment: $0.comment)
    }
  }
}

/// The hours of one day while its rules are laid over one another: what is not painted is closed.
private struct DayPainting {
  struct Stroke {
    var start: Int, end: Int
    var state: OpeningState
    var comment: String?
  }

  private(set) var strokes: [Stroke] = []

  mutating func apply(_ rule: OpeningHours.Rule) {
    let new = rule.strokes
    switch rule.joint {
    case .replaces where rule.state != .closed: strokes = new
    case .replaces, .adds: new.forEach { paint($0) }
    case .fallsBack: new.forEach { fillGaps($0) }
    }
  }

  private mutating func paint(_ stroke: Stroke) {
    var result: [Stroke] = []
    for old in strokes {
      if old.start < stroke.start {
        result.append(.init(start: old.start, end: min(old.end, stroke.start), state: old.state, comment: old.comment))
      }
      if old.end > stroke.end {
        result.append(.init(start: max(old.start, stroke.end), end: old.end, state: old.state, comment: old.comment))
      }
    }
    if stroke.state != .closed { result.append(stroke) }
    strokes = result.sorted { $0.start < $1.start }
  }

  private mutating func fillGaps(_ stroke: Stroke) {
    guard stroke.state != .closed else { return }
    var from = stroke.start
    var gaps: [Stroke] = []
    for old in strokes {
      if old.start > from { gaps.append(.init(start: from, end: min(old.start, stroke.end), state: stroke.state, comment: stroke.comment)) }
      from = max(from, old.end)
      if from >= stroke.end { break }
    }
    if from < stroke.end { gaps.append(.init(start: from, end: stroke.end, state: stroke.state, comment: stroke.comment)) }
    strokes = (strokes + gaps.filter { $0.start < $0.end }).sorted { $0.start < $1.start }
  }
}

extension OpeningHours.Rule {
  fileprivate var strokes: [DayPainting.Stroke] {
    if spans.isEmpty {
      // Closing a day also ends the hours that would have run past its midnight.
      return [.init(start: 0, end: state == .closed ? 2880 : 1440, state: state, comment: comment)]
    }
    return spans.sorted { $0.start < $1.start }.flatMap { span -> [DayPainting.Stroke] in
      if span.endIsUnknown { return [.init(start: span.start, end: span.end, state: state == .open ? .unknown : state, comment: comment)] }
      let known = DayPainting.Stroke(start: span.start, end: span.end, state: state, comment: comment)
      guard span.openEnd, state == .open else { return [known] }
      // After `19:00+` somebody may still be there: six hours of not knowing.
      return [known, .init(start: span.end, end: min(span.end + 360, 2880), state: .unknown, comment: comment)]
    }
  }

  fileprivate func applies(on date: CivilDate, holidays calendar: PublicHolidays) -> Bool {
    if always { return true }
    let year = years.isEmpty && dates.isEmpty ? 0 : date.components.year
    if !years.isEmpty, !years.contains(where: { $0.contains(year) }) { return false }
    if !dates.isEmpty, !dates.contains(where: { $0.contains(date, year: year) }) { return false }
    if !weeks.isEmpty {
      let week = date.isoWeek
      guard weeks.contains(where: { $0.weeks.contains(week) && (week - $0.weeks.lowerBound) % $0.step == 0 }) else { return false }
    }
    if days.isEmpty && holidays.isEmpty { return true }
    let dayMatches = days.contains { $0.contains(date) }
    if holidaysRestrictDays, holidays.isEmpty { return dayMatches }
    let holidayMatches = holidays.contains { calendar.contains(date - $0) }
    return holidaysRestrictDays ? dayMatches && holidayMatches : dayMatches || holidayMatches
  }
}

extension OpeningHours.DaySelector {
  fileprivate func contains(_ date: CivilDate) -> Bool {
    let day = date.weekday.rawValue
    guard first.rawValue <= last.rawValue ? (first.rawValue...last.rawValue).contains(day) : day >= first.rawValue || day <= last.rawValue
    else { return false }
    if nth.isEmpty { return true }
    let dayOfMonth = date.components.day
    return nth.contains((dayOfMonth - 1) / 7 + 1) || nth.contains(-((date.daysInMonth - dayOfMonth) / 7 + 1))
  }
}

extension OpeningHours.DateRange {
  fileprivate func contains(_ date: CivilDate, year: Int) -> Bool {
    let start = first.date(in: year, atEnd: false)
    let end = last.date(in: year, atEnd: true)
    guard first.year == nil else {
      // With a year of its own: from then to the end, which is in that year unless it names another or lies before the start.
      guard last.year == nil, let fixed = first.year else { return start <= date && date <= end }
      let sameYear = last.date(in: fixed, atEnd: true)
      return start <= date && date <= (sameYear < start ? last.date(in: fixed + 1, atEnd: true) : sameYear)
    }
    if first == last, case .day(_, 2, 29) = first { return date.components.month == 2 && date.components.day == 29 }
    return start <= end ? start <= date && date <= end : date >= start || date <= end
  }
}

extension OpeningHours.DateAnchor {
  fileprivate var year: Int? {
    switch self {
    case .day(let year, _, _), .month(let year, _), .easter(let year, _): year
    }
  }

  fileprivate func date(in year: Int, atEnd: Bool) -> CivilDate {
    switch self {
    case .day(let own, let month, let day): return CivilDate(year: own ?? year, month: month, day: day)
    case .month(let own, let month):
      let first = CivilDate(year: own ?? year, month: month, day: 1)
      return atEnd ? first + (first.daysInMonth - 1) : first
    case .easter(let own, let offset): return CivilDate.easter(own ?? year) + offset
    }
  }
}
