import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurnKernel
import Testing

@testable import SpanwireOrchestrator

extension OrchestratorHarness {
  func asTurnsOperator<R>(_ call: (TurnsClient) async throws -> R) async throws -> R {
    let principal = Principal(kind: .ops, id: "OPS-1", tenant: "vienna", roles: ["ops_lead"], surface: .ops)
    return try await CallContext.with(principal: principal, trace: .root()) { try await call(turns) }
  }

  /// A task's turns, the first first.
  func turnsOf(_ task: String) async throws -> [Turn] {
    try await asTurnsOperator { try await $0.listTurns(ListTurnsRequest(agentTaskID: task)) }.turns
  }

  func events() async throws -> [EventEnvelope] {
    try await environment.log.list(ListEventsRequest(pageSize: 1_000), tenant: "vienna").events
  }

  /// What the log tells of a turn, in order.
  func story(of turn: String) async throws -> [String] {
    let kernel = ["turn_", "output_", "playback_", "cancel_"]
    return try await events().filter { event in event.turnID == turn && kernel.contains { event.type.hasPrefix($0) } }.map(\.type)
  }

  /// Waits until the log has so many events of a type.
  func wait(for type: String, count: Int = 1) async throws {
    while try await eventTypes().count(where: { $0 == type }) < count { await Task.yield() }
  }

  func areTurnsSound() async throws -> Bool { try await TurnCheck.verify(environment).allSatisfy(\.isSound) }
}

@Suite("Attempts as turns")
struct TurnTests {
  @Test("a task's attempt is one turn, with its plan, what its agent read, and its answer; a replay gives the same, byte by byte")
  func evidence() async throws {
    let test = try await OrchestratorHarness()
    let updates = try await test.run(OrchestratorHarness.request("K-1", "trip_planner", "build_initial_route"))
    guard case .result(let task)? = updates.last?.update else { throw RPCError.aborted("no result") }
    let turns = try await test.turnsOf(task.agentTaskID)
    let turn = try #require(turns.first)
    #expect(turns.count == 1 && turn.state == .closed && turn.outcome == .commit && turn.performer == "built_in")
    #expect(
      try await test.story(of: turn.turnID) == ["turn_open", "turn_active", "output_accepted", "turn_commit", "turn_close"])
    #expect(try await test.ended(task.agentTaskID).attempts.map(\.turnID) == [turn.turnID])
    let record = try await test.asTurnsOperator { try await $0.getTurnEvidence(GetTurnEvidenceRequest(turnID: turn.turnID)) }
    let (plan, evidence) = (try #require(record.plan), try #require(record.evidence))
    #expect(FrozenPlan(plan).hash == turn.planHash && evidence.seed == turn.seed && !evidence.isPartial)
    #expect(plan.budgets?.timeoutMs == 60_000 && plan.budgets?.maxTokens == 4_000 && plan.nodes.first?.provider?.kind == .builtIn)
    #expect(plan.lanes.map(\.lane) == [.control, .data, .telemetry] && plan.lanes.allSatisfy { $0.bound > 0 })
    #expect(evidence.inputs.first?.name == "task" && evidence.inputs.contains { $0.name == "Lem.ListServicePoints" })
    #expect(evidence.decisions.prefix(2).map(\.kind) == ["authority", "admission"])
    #expect(evidence.decisions.contains { $0.kind == "policy" && $0.subject == "Lem.ListServicePoints" && $0.outcome == "allow" })
    #expect(evidence.providerAttempts.map(\.outcome) == ["answered"] && evidence.outputs.count == 1)
    // The town has changed since: what the turn read then is what counts.
    test.town.state.withLock { ($0.remaining, $0.visited) = (1, ["SP-1", "SP-2"]) }
    let replay = try await test.asTurnsOperator { try await $0.replayTurn(ReplayTurnRequest(turnID: turn.turnID)) }
    #expect(replay.isSame && replay.checks.map(\.name) == ["plan", "seed", "evidence", "output"])
    #expect(replay.checks.allSatisfy { $0.verdict == .same }, "\(replay.checks)")
    #expect(try await test.areTurnsSound())
    await test.end()
  }

  @Test("an answer that today's agent would not give is found by a replay")
  func differs() async throws {
    let test = try await OrchestratorHarness()
    let updates = try await test.run(OrchestratorHarness.request("K-1", "journey_guide", "suggest_next_stop"))
    guard case .result(let task)? = updates.last?.update else { throw RPCError.aborted("no result") }
    let turn = try #require(try await test.turnsOf(task.agentTaskID).first)
    // As if the agent had read something else then.
    _ = try await test.database.transaction("tamper") { transaction in
      guard var evidence = try TurnStore.turn(transaction, tenant: "vienna", id: turn.turnID)?.evidence,
        let index = evidence.inputs.firstIndex(where: { $0.name == "Lem.ListServicePoints" })
      else { return }
      evidence.inputs[index].content = ListServicePointsResponse().encoded()
      evidence.inputs[index].size = UInt64(evidence.inputs[index].content.count)
      try transaction.execute("UPDATE turn SET evidence = ?1", evidence.encoded())
    }
    let replay = try await test.asTurnsOperator { try await $0.replayTurn(ReplayTurnRequest(turnID: turn.turnID)) }
    let verdicts = Dictionary(uniqueKeysWithValues: replay.checks.map { ($0.name, $0.verdict) })
    #expect(!replay.isSame && verdicts == ["plan": .same, "seed": .same, "evidence": .different, "output": .different])
    #expect(try await test.areTurnsSound() == false)
    await test.end()
  }

  @Test("killed workers that come back are refused, each time: stale outputs accepted = 0, and every turn ends once")
  func stale() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let task = try await test.submit(test.guideTask("K-1"))
    var late: [Work] = []
    for index in 0..<3 {
      let worker = try await test.attach("w\(index)")
      let work = try await worker.work()
      #expect(!work.turnID.isEmpty && work.seed != 0)
      late.append(work)
      worker.die()
    }
    let living = try await test.attach("living")
    let work = try await living.work()
    // The dead are back, and all of them answer at once, before the living one does.
    var revived: [PlayedWorker] = []
    for (index, work) in late.enumerated() {
      let worker = try await test.attach("w\(index)")
      try await worker.answer(work, "stale \(index)")
      #expect(try await worker.refusal().reason == "epoch \(index + 1) is over, 4 stands")
      revived.append(worker)
    }
    try await living.answer(work, "in time")
    #expect(try await test.ended(task.agentTaskID).text == "in time")
    // And again after the end.
    for (worker, work) in zip(revived, late) {
      try await worker.answer(work, "later still")
      _ = try await worker.refusal()
    }
    let turns = try await test.turnsOf(task.agentTaskID)
    #expect(turns.map(\.outcome) == [.abort, .abort, .abort, .commit] && turns.map(\.leaseEpoch) == [1, 2, 3, 4])
    let accepted = try await test.events().filter { $0.type == "output_accepted" }
    #expect(accepted.map(\.leaseEpoch) == [4] && accepted.map(\.turnID) == [turns[3].turnID])
    #expect(try await test.eventTypes().count { $0 == "turn_stale_epoch_reject" } == 6)
    #expect(Set(turns.map(\.seed)).count == 4)
    #expect(try await test.areTurnsSound())
    for worker in revived + [living] { worker.die() }
    await test.end()
  }

  @Test("a cancelled turn is fenced: nothing that its worker still says is accepted; its task is cancelled with it")
  func cancel() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.attach("w1")
    let task = try await test.submit(test.guideTask("K-1"))
    let work = try await worker.work()
    let request = CancelTurnRequest(idempotencyKey: "C-1", turnID: work.turnID, reason: "enough")
    let cancelled = try await test.asTurnsOperator { try await $0.cancelTurn(request) }
    #expect(cancelled.state == .closed && cancelled.outcome == .abort && cancelled.reason == "cancelled: enough")
    try await worker.say(.partial(WorkPartial(claim: work.claim, partial: Partial(text: "but"))))
    try await worker.answer(work, "too late")
    for _ in 0..<2 { _ = try await worker.refusal() }
    #expect(try await test.story(of: work.turnID) == ["turn_open", "turn_active", "cancel_accepted", "turn_abort", "turn_close"])
    #expect(try await test.ended(task.agentTaskID).state == .cancelled)
    // Said twice it is the same; a turn that ended otherwise cannot be cancelled.
    #expect(try await test.asTurnsOperator { try await $0.cancelTurn(request) } == cancelled)
    let other = try await test.submit(test.guideTask("K-2"))
    let second = try await worker.work()
    try await worker.answer(second, "done")
    _ = try await test.ended(other.agentTaskID)
    let late = CancelTurnRequest(idempotencyKey: "C-2", turnID: second.turnID)
    await #expect(throws: RPCError.self) { _ = try await test.asTurnsOperator { try await $0.cancelTurn(late) } }
    #expect(try await test.areTurnsSound())
    worker.die()
    await test.end()
  }

  @Test("one turn a session: who comes second waits, who comes third is rejected, and neither leaves an accepted-turn event meanwhile")
  func quota() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    test.town.state.withLock { $0.quota = TurnQuota(openPerSession: 1, deferredPerSession: 1) }
    let worker = try await test.attach("w1", concurrency: 4)
    let first = try await test.submit(test.guideTask("K-1"))
    let work = try await worker.work()
    let second = try await test.submit(test.guideTask("K-2"))
    try await test.wait(for: "turn_defer")
    let third = try await test.submit(test.guideTask("K-3"))
    let refused = try await test.ended(third.agentTaskID)
    #expect(refused.state == .failed && refused.failure.hasPrefix("TURN_REJECTED: session:vienna:PRS-1:vienna-journey-guide: "))
    // Another session is not concerned.
    let elsewhere = try await test.submit(test.guideTask("K-4", session: "PRS-2"))
    try await worker.answer(try await worker.work(), "elsewhere")
    _ = try await test.ended(elsewhere.agentTaskID)
    for task in [second, third] {
      #expect(try await test.turnsOf(task.agentTaskID).isEmpty)
      let accepted = try await test.events().filter { $0.agentTaskID == task.agentTaskID && !$0.turnID.isEmpty }
      #expect(accepted.isEmpty)
    }
    let types = try await test.eventTypes()
    #expect(types.count { $0 == "turn_defer" } == 1 && types.count { $0 == "turn_reject" } == 1)
    try await worker.answer(work, "first")
    try await worker.answer(try await worker.work(), "second")
    #expect(try await test.ended(first.agentTaskID).text == "first")
    #expect(try await test.ended(second.agentTaskID).text == "second")
    #expect(try await test.turnsOf(second.agentTaskID).map(\.outcome) == [.commit])
    #expect(try await test.areTurnsSound())
    worker.die()
    await test.end()
  }

  @Test("what a process left open when it died is aborted at the next start, once, and the task goes on under another turn")
  func restart() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.attach("w1")
    let task = try await test.submit(test.guideTask("K-1"))
    let work = try await worker.work()
    await test.server.stop()
    #expect(try await test.story(of: work.turnID) == ["turn_open", "turn_active"])
    for _ in 0..<2 {
      let (again, _) = test.again()
      try await again.start()
      await again.stop()
    }
    #expect(try await test.story(of: work.turnID) == ["turn_open", "turn_active", "turn_abort", "turn_close"])
    let turns = try await test.turnsOf(task.agentTaskID)
    #expect(turns.first?.outcome == .abort && turns.first?.reason == "its process ended")
    let record = try await test.asTurnsOperator { try await $0.getTurnEvidence(GetTurnEvidenceRequest(turnID: work.turnID)) }
    #expect(record.evidence?.isPartial == true && record.plan != nil)
    #expect(try await test.areTurnsSound())
    worker.die()
    await test.end()
  }

  @Test("a run that another has overtaken opens no turn")
  func overtaken() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.attach("w1")
    let task = try await test.submit(test.guideTask("K-1"))
    let work = try await worker.work()
    let key = AgentTaskKey(tenant: "vienna", id: task.agentTaskID)
    let row = try #require(try await test.database.read { try OrchestratorStore.task($0, key) })
    // It believes that no run has begun yet.
    let turns = TaskTurns(row)
    let plan = turns.plan(TurnProvider(kind: .worker, name: OrchestratorHarness.guide))
    let recorder = turns.recorder("TURN-OVERTAKEN", under: plan, epoch: 1, by: "built_in", decisions: [], at: test.clock.now)
    guard case .stale = try await test.server.journal.begin(key, by: nil, as: recorder, under: plan) else {
      throw RPCError.aborted("it began")
    }
    #expect(try await test.story(of: "TURN-OVERTAKEN").isEmpty)
    #expect(try await test.turnsOf(task.agentTaskID).map(\.turnID) == [work.turnID])
    #expect(try await test.eventTypes().count { $0 == "turn_stale_epoch_reject" } == 1)
    try await worker.answer(work, "done")
    #expect(try await test.ended(task.agentTaskID).text == "done")
    worker.die()
    await test.end()
  }

  @Test("what was too large to be kept is read anew, and noted when it is no longer what it was")
  func replayedReads() async throws {
    let (small, large) = (GeoPoint(latitude: 1), GeoPoint(latitude: 2))
    func input(_ name: String, _ point: GeoPoint, isKept: Bool) -> TurnInput {
      let bytes = point.encoded()
      return TurnInput(name: name, contentHash: SHA256.hash(bytes), size: UInt64(bytes.count), content: isKept ? bytes : [])
    }
    let evidence = TurnEvidence(inputs: [
      input("task", small, isKept: true), input("a", small, isKept: true), input("b", large, isKept: false),
      input("b", large, isKept: false),
    ])
    let reads = ReplayedReads(evidence)
    #expect(try await reads.read("a") { throw RPCError.aborted("it is not asked") } == small)
    #expect(try await reads.read("b") { large } == large)
    #expect(reads.changed.isEmpty)
    #expect(try await reads.read("b") { small } == small)
    #expect(reads.changed == ["b"])
    _ = try await reads.read("new") { small }
    #expect(reads.changed == ["b", "new"])
  }
}
