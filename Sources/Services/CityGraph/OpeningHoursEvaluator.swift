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

/// A stretch of time in which opening hours say one thing.
public struct OpeningStretch: Hashable, Sendable {
  public var start: UnixSeconds, end: UnixSeconds
  public var state: OpeningState
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
    nextInterval(from: instant, in: calendar) { $0.state == .open }?.start
  }

  /// The first instant after the given one at which the state or its comment is another; nil when there is none within
  /// `CityGraphLimits.nextOpeningDays`.
  public func nextChange(after instant: UnixSeconds, in calendar: CityCalendar) -> UnixSeconds? {
    let (state, comment) = stateAndComment(at: instant, in: calendar)
    return nextInterval(from: instant, in: calendar) { $0.state != state || $0.comment != comment }?.start
  }

  /// The stretches in which it is certainly open, within the given time, in order and merged.
  public func openWindows(from start: UnixSeconds, to end: UnixSeconds, in calendar: CityCalendar) -> [TimeWindow] {
    var windows: [TimeWindow] = []
    for interval in intervals(from: start, to: end, in: calendar) where interval.state == .open {
      if let previous = windows.last, previous.end == interval.start {
        windows[windows.count - 1].end = interval.end
      } else {
        windows.append(TimeWindow(start: interval.start, end: interval.end))
      }
    }
    return windows
  }

  /// What it says about every instant of the given time: intervals in order, without gaps, each different from the one before.
  public func intervals(from start: UnixSeconds, to end: UnixSeconds, in calendar: CityCalendar) -> [OpeningStretch] {
    guard start < end else { return [] }
    let last = calendar.timeZone.local(end).date
    // Yesterday's hours may reach past midnight, and today's rules do not send those guests home.
    var day = calendar.timeZone.local(start).date - 1
    var segments: [OpeningStretch] = []
    while day <= last {
      segments += self.segments(of: day, in: calendar)
      day = day + 1
    }
    segments.removeAll { $0.end <= start || $0.start >= end }
    var edges = [start, end]
    for segment in segments { edges += [segment.start, segment.end] }
    edges = Set(edges.filter { start <= $0 && $0 <= end }).sorted()

    var intervals: [OpeningStretch] = []
    var first = 0
    for (from, to) in zip(edges, edges.dropFirst()) {
      // Segments begin in the order of their days: those two days back are over.
      while first < segments.count, segments[first].end <= from { first += 1 }
      var found = OpeningStretch(start: from, end: to, state: .closed)
      for segment in segments[first...] where segment.start <= from && to <= segment.end {
        (found.state, found.comment) = (segment.state, segment.comment)
        if segment.state == .open { break }
      }
      if let previous = intervals.last, previous.state == found.state, previous.comment == found.comment {
        intervals[intervals.count - 1].end = to
      } else {
        intervals.append(found)
      }
    }
    return intervals
  }

  /// Looks ahead by a week, then by ever longer stretches: most hours change within one.
  private func nextInterval(
    from instant: UnixSeconds, in calendar: CityCalendar, where matches: (OpeningStretch) -> Bool
  ) -> OpeningStretch? {
    let horizon = instant + Int64(CityGraphLimits.nextOpeningDays) * 86_400
    var (from, days) = (instant, Int64(1))
    while from < horizon {
      let to = min(horizon, from + days * 86_400)
      if let found = intervals(from: from, to: to, in: calendar).first(where: matches) { return found }
      (from, days) = (to, days * 4)
    }
    return nil
  }

  // MARK: One day

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
  private func segments(of date: CivilDate, in calendar: CityCalendar) -> [OpeningStretch] {
    var painting = DayPainting()
    for rule in rules where rule.applies(on: date, in: calendar) {
      painting.apply(rule.joint, rule.strokes(on: date, in: calendar), state: rule.state)
    }
    return painting.strokes.map {
      OpeningStretch(
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

  mutating func apply(_ joint: OpeningHours.Rule.Joint, _ new: [Stroke], state: OpeningState) {
    switch joint {
    case .replaces where state != .closed:
      strokes = []
      new.forEach { paint($0) }  // they may overlap one another: `10:00-14:00,12:00-18:00`
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
  fileprivate func strokes(on date: CivilDate, in calendar: CityCalendar) -> [DayPainting.Stroke] {
    if spans.isEmpty {
      // Closing a day also ends the hours that would have run past its midnight.
      return [.init(start: 0, end: state == .closed ? 2880 : 1440, state: state, comment: comment)]
    }
    var strokes: [DayPainting.Stroke] = []
    for span in spans {
      guard let start = span.start.minute(of: date, in: calendar), var end = span.lastMinute(of: date, from: start, in: calendar) else {
        // The sun does not rise or set that day, or nobody knows where the place is.
        strokes.append(.init(start: 0, end: 1440, state: state == .closed ? .closed : .unknown, comment: comment))
        continue
      }
      if end <= start { end += 1440 }
      let isKnown = span.end != nil || state != .open
      strokes.append(.init(start: start, end: min(end, 2880), state: isKnown ? state : .unknown, comment: comment))
      if span.openEnd, span.end != nil, state == .open, end < 2880 {
        // After `19:00+` somebody may still be there: six hours of not knowing.
        strokes.append(.init(start: end, end: min(end + 360, 2880), state: .unknown, comment: comment))
      }
    }
    return strokes.sorted { $0.start < $1.start }
  }

  fileprivate func applies(on date: CivilDate, in calendar: CityCalendar) -> Bool {
    if always { return true }
    let year = years.isEmpty && dates.isEmpty ? 0 : date.components.year
    if !years.isEmpty, !years.contains(where: { $0.contains(year) }) { return false }
    if !dates.isEmpty, !dates.contains(where: { $0.contains(date, year: year) }) { return false }
    if !weeks.isEmpty {
      let week = date.isoWeek
      guard weeks.contains(where: { $0.contains(week) }) else { return false }
    }
    if days.isEmpty && holidays.isEmpty { return true }
    let dayMatches = days.contains { $0.contains(date) }
    let holidayMatches = holidays.contains { $0.contains(date, in: calendar) }
    return holidaysRestrictDays ? dayMatches && holidayMatches : dayMatches || holidayMatches
  }
}

extension OpeningHours.Span {
  fileprivate func lastMinute(of date: CivilDate, from start: Int, in calendar: CityCalendar) -> Int? {
    // Without an end, the guess of opening_hours.js: an evening's is ten hours on at most, an afternoon's is midnight.
    guard let end else { return start >= 17 * 60 ? start + 600 : 1440 }
    return end.minute(of: date, in: calendar)
  }
}

extension OpeningHours.Time {
  /// Minutes after the day's midnight; nil where the sun does not do it, or the place is unknown.
  fileprivate func minute(of date: CivilDate, in calendar: CityCalendar) -> Int? {
    switch self {
    case .minute(let minute): return minute
    case .sun(let event, let offset):
      guard let position = calendar.position, let instant = event.instant(on: date, at: position) else { return nil }
      let (day, second) = calendar.timeZone.local(instant)
      let minute = (day.daysSinceEpoch - date.daysSinceEpoch) * 1440 + Int((second + 30) / 60) + offset
      return max(0, min(minute, 2880))
    }
  }
}

extension OpeningHours.DaySelector {
  fileprivate func contains(_ date: CivilDate) -> Bool {
    let date = date - offset
    let day = date.weekday.rawValue
    guard first.rawValue <= last.rawValue ? (first.rawValue...last.rawValue).contains(day) : day >= first.rawValue || day <= last.rawValue
    else { return false }
    if nth.isEmpty { return true }
    let dayOfMonth = date.components.day
    return nth.contains((dayOfMonth - 1) / 7 + 1) || nth.contains(-((date.daysInMonth - dayOfMonth) / 7 + 1))
  }
}

extension OpeningHours.HolidaySelector {
  fileprivate func contains(_ date: CivilDate, in calendar: CityCalendar) -> Bool {
    switch kind {
    case .public: calendar.holidays.contains(date - offset)
    case .school: calendar.schoolHolidays.contains(date - offset)
    }
  }
}

extension OpeningHours.DateRange {
  fileprivate func contains(_ date: CivilDate, year: Int) -> Bool {
    guard let start = first.date(in: year, atEnd: false) else { return false }
    guard let last else { return start <= date }
    guard let end = last.date(in: year, atEnd: true) else { return false }
    guard let fixed = first.year else {
      if first == last, case .day(2, 29) = first.base { return date.components.month == 2 && date.components.day == 29 }
      return start <= end ? start <= date && date <= end : date >= start || date <= end
    }
    // With a year of its own: from then to the end, which is in that year unless it names another or lies before the start.
    guard last.year == nil else { return start <= date && date <= end }
    guard let sameYear = last.date(in: fixed, atEnd: true) else { return false }
    if sameYear >= start { return start <= date && date <= sameYear }
    guard let nextYear = last.date(in: fixed + 1, atEnd: true) else { return false }
    return start <= date && date <= nextYear
  }
}

extension OpeningHours.DateAnchor {
  /// Nil when the month has no such weekday.
  fileprivate func date(in year: Int, atEnd: Bool) -> CivilDate? {
    let year = self.year ?? year
    var date: CivilDate
    switch base {
    case .day(let month, let day): date = CivilDate(year: year, month: month, day: day)
    case .month(let month):
      let first = CivilDate(year: year, month: month, day: 1)
      date = atEnd ? first + (first.daysInMonth - 1) : first
    case .weekday(let month, let weekday, let nth):
      let first = CivilDate(year: year, month: month, day: 1)
      let last = first + (first.daysInMonth - 1)
      date =
        nth > 0
        ? first.next(weekday) + (nth - 1) * 7
        : last.previous(weekday) + (nth + 1) * 7
      guard first <= date, date <= last else { return nil }
    case .easter: date = CivilDate.easter(year)
    }
    if let towards { date = towards.isForward ? date.next(towards.weekday) : date.previous(towards.weekday) }
    return date + days
  }
}
