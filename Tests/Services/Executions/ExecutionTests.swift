import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import SpanwireWorker
import Testing

@testable import SpanwireExecutions

@Suite(.timeLimit(.minutes(2)))
struct ExecutionTests {
  @Test("An execution goes from created over running to one of three ends, and nowhere from there")
  func lifecycle() {
    let all: [ExecutionStatus] = [.created, .running, .completed, .failed, .cancelled]
    let allowed: [ExecutionStatus: [ExecutionStatus]] = [
      .created: [.running, .failed, .cancelled], .running: [.running, .completed, .failed, .cancelled],
    ]
    for from in all {
      for to in all {
        #expect(ExecutionStateMachine.allows(from, to: to) == (allowed[from] ?? []).contains(to), "\(from) to \(to)")
      }
      #expect(ExecutionStateMachine.isTerminal(from) == (allowed[from] == nil))
    }
  }

  @Test("A file is ingested in steps: every change is an event, the artifact holds its content, the same key is the same execution")
  func ingest() async throws {
    let test = try await ExecutionsHarness()
    let request = ExecutionsHarness.request("K", "ingest_file", ["name": "menu.txt", "content": "Melange\nEinspänner\n"])
    let (execution, types) = try await test.run(request)
    #expect(execution.status == .completed, "\(execution.reason) \(execution.error)")
    #expect(types.first == "job.received" && types.last == "job.completed")
    #expect(types.filter { $0 == "job.dispatched" }.count == 1 && types.contains("artifact.changed") && types.contains("wal.appended"))
    #expect(execution.steps.map(\.stepID) == ["examine", "store"])
    #expect(execution.steps.allSatisfy { $0.state == .done && $0.attempts == 1 && $0.inputHash.count == 32 })
    #expect(execution.output?["lines"]?.number == 2 && execution.attempts.map(\.performer) == ["built_in"])
    let id = try #require(execution.artifactIds.first)
    let resolved = try await test.asOperator { try await $0.resolveArtifact(ResolveArtifactRequest(artifactID: id)) }
    #expect(resolved.artifact?.lifecycleState == .ready && resolved.artifact?.producedBy?.executionID == execution.executionID)
    let content = try await test.asOperator { executions in
      var content: [UInt8] = []
      for try await chunk in try await executions.readArtifact(ReadArtifactRequest(artifactID: id)) { content += chunk.data }
      return content
    }
    #expect(String(decoding: content, as: UTF8.self) == "Melange\nEinspänner\n")
    let again = try await test.run(request)
    #expect(again.execution.executionID == execution.executionID && again.types == types)
    for verification in try await test.first.server.verify() { #expect(verification.isSound, "\(verification.findings)") }
    await test.end()
  }

  static let bad: [(String, SubmitExecutionRequest, String)] = [
    ("no intent", SubmitExecutionRequest(idempotencyKey: "K"), "intent"),
    ("no type", ExecutionsHarness.request("K", ""), "intent.intent_type"),
    ("no session", ExecutionsHarness.request("K", "ingest_file", session: ""), "intent.session_id"),
    (
      "no solution",
      SubmitExecutionRequest(idempotencyKey: "K", intent: Intent(intentType: "ingest_file", sessionID: "S")), "intent.solution_id"
    ),
    ("no key", ExecutionsHarness.request("", "ingest_file"), "idempotency_key"),
    (
      "a number that JSON has not", ExecutionsHarness.request("K", "ingest_file", ["x": Google_Protobuf_Value(Double.nan)]),
      "intent.parameters"
    ),
    ("too many retries", ExecutionsHarness.request("K", "ingest_file", retries: 21), "max_retries"),
  ]

  @Test("What cannot be run is refused with the field at fault, and nothing is stored", arguments: bad.indices)
  func refused(index: Int) async throws {
    let (name, request, field) = Self.bad[index]
    let test = try await ExecutionsHarness()
    let error = await #expect(throws: RPCError.self) { _ = try await test.run(request) }
    #expect(error?.code == .invalidArgument && error?.message.contains(field) == true, "\(name): \(String(describing: error))")
    let all = try await test.asOperator { try await $0.listExecutions(ListExecutionsRequest()) }
    #expect(all.executions.isEmpty)
    await test.end()
  }

  @Test("A context that lacks something, or says another thing than its intent, is refused before the handler")
  func contexts() throws {
    let intent = Intent(intentType: "x", tenantID: "t", sessionID: "s", solutionID: "o")
    let claim = ExecutionClaim(tenantID: "t", executionID: "EXE-1", leaseEpoch: 1)
    let good = ExecutionContext(
      executionID: "EXE-1", intent: intent, tenantID: "t", sessionID: "s", solutionID: "o",
      createdAt: .init(nanosecondsSinceEpoch: 1), claim: claim)
    try ExecutionValidation.check(good)
    let changes: [(String, (inout ExecutionContext) -> Void)] = [
      ("execution_id", { $0.executionID = "" }), ("intent", { $0.intent = nil }), ("tenant_id", { $0.tenantID = "u" }),
      ("session_id", { $0.sessionID = "" }), ("solution_id", { $0.solutionID = "p" }), ("created_at", { $0.createdAt = nil }),
      ("claim", { $0.claim = nil }),
    ]
    for (field, change) in changes {
      var context = good
      change(&context)
      let error = #expect(throws: RPCError.self) { try ExecutionValidation.check(context) }
      #expect("\(String(describing: error?.details))\(error?.message ?? "")".contains(field), "\(field)")
    }
  }

  @Test("A handler that fails is tried again, and does only what it has not done")
  func retries() async throws {
    let test = try await ExecutionsHarness()
    let notes = Notes()
    test.first.server.registry.registerIntent("brew", handlerName: "kitchen") { run in
      let ground = try await run.step("grind", input: ["beans": 20]) { scratch in
        notes.add("grind")
        try scratch.set("grams", 18)
        return ["grams": scratch.get("grams") ?? 0]
      }
      _ = try await run.step("boil", input: ground) { _ in
        notes.add("boil")
        if notes.count("boil") < 3 { throw RPCError.unavailable("the water is cold") }
        return ["degrees": 93]
      }
      return HandlerResult(output: ground)
    }
    let (execution, types) = try await test.run(ExecutionsHarness.request("K", "brew"))
    #expect(execution.status == .completed && execution.leaseEpoch == 3)
    #expect(notes.count("grind") == 1 && notes.count("boil") == 3)
    #expect(types.filter { $0 == "job.retrying" }.count == 2)
    #expect(execution.attempts.map(\.outcome) == ["lost", "lost", "completed"])
    #expect(execution.steps.last?.attempts == 3)
    await test.end()
  }

  @Test(
    "After the process's end an execution goes on at the first step without a checkpoint, under a higher epoch; the old one is not heard")
  func restart() async throws {
    let test = try await ExecutionsHarness()
    let (notes, gate, reached) = (Notes(), Gate(), Gate())
    let brew: @Sendable (Bool) -> IntentHandler = { waits in
      { run in
        _ = try await run.step("grind") { _ in
          notes.add("grind")
          return ["grams": 18]
        }
        _ = try await run.step("boil") { _ in
          notes.add("boil under \(run.context.claim?.leaseEpoch ?? 0)")
          reached.open()
          if waits { try await gate.pass() }
          return [:]
        }
        return HandlerResult()
      }
    }
    test.first.server.registry.registerIntent("brew", handlerName: "kitchen", handler: brew(true))
    let submitted = try await test.asOperator { try await $0.submitExecution(ExecutionsHarness.request("K", "brew")) }
    try await reached.pass()
    await test.first.server.stop()
    let second = test.again()
    second.server.registry.registerIntent("brew", handlerName: "kitchen", handler: brew(false))
    try await second.server.start()
    let execution = try await test.ended(submitted.executionID, on: second)
    #expect(execution.status == .completed && execution.leaseEpoch == 2)
    #expect(notes.all == ["grind", "boil under 1", "boil under 2"])
    let stale = ExecutionClaim(tenantID: "vienna", executionID: execution.executionID, leaseEpoch: 1)
    let error = await #expect(throws: RPCError.self) {
      _ = try await second.server.journal.completeStep(CompleteStepRequest(claim: stale, stepID: "boil"))
    }
    #expect(error?.reason == .claimStale)
    await second.server.stop()
    await test.end()
  }

  @Test("What is cancelled stops, and has no dead letter; what takes too long has failed with that reason")
  func ends() async throws {
    let test = try await ExecutionsHarness()
    // A gate lets all through once one who waits at it is cancelled: each has its own.
    let (coffeeGate, teaGate, reached, waiting) = (Gate(), Gate(), Gate(), Gate())
    test.first.server.registry.registerIntent("wait", handlerName: "waiter") { run in
      _ = try await run.step("order") { _ in ["order": "melange"] }
      let isTea = run.context.intent?.solutionID == "tea"
      (isTea ? waiting : reached).open()
      try await (isTea ? teaGate : coffeeGate).pass()
      return HandlerResult()
    }
    let submitted = try await test.asOperator { try await $0.submitExecution(ExecutionsHarness.request("A", "wait")) }
    try await reached.pass()
    let cancelled = try await test.asOperator {
      try await $0.cancelExecution(
        CancelExecutionRequest(idempotencyKey: "C", executionID: submitted.executionID, reason: "closing time"))
    }
    #expect(cancelled.status == .cancelled && cancelled.error == "closing time")
    var tea = ExecutionsHarness.request("B", "wait", timeout: 60_000)
    tea.intent?.solutionID = "tea"
    let request = tea
    let slow = try await test.asOperator { try await $0.submitExecution(request) }
    try await waiting.pass()
    test.clock.advance(by: .seconds(60))
    let late = try await test.ended(slow.executionID)
    #expect(late.status == .failed && late.reason == "TIMED_OUT" && late.steps.map(\.state) == [.done])
    let told = try await test.asOperator { try await $0.getTimeline(GetTimelineRequest(executionID: slow.executionID)) }
    #expect(told.entries.last?.event?.type == "job.timed_out")
    let refused = await #expect(throws: RPCError.self) {
      _ = try await test.asOperator {
        try await $0.cancelExecution(CancelExecutionRequest(idempotencyKey: "D", executionID: submitted.executionID))
      }
    }
    #expect(refused?.reason == .executionTransitionInvalid)
    await test.end()
  }
}
