import SpanwireSchema
import Testing

@testable import SpanwireOperations

struct ServiceLevelsTests {
  private static let targets = ["suggest": SlaTarget(jobType: "suggest", timeToFirstUpdateMs: 1_000, timeToCompletionMs: 5_000)]
  private static let second: Int64 = 1_000_000_000

  private func take(
    _ levels: inout ServiceLevels, _ payload: some EventPayload, at seconds: Double, task: String = "ATASK-1",
    targets: [String: SlaTarget] = targets
  ) throws {
    try levels.take(IncidentFiguresTests.event(payload, at: Int64(seconds * 1e9), task: task), targets)
  }

  private func received(_ intent: String = "suggest") -> AgentTaskReceived {
    AgentTaskReceived(agentType: "guide", intent: intent, invoker: "prg")
  }

  @Test("Work in time is measured when it ends, and nothing is told of it")
  func inTime() throws {
    var levels = ServiceLevels()
    try take(&levels, received(), at: 1)
    try take(&levels, AgentTaskStarted(), at: 1.25)
    try take(&levels, ToolCallCompleted(), at: 2)
    levels.look(at: 3 * Self.second, ["vienna": Self.targets])
    try take(&levels, AgentTaskProgress(), at: 3)
    try take(&levels, AgentTaskResult(), at: 4)
    #expect(levels.breaches.isEmpty)
    let measured = try #require(levels.ended.first?.measurement)
    #expect(measured.timeToFirstUpdateMs == 250)
    #expect(measured.timeToCompletionMs == 3_000)
    #expect(measured.toolRounds == 1)
    #expect(!measured.slaBreached && measured.outcome == "completed")
    #expect(levels.open.isEmpty)
  }

  @Test("A missed target is told of while the work still runs, once for each, and the measurement says so")
  func live() throws {
    var levels = ServiceLevels()
    try take(&levels, received(), at: 1)
    levels.look(at: 2 * Self.second, ["vienna": Self.targets])
    #expect(levels.breaches.isEmpty)
    for moment in [2.5, 3, 5.9] { levels.look(at: Int64(moment * 1e9), ["vienna": Self.targets]) }
    #expect(levels.breaches.map(\.objective) == [.firstUpdate])
    #expect(levels.breaches.map(\.observedMilliseconds) == [1_500])
    for moment in [6.1, 7, 8] { levels.look(at: Int64(moment * 1e9), ["vienna": Self.targets]) }
    #expect(levels.breaches.map(\.objective) == [.firstUpdate, .completion])
    levels.settled()
    try take(&levels, AgentTaskStarted(), at: 8.5)
    try take(&levels, AgentTaskFailed(), at: 9)
    #expect(levels.breaches.isEmpty, "both were told of")
    #expect(levels.ended.map(\.measurement.slaBreached) == [true])
    #expect(levels.ended.map(\.measurement.timeToFirstUpdateMs) == [7_500])
  }

  @Test("What was late and ended between two looks is told of when it ends; what was taken back is not")
  func between() throws {
    var levels = ServiceLevels()
    try take(&levels, received(), at: 1)
    try take(&levels, AgentTaskStarted(), at: 1.5)
    try take(&levels, AgentTaskResult(), at: 7)
    #expect(levels.breaches.map(\.objective) == [.completion])
    try take(&levels, received(), at: 10, task: "ATASK-2")
    try take(&levels, AgentTaskCancelled(), at: 20, task: "ATASK-2")
    #expect(levels.breaches.count == 1)
    #expect(levels.ended.last?.measurement.slaBreached == false)
    #expect(levels.ended.last?.measurement.timeToFirstUpdateMs == nil)
  }

  @Test("Work without a target is not watched, and work that nobody hears of again is forgotten")
  func forgotten() throws {
    var levels = ServiceLevels()
    try take(&levels, received("chat"), at: 1)
    try take(&levels, received(), at: 1, targets: [:])
    #expect(levels.open.isEmpty)
    try take(&levels, received(), at: 1)
    levels.look(at: SLALimits.forgotten + 2 * Self.second, ["vienna": Self.targets])
    #expect(levels.open.isEmpty && levels.ended.isEmpty)
  }
}
