import Testing

@testable import SpanwireCityGraph

/// An instant from a local Vienna time, e.g. `at(2026, 11, 21, 9, 30)`.
func at(_ year: Int, _ month: Int, _ day: Int, _ hour: Int = 0, _ minute: Int = 0) -> UnixSeconds {
  CityTimeZone.vienna.instant(CivilDate(year: year, month: month, day: day), minute: hour * 60 + minute)
}

@Suite("Opening hours")
struct OpeningHoursTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var hours: String
    var instant: UnixSeconds
    var state: OpeningState
    var why: String
    var testDescription: String { "\(hours): \(why)" }
    init(_ hours: String, _ instant: UnixSeconds, _ state: OpeningState, _ why: String) {
      (self.hours, self.instant, self.state, self.why) = (hours, instant, state, why)
    }
  }

  // 2026-11-21 is a Saturday; 2026-12-08 (Mariä Empfängnis) a Tuesday; 2026-05-14 Ascension, a Thursday.
  static let cases: [Case] = [
    Case("Mo-Sa 08:00-21:00; PH,Su 10:00-21:00", at(2026, 11, 21, 8, 0), .open, "opens on the minute"),
    Case("Mo-Sa 08:00-21:00; PH,Su 10:00-21:00", at(2026, 11, 21, 21, 0), .closed, "closes on the minute"),
    Case("Mo-Sa 08:00-21:00; PH,Su 10:00-21:00", at(2026, 12, 8, 9, 0), .closed, "a holiday replaces its weekday"),
    Case("Mo-Sa 08:00-21:00; PH,Su 10:00-21:00", at(2026, 5, 14, 10, 30), .open, "Ascension follows Easter"),
    Case("Mo-Fr 07:00-20:00; PH off", at(2026, 12, 8, 12), .closed, "holidays off"),
    Case("Mo-Fr 07:00-20:00; PH off", at(2026, 12, 9, 12), .open, "the day after"),
    Case("Mo-Fr 07:30-24:00, Sa 10:00-24:00, Su 11:00-21:00", at(2026, 11, 21, 23, 59), .open, "a comma adds a rule"),
    Case("Mo-Sa 08:00-18:00, Sa 20:00-22:00", at(2026, 11, 21, 9), .open, "an added rule keeps the former"),
    Case("Mo-Sa 08:00-18:00; Sa 20:00-22:00", at(2026, 11, 21, 9), .closed, "a semicolon replaces the day"),
    Case("Mo-Th 10:00-02:00; Fr-Sa 10:00-04:00; Su,PH 12:00-02:00", at(2026, 11, 22, 3, 59), .open, "past midnight"),
    Case("Mo-Th 10:00-02:00; Fr-Sa 10:00-04:00; Su,PH 12:00-02:00", at(2026, 11, 22, 4), .closed, "until four"),
    Case("Mo-Sa 18:00-03:00; Su off", at(2026, 11, 22, 2), .open, "Sunday's off leaves Saturday night alone"),
    Case("Mo-Su, PH 09:00-02:00, Dec 24 off", at(2026, 12, 24, 12), .closed, "one date off"),
    Case("Mo-Su, PH 09:00-02:00, Dec 24 off", at(2026, 12, 25, 1), .closed, "nor does its night go on"),
    Case("Mo-Su, PH 09:00-02:00, Dec 24 off", at(2026, 12, 24, 1), .open, "the night before does"),
    Case("Mo-Su 08:00-00:00", at(2026, 11, 21, 23, 59), .open, "00:00 as an end is midnight"),
    Case("Mo-Fr 12:00-23:00; Sa 15:00-23:00; Jul-Aug: 10:00-24:00; Su, PH off", at(2026, 7, 4, 10), .open, "a season"),
    Case("Mo-Fr 12:00-23:00; Sa 15:00-23:00; Jul-Aug: 10:00-24:00; Su, PH off", at(2026, 7, 5, 12), .closed, "Sunday in it"),
    Case("Fr-We,PH 10:00-18:00; Th 08:00-21:00", at(2026, 11, 19, 20), .open, "Thursday has its own"),
    Case("Fr-We,PH 10:00-18:00; Th 08:00-21:00", at(2026, 11, 25, 20), .closed, "a range over the week's end"),
    Case("Mo-We 11:00-22:00; Th-Sa 11:00-24:00; Su off; PH unknown", at(2026, 12, 8, 12), .unknown, "said to be unknown"),
    Case("Apr-Sep", at(2026, 5, 1, 12), .unknown, "a season says nothing about hours"),
    Case("Apr-Sep", at(2026, 11, 1, 12), .closed, "out of season"),
    Case("24/7", at(2026, 11, 21, 3), .open, "always"),
    Case("24/7; Dec 24-26 off", at(2026, 12, 25, 3), .closed, "always but for Christmas"),
    Case("17:00+", at(2026, 11, 21, 18), .unknown, "an open end is not a promise"),
    Case("17:00-19:00+", at(2026, 11, 21, 18), .open, "until here it is"),
    Case("17:00-19:00+", at(2026, 11, 21, 20), .unknown, "after it is not"),
    Case("Mo-Fr 08:00-17:00 || \"on request\"", at(2026, 11, 21, 12), .unknown, "a fallback fills the gaps"),
    Case("Mo-Fr 08:00-17:00 \"ring the bell\"", at(2026, 11, 20, 12), .unknown, "a comment alone promises nothing"),
    Case("Mo-Fr 08:00-17:00 open \"ring the bell\"", at(2026, 11, 20, 12), .open, "open with a comment does"),
    Case("Mo-Fr 08:00-20:00; Mo-Fr 12:00-13:00 off", at(2026, 11, 20, 12, 30), .closed, "a lunch break"),
    Case("Mo-Fr 08:00-20:00; Mo-Fr 12:00-13:00 off", at(2026, 11, 20, 13), .open, "and after it"),
    Case("Sa[3] 10:00-12:00", at(2026, 11, 21, 11), .open, "the third Saturday"),
    Case("Sa[-1] 10:00-12:00", at(2026, 11, 21, 11), .closed, "not the last"),
    Case("Sa[-1] 10:00-12:00", at(2026, 11, 28, 11), .open, "the last"),
    Case("PH -1 day 10:00-12:00", at(2026, 12, 7, 11), .open, "the day before a holiday"),
    Case("easter -2 days 10:00-12:00", at(2026, 4, 3, 11), .open, "Good Friday"),
    Case("Dec 24-Jan 06 10:00-12:00", at(2027, 1, 2, 11), .open, "over the year's end"),
    Case("2026 Dec 24-2027 Jan 06 10:00-12:00", at(2028, 1, 2, 11), .closed, "of one winter"),
    Case("week 1-53/2 Mo-Su 10:00-12:00", at(2026, 11, 21, 11), .open, "odd weeks"),
    Case("week 2-52/2 Mo-Su 10:00-12:00", at(2026, 11, 21, 11), .closed, "even weeks"),
    Case("2026-2030/2 Mo-Su 10:00-12:00", at(2026, 11, 21, 11), .open, "every second year"),
    Case("2026-2030/2 Mo-Su 10:00-12:00", at(2027, 11, 20, 11), .closed, "not the first"),
    Case("2026+ Mo-Su 10:00-12:00", at(2099, 11, 20, 11), .open, "from a year on"),
    Case("2026+ Mo-Su 10:00-12:00", at(2025, 11, 20, 11), .closed, "not before"),
    Case("2026 Nov 21+ 10:00-12:00", at(2027, 1, 3, 11), .open, "from a date on, for ever"),
    Case("Nov 21+ 10:00-12:00", at(2027, 1, 3, 11), .closed, "to the year's end"),
    Case("Mar Su[-1]-Oct Su[-1] 10:00-12:00", at(2026, 10, 25, 11), .open, "from summer time to winter time"),
    Case("Mar Su[-1]-Oct Su[-1] 10:00-12:00", at(2026, 10, 26, 11), .closed, "and no longer"),
    Case("Mar-Nov Sa[3] 10:00-12:00", at(2026, 11, 21, 11), .open, "the third Saturday of each month of a season"),
    Case("Mar-Nov Sa[3] 10:00-12:00", at(2026, 11, 14, 11), .closed, "not every day up to the last of them"),
    Case("Nov 20 +Su 10:00-12:00", at(2026, 11, 22, 11), .open, "the Sunday after a date"),
    Case("Nov 20 -Su +1 day 10:00-12:00", at(2026, 11, 16, 11), .open, "the day after the Sunday before it"),
    Case("easter+1 day-easter+3 days 10:00-12:00", at(2026, 4, 8, 11), .open, "days after Easter"),
    Case("Fr[1] +1 day 10:00-12:00", at(2026, 11, 7, 11), .open, "the day after the first Friday"),
    Case("Fr[1] +1 day 10:00-12:00", at(2026, 11, 14, 11), .closed, "not that after the second"),
    Case("SH 10:00-12:00", at(2026, 7, 4, 11), .open, "summer holidays begin on a Saturday"),
    Case("SH 10:00-12:00", at(2026, 7, 3, 11), .closed, "the day before there is school"),
    Case("Mo-Fr 10:00-18:00; SH off", at(2027, 2, 3, 11), .closed, "the week in February"),
    Case("SH,PH 10:00-12:00", at(2026, 12, 8, 11), .open, "holidays of both kinds"),
    Case("sunrise-sunset", at(2026, 11, 21, 7, 8), .closed, "the sun rises at 7:10"),
    Case("sunrise-sunset", at(2026, 11, 21, 7, 13), .open, "and is up"),
    Case("(sunset-01:00)-(dusk+00:30)", at(2026, 6, 21, 20, 1), .open, "an hour before it sets"),
    Case("(sunset-01:00)-(dusk+00:30)", at(2026, 6, 21, 19, 55), .closed, "not earlier"),
    Case("sunset-02:00", at(2026, 11, 22, 1), .open, "from sunset past midnight"),
    Case("sunset-sunrise", at(2026, 11, 22, 3), .open, "the night"),
    Case("10:00-14:00,12:00-18:00", at(2026, 11, 21, 13), .open, "overlapping hours"),
    Case("Mo off \"Ruhetag\"; Tu-Su 10:00-18:00", at(2026, 11, 23, 12), .closed, "a reason for a closed day"),
    Case("Jan-Mar,Oct-Dec 10:00-12:00", at(2026, 11, 21, 11), .open, "two seasons"),
    Case("Dec 24,31 10:00-12:00", at(2026, 12, 31, 11), .open, "two days of a month"),
    Case("2026-2027 Dec 24-26 off; 10:00-12:00", at(2026, 12, 25, 11), .open, "a later rule wins"),
    Case("PH Mo-Fr 10:00-12:00", at(2026, 12, 26, 11), .closed, "holidays on weekdays only"),
    Case("Mo–Fr 10:00–12:00", at(2026, 11, 20, 11), .open, "typographer's dashes"),
    Case("Mo-Fr 10:00-26:00", at(2026, 11, 21, 1), .open, "hours beyond 24"),
  ]

  @Test("A rule answers open, closed or unknown", arguments: cases)
  func evaluates(_ c: Case) throws {
    #expect(try OpeningHours(parsing: c.hours).state(at: c.instant, in: .vienna) == c.state)
  }

  static let unreadable: [(String, OpeningHoursError)] = [
    ("", .empty),
    ("   ", .empty),
    ("Mo-Fr sunrise", .unsupported("a point in time", offset: 6)),
    ("Mo-Fr (sunrise)-sunset", .unexpected(")", offset: 14)),
    ("Mo-Fr (sunrise-90)-sunset", .unexpected("90", offset: 15)),
    ("Feb 30 10:00-12:00", .outOfRange("30", offset: 4)),
    ("2028-2026 10:00-12:00", .outOfRange("2026", offset: 5)),
    ("Mo-Fr 10:00; Sa 10:00-12:00", .unsupported("a point in time", offset: 6)),
    ("Mo-Fr 10:00", .unsupported("a point in time", offset: 6)),
    ("Mo-Fr 10:00-12:00/01:00", .unsupported("/", offset: 17)),
    ("Mo-Xx 10:00-12:00", .unexpected("-", offset: 2)),
    ("Mo-Fr 10:61-12:00", .outOfRange("10:61", offset: 6)),
    ("täglich", .unexpected("täglich", offset: 0)),
    ("Mo-Fr 10:00-12:00 \"open", .unexpected("\"", offset: 18)),
    ("Mo[6] 10:00-12:00", .outOfRange("6", offset: 3)),
    (String(repeating: "a", count: 2000), .tooLong),
    (Array(repeating: "Mo off", count: 65).joined(separator: ";"), .tooManyRules),
  ]

  @Test("What can't be read is refused with its reason and place", arguments: unreadable)
  func refuses(_ text: String, _ reason: OpeningHoursError) {
    #expect(throws: reason) { try OpeningHours(parsing: text) }
  }

  @Test("It says until when it is open and when it opens next")
  func transitions() throws {
    let hours = try OpeningHours(parsing: "Mo-Fr 08:00-12:00,13:00-02:00; Sa 10:00-14:00; PH off")
    #expect(hours.openUntil(at(2026, 11, 20, 9), in: .vienna) == at(2026, 11, 20, 12))
    #expect(hours.openUntil(at(2026, 11, 20, 23), in: .vienna) == at(2026, 11, 21, 2))
    #expect(hours.openUntil(at(2026, 11, 20, 12, 30), in: .vienna) == nil)
    #expect(hours.nextOpening(from: at(2026, 11, 21, 14), in: .vienna) == at(2026, 11, 23, 8))
    #expect(hours.nextOpening(from: at(2026, 12, 8, 1, 59), in: .vienna) == at(2026, 12, 8, 1, 59))
    #expect(hours.nextOpening(from: at(2026, 12, 8, 2), in: .vienna) == at(2026, 12, 9, 8))
    #expect(try OpeningHours(parsing: "24/7").openUntil(at(2026, 11, 20), in: .vienna) == nil)
    #expect(try OpeningHours(parsing: "off").nextOpening(from: at(2026, 11, 20), in: .vienna) == nil)
  }

  @Test("What it says about a stretch of time has no gaps, and the next change is where it says so")
  func intervals() throws {
    let hours = try OpeningHours(parsing: "Mo-Fr 08:00-12:00,13:00-18:00+; Sa 10:00-12:00 unknown \"ask\"; PH off \"closed\"")
    let (from, to) = (at(2026, 11, 20, 7), at(2026, 11, 22))
    let found = hours.intervals(from: from, to: to, in: .vienna)
    #expect(
      found == [
        OpeningStretch(start: from, end: at(2026, 11, 20, 8), state: .closed),
        OpeningStretch(start: at(2026, 11, 20, 8), end: at(2026, 11, 20, 12), state: .open),
        OpeningStretch(start: at(2026, 11, 20, 12), end: at(2026, 11, 20, 13), state: .closed),
        OpeningStretch(start: at(2026, 11, 20, 13), end: at(2026, 11, 20, 18), state: .open),
        OpeningStretch(start: at(2026, 11, 20, 18), end: at(2026, 11, 21, 0), state: .unknown),
        OpeningStretch(start: at(2026, 11, 21, 0), end: at(2026, 11, 21, 10), state: .closed),
        OpeningStretch(start: at(2026, 11, 21, 10), end: at(2026, 11, 21, 12), state: .unknown, comment: "ask"),
        OpeningStretch(start: at(2026, 11, 21, 12), end: to, state: .closed),
      ])
    for (one, next) in zip(found, found.dropFirst()) {
      #expect(hours.nextChange(after: one.start, in: .vienna) == next.start)
    }
    #expect(try OpeningHours(parsing: "24/7").nextChange(after: from, in: .vienna) == nil)
    #expect(try OpeningHours(parsing: "Apr-Sep 10:00-12:00").nextChange(after: from, in: .vienna) == at(2027, 4, 1, 10))
  }

  @Test("Summer time begins and ends on the local clock")
  func summerTime() throws {
    let night = try OpeningHours(parsing: "22:00-04:00")
    // 2026-03-29 loses an hour, 2026-10-25 gains one.
    #expect(night.openWindows(from: at(2026, 3, 28, 12), to: at(2026, 3, 29, 12), in: .vienna).map { $0.end - $0.start } == [5 * 3600])
    #expect(night.openWindows(from: at(2026, 10, 24, 12), to: at(2026, 10, 25, 12), in: .vienna).map { $0.end - $0.start } == [7 * 3600])
    #expect(CityTimeZone.vienna.offsetSeconds(at: 1_774_745_999) == 3600)
    #expect(CityTimeZone.vienna.offsetSeconds(at: 1_774_746_000) == 7200)
  }

  @Test(
    "States and windows agree at every quarter of an hour",
    arguments: [
      "Mo-Th 09:00-24:00; Fr,Sa 09:00-01:00; Su 10:00-20:00", "Mo-Fr 08:00-01:00; Sa, Su 10:00-01:00", "17:00-04:00",
      "Mo-Su, PH 09:00-02:00, Dec 24 off", "Mo-Sa 16:00-02:00; Su 10:00-24:00",
    ])
  func agreement(_ text: String) throws {
    let hours = try OpeningHours(parsing: text)
    for (from, to) in [(at(2026, 3, 27), at(2026, 3, 31)), (at(2026, 10, 23), at(2026, 10, 27)), (at(2026, 12, 23), at(2026, 12, 27))] {
      let windows = hours.openWindows(from: from, to: to, in: .vienna)
      for instant in stride(from: from, to: to, by: 900) {
        #expect((hours.state(at: instant, in: .vienna) == .open) == windows.contains { $0.contains(instant) })
      }
    }
  }
}

@Suite("The calendar")
struct CalendarTests {
  @Test(
    "A zone's clock is that of the time zone database",
    arguments: [
      ("Europe/Vienna", 1_774_745_999, 3600), ("Europe/Vienna", 1_774_746_000, 7200), ("Asia/Bangkok", 1_774_746_000, 25_200),
      ("Asia/Kathmandu", 0, 19_800), ("Asia/Kathmandu", 1_774_746_000, 20_700), ("America/New_York", 1_774_746_000, -14_400),
      ("Australia/Lord_Howe", 1_774_746_000, 39_600), ("Pacific/Kiritimati", 1_774_746_000, 50_400), ("UTC", 7_000_000_000, 0),
    ])
  func zones(_ zone: String, _ instant: Int64, _ offset: Int64) throws {
    let zone = try #require(CityTimeZone(identifier: zone))
    #expect(zone.offsetSeconds(at: instant) == offset)
    let (date, second) = zone.local(instant)
    if second % 60 == 0 { #expect(zone.instant(date, minute: Int(second / 60)) == instant) }
  }

  @Test("No zone is made up")
  func noZone() { #expect(CityTimeZone(identifier: "Europe/Atlantis") == nil) }

  @Test(
    "Vienna's schools are closed on the days that the city announced",
    arguments: [
      // 2025/26 and 2026/27, as published by the city's board of education.
      (CivilDate(year: 2025, month: 10, day: 27), CivilDate(year: 2025, month: 10, day: 31)),
      (CivilDate(year: 2025, month: 12, day: 24), CivilDate(year: 2026, month: 1, day: 6)),
      (CivilDate(year: 2026, month: 2, day: 2), CivilDate(year: 2026, month: 2, day: 8)),
      (CivilDate(year: 2026, month: 3, day: 28), CivilDate(year: 2026, month: 4, day: 6)),
      (CivilDate(year: 2026, month: 5, day: 23), CivilDate(year: 2026, month: 5, day: 25)),
      (CivilDate(year: 2026, month: 7, day: 4), CivilDate(year: 2026, month: 9, day: 6)),
    ])
  func schools(_ first: CivilDate, _ last: CivilDate) {
    let days = (0...last.daysSinceEpoch - first.daysSinceEpoch).map { first + $0 }
    #expect(days.allSatisfy(SchoolHolidays.vienna.contains))
    #expect(!SchoolHolidays.vienna.contains(first - 1) && !SchoolHolidays.vienna.contains(last + 1))
    #expect(!SchoolHolidays.none.contains(first))
  }

  @Test(
    "Easter falls where the almanac says",
    arguments: [(2000, 4, 23), (2019, 4, 21), (2024, 3, 31), (2025, 4, 20), (2026, 4, 5), (2038, 4, 25)])
  func easter(_ year: Int, _ month: Int, _ day: Int) {
    #expect(CivilDate.easter(year) == CivilDate(year: year, month: month, day: day))
  }

  @Test("Austria has thirteen public holidays a year", arguments: 2000...2050)
  func holidays(_ year: Int) {
    let days = (0..<366).map { CivilDate(year: year, month: 1, day: 1) + $0 }.filter { $0.components.year == year }
    let names = Set(days.compactMap { PublicHolidays.austria.name(of: $0) })
    #expect(names.count == (year == 2008 ? 12 : 13))  // Ascension met the first of May
  }

  @Test("Dates survive the way there and back")
  func roundTrip() {
    for days in stride(from: -200_000, through: 200_000, by: 37) {
      let date = CivilDate(daysSinceEpoch: days)
      let (year, month, day) = date.components
      #expect(CivilDate(year: year, month: month, day: day) == date)
    }
    #expect(CivilDate(year: 2026, month: 11, day: 21).weekday == .saturday)
    #expect(CivilDate(year: 2021, month: 1, day: 3).isoWeek == 53)
    #expect(CivilDate(year: 2024, month: 2, day: 1).daysInMonth == 29)
  }
}
