import SpanwireEventLog
import Testing

@Suite struct FilterTests {
  @Test(
    "globs match whole names",
    arguments: [
      ("journey.*", "journey.started", true), ("journey.*", "journey.node.entered", true), ("journey.*", "journeys.started", false),
      ("journey.*", "journey", false), ("*", "turn_open", true), ("*.completed", "journey.node.completed", true),
      ("*.completed", "journey.completed.not", false), ("agent.task.result", "agent.task.result", true),
      ("agent.task.result", "agent.task.results", false), ("agent.*.re*t", "agent.task.result", true), ("a*b*c", "aXbXbXc", true),
      ("a*b*c", "aXbXbX", false), ("**", "x", true),
    ])
  func globs(pattern: String, name: String, matches: Bool) throws {
    #expect(try #require(TypeGlob(pattern)).matches(name) == matches)
  }

  @Test("what is no glob is refused", arguments: ["", "journey.?", "Journey.*", "a b", "ä", String(repeating: "a", count: 129)])
  func invalidGlobs(text: String) { #expect(TypeGlob(text) == nil) }

  @Test(
    "everything that a filter names must match",
    arguments: [
      (LogFilter(tenant: nil), true), (LogFilter(tenant: "t"), true), (LogFilter(tenant: "u"), false),
      (LogFilter(types: ["x.*", "journey.*"], tenant: "t"), true), (LogFilter(types: ["x.*"], tenant: "t"), false),
      (LogFilter(tenant: "t", session: "S"), true), (LogFilter(tenant: "t", session: "T"), false),
      (LogFilter(tenant: "t", journey: "J"), true), (LogFilter(tenant: "t", journey: "K"), false),
      (LogFilter(tenant: "t", trace: [1, 2]), true), (LogFilter(tenant: "t", trace: [1]), false),
      (LogFilter(tenant: "t", lanes: [.control, .data]), true), (LogFilter(tenant: "t", lanes: [.telemetry]), false),
    ])
  func filters(filter: LogFilter, matches: Bool) {
    let header = EventHeader(type: "journey.started", tenant: "t", session: "S", journey: "J", trace: [1, 2], lane: .data, producer: "tjm")
    #expect(filter.matches(header) == matches)
  }

  @Test(
    "cursors are read back as they were written, and nothing else is",
    arguments: [
      ("", LogCursor.beginning), ("0", .after(0)), ("17", .after(17)), ("-1", nil), ("017", nil), ("x", nil), ("99999999999999999999", nil),
    ])
  func cursors(text: String, cursor: LogCursor?) {
    #expect((try? LogCursor(text: text)) == cursor)
  }
}
