import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import SpanwireWorker
import Testing

@testable import SpanwireExecutions

/// Handlers in workers, beside those of the platform: the same functions, over a stream.
@Suite(.timeLimit(.minutes(2)))
struct HandlerTests {
  /// A worker that serves until its task is cancelled.
  private static func attach(
    _ id: String, to test: ExecutionsHarness, priority: UInt32 = 0, roles: [String] = ["roastery"], _ handler: @escaping IntentHandler
  ) -> Task<Void, any Error> {
    let principal = Principal(kind: .worker, id: id, tenant: "vienna", roles: roles, surface: .worker)
    let worker = Worker(id: id, handlers: [HandlerName("roast", by: "roastery", priority: priority): handler])
    return Task { try await CallContext.with(principal: principal) { try await worker.run(over: test.first.channel) } }
  }

  /// Waits until somebody is attached who serves it.
  private static func served(_ test: ExecutionsHarness, workers: UInt32 = 1) async throws {
    while true {
      let handlers = try await test.asOperator { try await $0.listIntents(ListIntentsRequest(intentType: "roast")) }.handlers
      if handlers.first?.workers == workers { return }
      await Task.yield()
    }
  }

  @Test("A worker serves an intent with steps, state, artifacts and records, as a handler of the platform does")
  func worker() async throws {
    let test = try await ExecutionsHarness()
    let worker = Self.attach("roaster-1", to: test) { run in
      let beans = try await run.step("sort", input: run.parameters) { _ in ["grams": run.parameters["grams"] ?? 0] }
      try await run.progress("sort", percent: 50, "half way")
      try await run.state.setSession(["roasted": true], ifAt: nil)
      let artifact = try await run.artifacts.store(
        "bag", type: "bag", format: "text/plain", content: Array("roasted beans".utf8))
      try await run.append("roasted", beans, key: "roasted")
      return HandlerResult(output: beans, artifactIds: [artifact.artifactID])
    }
    try await Self.served(test)
    let (execution, types) = try await test.run(ExecutionsHarness.request("K", "roast", ["grams": 250]))
    #expect(execution.status == .completed, "\(execution.reason) \(execution.error)")
    #expect(execution.attempts.map(\.performer) == ["worker:roaster-1"] && execution.handlerName == "roastery")
    #expect(execution.output?["grams"]?.number == 250 && execution.artifactIds.count == 1 && execution.records == 1)
    #expect(types.contains("job.dispatched") && types.contains("job.progress"))
    worker.cancel()
    await test.end()
  }

  @Test("A worker that goes in the middle of an execution hands it on with a higher epoch, and nothing that was done is done again")
  func handedOn() async throws {
    let test = try await ExecutionsHarness()
    let (notes, reached, gate) = (Notes(), Gate(), Gate())
    let roast: @Sendable (Bool) -> IntentHandler = { waits in
      { run in
        _ = try await run.step("sort") { _ in
          notes.add("sort")
          return [:]
        }
        reached.open()
        if waits { try await gate.pass() }
        notes.add("roasted under \(run.context.claim?.leaseEpoch ?? 0)")
        return HandlerResult()
      }
    }
    let first = Self.attach("roaster-1", to: test, roast(true))
    try await Self.served(test)
    let submitted = try await test.asOperator { try await $0.submitExecution(ExecutionsHarness.request("K", "roast")) }
    try await reached.pass()
    first.cancel()
    let second = Self.attach("roaster-2", to: test, roast(false))
    let execution = try await test.ended(submitted.executionID)
    #expect(execution.status == .completed && execution.leaseEpoch >= 2)
    #expect(notes.all == ["sort", "roasted under \(execution.leaseEpoch)"])
    #expect(execution.attempts.first?.outcome == "lost" && execution.attempts.last?.performer == "worker:roaster-2")
    second.cancel()
    await test.end()
  }

  @Test("Of several handlers the healthy one with the lowest number serves; a disabled one does not, and an intent of nobody is refused")
  func priorities() async throws {
    let test = try await ExecutionsHarness()
    let none = await #expect(throws: RPCError.self) { _ = try await test.run(ExecutionsHarness.request("N", "roast")) }
    #expect(none?.reason == .intentUnknown)
    let registry = test.first.server.registry
    for (name, priority) in [("second", UInt32(20)), ("first", 10), ("third", 30)] {
      registry.registerIntent("roast", handlerName: name, priority: priority) { _ in
        HandlerResult(output: ["by": Google_Protobuf_Value(name)])
      }
    }
    func serves(_ key: String) async throws -> String {
      try await test.run(ExecutionsHarness.request(key, "roast")).execution.handlerName
    }
    #expect(try await serves("A") == "first")
    let first = try #require(try await registry.choose("roast", tenant: "vienna"))
    registry.noteFailure(of: first)
    #expect(try await serves("B") == "second")
    test.clock.advance(by: ExecutionsLimits.handlerRest)
    #expect(try await serves("C") == "first")
    _ = try await test.asOperator {
      try await $0.registerIntent(RegisterIntentRequest(intentType: "roast", handlerName: "first", priority: 10, disabled: true))
    }
    #expect(try await serves("D") == "second")
    await test.end()
  }

  @Test("A worker acts only for handlers that its credential names, and only under a claim of its own")
  func credentials() async throws {
    let test = try await ExecutionsHarness()
    let stranger = Self.attach("thief", to: test, roles: ["bakery"]) { _ in HandlerResult() }
    let refused = await #expect(throws: RPCError.self) { try await stranger.value }
    #expect(refused?.code == .permissionDenied && refused?.reasonMetadata("rule") == "WORKER-HANDLER")
    let (reached, gate) = (Gate(), Gate())
    test.first.server.registry.registerIntent("wait", handlerName: "waiter") { _ in
      reached.open()
      try await gate.pass()
      return HandlerResult()
    }
    let submitted = try await test.asOperator { try await $0.submitExecution(ExecutionsHarness.request("K", "wait")) }
    try await reached.pass()
    let claim = ExecutionClaim(tenantID: "vienna", executionID: submitted.executionID, leaseEpoch: 1)
    let worker = Principal(kind: .worker, id: "thief", tenant: "vienna", roles: ["bakery"], surface: .worker)
    let error = await #expect(throws: RPCError.self) {
      _ = try await test.asOperator(worker) { try await $0.beginStep(BeginStepRequest(claim: claim, stepID: "x")) }
    }
    #expect(error?.code == .permissionDenied)
    let bare = await #expect(throws: RPCError.self) {
      _ = try await test.asOperator(worker) {
        try await $0.setState(SetStateRequest(key: StateKey(scope: .sessionID("PRS-1")), state: ["mine": true]))
      }
    }
    #expect(bare?.code == .invalidArgument && bare?.message.contains("claim") == true)
    gate.open()
    await test.end()
  }
}
