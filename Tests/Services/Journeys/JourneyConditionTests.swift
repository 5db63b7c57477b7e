import Testing

@testable import SpanwireJourneys

@Suite("Conditions")
struct JourneyConditionTests {
  /// On the way to B, with A behind, one token left, as a tourist in the rain.
  static func journey() throws -> Journey {
    var walker = Walker()
    try walker.send(.start(entryPoint: "start", tokensLeft: 2, segments: ["tourist"]))
    try walker.send(.changeRoute(servicePointIDs: ["A", "B"], proposalID: "PRP-1", reason: ""))
    try walker.send(.arrive(nodeID: "visit", servicePointID: "A"))
    try walker.redeem(left: 1)
    try walker.send(.signal(name: "rain", value: ""))
    return walker.journey
  }

  @Test(
    "Each test says what is so",
    arguments: [
      ("", true), ("route_has_more", true), ("route_done", false), ("tokens_left", true), ("no_tokens_left", false), ("visited:A", true),
      ("visited:B", false), ("signalled:rain", true), ("signalled:snow", false), ("segment:tourist", true), ("segment:local", false),
      ("outcome:plan=accepted", true), ("outcome:plan=declined", false), ("outcome:goodbye=completed", false), ("not visited:B", true),
      ("not route_done", true), ("visited:A and tokens_left", true), ("visited:A and not tokens_left", false),
      ("visited:A and not visited:B and segment:tourist", true),
    ])
  func holds(_ text: String, _ expected: Bool) throws {
    let condition = try #require(JourneyCondition(text))
    #expect(try Self.journey().satisfies(condition) == expected)
  }

  @Test(
    "What is none is not read",
    arguments: [
      "moon_is_full", "visited", "visited:", "outcome:plan", "outcome:=x", "outcome:plan=", "not", "not not route_done", "tokens_left and",
      "tokens_left and and route_done", " route_done", "visited:A B", "route_done or tokens_left",
    ])
  func unreadable(_ text: String) { #expect(JourneyCondition(text) == nil) }
}
