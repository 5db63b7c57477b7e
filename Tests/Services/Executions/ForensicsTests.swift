import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import SpanwireWorker
import Testing

@testable import SpanwireExecutions

@Suite(.timeLimit(.minutes(2)))
struct ForensicsTests {
  private static let session = StateKey(scope: .sessionID("PRS-1"))

  /// Three steps, of which the second writes the session's state; how often each ran is noted.
  private static func register(_ test: ExecutionsHarness, _ notes: Notes) {
    test.first.server.registry.registerIntent("brew", handlerName: "kitchen") { run in
      for name in ["grind", "boil", "pour"] {
        _ = try await run.step(name, input: ["of": Google_Protobuf_Value(name)]) { _ in
          notes.add(name)
          if name == "boil" {
            let known = try await run.state.session()
            let cups = (known.state?["cups"]?.number ?? 0) + 1
            try await run.state.setSession(["cups": Google_Protobuf_Value(cups)], ifAt: known.revision)
          }
          return ["time": Google_Protobuf_Value(Double(notes.all.count))]
        }
      }
      _ = try await run.artifacts.store("cup", type: "cup", format: "text/plain", content: Array("coffee".utf8))
      return HandlerResult(output: ["notes": Google_Protobuf_Value(Double(notes.all.count))])
    }
  }

  @Test("A replay from a step takes over what earlier steps gave, names the old execution, and in its sandbox changes nothing outside")
  func replay() async throws {
    let test = try await ExecutionsHarness()
    let notes = Notes()
    Self.register(test, notes)
    let (old, _) = try await test.run(ExecutionsHarness.request("K", "brew"))
    let replayed = try await test.asOperator {
      try await $0.replayExecution(
        ReplayExecutionRequest(idempotencyKey: "R", executionID: old.executionID, fromStep: "boil", reason: "what went on?"))
    }
    let new = try await test.ended(replayed.executionID)
    #expect(new.status == .completed && new.replayOf == old.executionID && new.sandbox && new.fromStep == "boil")
    #expect(notes.all == ["grind", "boil", "pour", "boil", "pour"])
    #expect(new.steps.map(\.state) == [.reused, .done, .done])
    try await test.asOperator { executions in
      #expect(try await executions.getState(GetStateRequest(key: Self.session)).state?["cups"]?.number == 1)
      let artifacts = try await executions.listArtifacts(ListArtifactsRequest())
      #expect(artifacts.artifacts.count == 1)
      let sandboxed = try await executions.listArtifacts(ListArtifactsRequest(sandbox: true))
      #expect(sandboxed.artifacts.map(\.producedBy?.executionID) == [new.executionID])
      let diff = try await executions.diffExecutions(
        DiffExecutionsRequest(executionIDA: old.executionID, executionIDB: new.executionID))
      #expect(diff.input.isEmpty && diff.steps.map(\.stepID) == ["grind", "boil", "pour"])
      #expect(diff.steps[0].output.isEmpty && diff.steps[1].output.map(\.path) == ["output.time"] && diff.steps.allSatisfy(\.sameInput))
      #expect(diff.output.map { [$0.path, $0.a, $0.b] } == [["output.notes", "3", "5"]])
      let timeline = try await executions.getTimeline(GetTimelineRequest(executionID: new.executionID, pageSize: 3))
      #expect(timeline.entries.map(\.event?.type) == ["job.received", "job.replayed", "job.planning"] && !timeline.nextPageToken.isEmpty)
    }
    await test.end()
  }

  @Test("A live replay takes an approval, given to the one who asks, for this execution")
  func live() async throws {
    let test = try await ExecutionsHarness()
    let notes = Notes()
    Self.register(test, notes)
    let (old, _) = try await test.run(ExecutionsHarness.request("K", "brew"))
    let policy = PolicyClient(test.first.channel)
    func approve(_ id: String, as role: String, _ who: String) async throws {
      let principal = Principal(kind: .ops, id: who, tenant: "vienna", roles: [role], surface: .ops)
      _ = try await CallContext.with(principal: principal) {
        try await policy.decideApproval(DecideApprovalRequest(idempotencyKey: "\(id)-\(who)", approvalID: id, approved: true))
      }
    }
    func ask(_ target: String) async throws -> Approval {
      try await CallContext.with(principal: ExecutionsHarness.operators) {
        try await policy.requestApproval(
          RequestApprovalRequest(idempotencyKey: "A-\(target)", category: "system_admin", target: target, reason: "make good"))
      }
    }
    func replay(_ approval: String, _ key: String) async throws -> Execution {
      try await test.asOperator {
        try await $0.replayExecution(
          ReplayExecutionRequest(
            idempotencyKey: key, executionID: old.executionID, live: true, approvalID: approval, reason: "make good"))
      }
    }
    let (pending, other) = (try await ask(old.executionID), try await ask("EXE-OTHER"))
    for (index, role) in other.requiredApprovers.enumerated() { try await approve(other.approvalID, as: role, "BOSS-\(index)") }
    for (number, approval) in ["", "NONE", pending.approvalID, other.approvalID].enumerated() {
      let error = await #expect(throws: RPCError.self) { _ = try await replay(approval, "L-\(number)") }
      #expect(error?.code == .permissionDenied && error?.reason == .replayApprovalMissing, "\(approval)")
    }
    for (index, role) in pending.requiredApprovers.enumerated() { try await approve(pending.approvalID, as: role, "BOSS-\(index)") }
    let new = try await test.ended(try await replay(pending.approvalID, "L").executionID)
    #expect(new.status == .completed && !new.sandbox)
    let state = try await test.asOperator { try await $0.getState(GetStateRequest(key: Self.session)) }
    #expect(state.state?["cups"]?.number == 2)
    await test.end()
  }

  @Test("What fails for good is a dead letter beside those of agents, and is redriven as a new execution that goes on where it failed")
  func deadLetter() async throws {
    let test = try await ExecutionsHarness()
    let notes = Notes()
    test.first.server.registry.registerIntent("brew", handlerName: "kitchen") { run in
      _ = try await run.step("grind") { _ in
        notes.add("grind")
        return [:]
      }
      return try await HandlerResult(
        output: run.step("boil") { _ in
          notes.add("boil")
          if notes.count("boil") <= 2 { throw RPCError.unavailable("no water") }
          return ["ok": true]
        })
    }
    let (failed, types) = try await test.run(ExecutionsHarness.request("K", "brew", retries: 1))
    #expect(failed.status == .failed && failed.reason == "UNAVAILABLE" && failed.leaseEpoch == 2 && types.last == "job.failed")
    let item = try await CallContext.with(principal: ExecutionsHarness.operators) { () -> DeadLetter in
      while true {
        let page = try await test.first.agents.listDeadLetters(ListDeadLettersRequest(resolution: .pending))
        if let item = page.items.first { return item }
        await Task.yield()
      }
    }
    #expect(item.execution?.executionID == failed.executionID && item.retryCount == 1 && item.execution?.attempts.count == 2)
    let redriven = try await CallContext.with(principal: ExecutionsHarness.operators) {
      try await test.first.agents.redriveDeadLetters(
        RedriveDeadLettersRequest(idempotencyKey: "D", itemIds: [item.itemID], reason: "water is back"))
    }
    let id = try #require(redriven.redriven.first?.executionID)
    let done = try await { () -> Execution in
      while true {
        do { return try await test.ended(id) } catch let error as RPCError where error.code == .notFound { await Task.yield() }
      }
    }()
    #expect(done.status == .completed && done.redrivenFrom == item.itemID && done.replayOf == failed.executionID)
    #expect(notes.all == ["grind", "boil", "boil", "boil"])
    await test.end()
  }
}
