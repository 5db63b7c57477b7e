import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireOrchestrator

/// A worker as a test plays it, message by message.
struct PlayedWorker: Sendable {
  let call: BidirectionalCall<AttachRequest, AttachResponse>

  /// The next thing it is told; nil after the end.
  func next() async throws -> AttachResponse.Kind? { try await call.responses.next()?.kind }

  /// The next work; other things told meanwhile are skipped.
  func work() async throws -> Work {
    while let kind = try await next() { if case .work(let work) = kind { return work } }
    throw RPCError.aborted("the stream ended before there was work")
  }

  /// The next refusal.
  func refusal() async throws -> AnswerRefused {
    while let kind = try await next() { if case .refused(let refused) = kind { return refused } }
    throw RPCError.aborted("the stream ended before there was a refusal")
  }

  func say(_ kind: AttachRequest.Kind) async throws { try await call.requests.write(AttachRequest(kind: kind)) }

  func answer(_ work: Work, _ text: String, _ proposals: [Proposal] = []) async throws {
    try await say(.result(WorkResult(claim: work.claim, text: text, proposals: proposals)))
  }

  func fail(_ work: Work, isFinal: Bool = false) async throws {
    try await say(.failure(WorkFailure(claim: work.claim, reason: "TIRED", message: "not today", isFinal: isFinal)))
  }

  /// Dies without a word.
  func die() { call.cancel() }
}

extension OrchestratorHarness {
  static let guide = "vienna-journey-guide"

  /// An orchestrator whose guide's work is done by workers.
  static func withWorkers(queue: FairQueue = FairQueue()) async throws -> OrchestratorHarness {
    let test = try await OrchestratorHarness(queue: queue)
    test.town.state.withLock { $0.byWorkers = [guide] }
    return test
  }

  func attach(
    _ name: String, tenant: String = "vienna", roles: [String] = [guide], slugs: [String] = [guide], concurrency: UInt32 = 1
  ) async throws -> PlayedWorker {
    let principal = Principal(kind: .worker, id: name, tenant: tenant, roles: roles, surface: .worker)
    let call = try await CallContext.with(principal: principal) { try await workers.attach() }
    let worker = PlayedWorker(call: call)
    try await worker.say(.registration(WorkerRegistration(workerID: name, agentSlugs: slugs, concurrency: concurrency)))
    guard case .registered? = try await worker.next() else { throw RPCError.aborted("not registered") }
    return worker
  }

  func asOperators<R>(_ call: (AgentWorkerClient) async throws -> R) async throws -> R {
    let principal = Principal(kind: .ops, id: "OPS-1", tenant: "vienna", roles: ["ops_lead"], surface: .ops)
    return try await CallContext.with(principal: principal, trace: .root()) { try await call(workers) }
  }

  func guideTask(_ key: String, session: String = "PRS-1") -> RunTaskRequest {
    var request = Self.request(key, "journey_guide", "suggest_next_stop")
    request.context?.productRuntimeSessionID = session
    return request
  }

  func submit(_ request: RunTaskRequest, tenant: String = "vienna") async throws -> AgentTask {
    try await asService(tenant: tenant) { try await $0.submitTask(request) }
  }

  /// A task once it has ended.
  func ended(_ id: String, tenant: String = "vienna") async throws -> AgentTask {
    while true {
      let task = try await asService(tenant: tenant) { try await $0.getTask(GetTaskRequest(agentTaskID: id)) }
      if AgentTaskStateMachine.isTerminal(task.state) { return task }
      await Task.yield()
    }
  }
}

@Suite("Agents on workers")
struct WorkerTests {
  @Test("A task whose end the store refuses in its worker's words ends in the platform's own")
  func unwritable() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.attach("w-1")
    async let updates = test.run(OrchestratorHarness.request("K1", "journey_guide", "suggest_next_stop"))
    let work = try await worker.work()
    try await worker.say(.failure(WorkFailure(claim: work.claim, reason: "TIRED", message: "no\u{0}pe", isFinal: true)))
    guard case .result(let task)? = try await updates.last?.update else { throw RPCError.aborted("no result") }
    #expect(task.state == .failed)
    #expect(task.failure == "INTERNAL: how the task ended could not be written down")
    worker.die()
    await test.end()
  }

  @Test("a worker's progress, parts and proposals reach the caller's stream")
  func works() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.attach("w1")
    async let updates = test.run(test.guideTask("K-1"))
    let work = try await worker.work()
    #expect(work.claim?.leaseEpoch == 1 && work.task?.intent == "suggest_next_stop" && work.timeoutMs > 0 && !work.traceparent.isEmpty)
    try await worker.say(.progress(WorkProgress(claim: work.claim, progress: Progress(stage: "thinking", percent: 50))))
    try await worker.say(.partial(WorkPartial(claim: work.claim, partial: Partial(text: "Perhaps"))))
    let proposal = Proposal(summary: "Go on", confidence: 0.5, kind: .route(RouteProposal(servicePointIds: ["SP-2"])))
    try await worker.answer(work, "Go to the second.", [proposal])
    let all = try await updates
    let types = all.compactMap { $0.event?.type }
    #expect(
      types == [
        "agent.task.received", "agent.task.started", "agent.task.progress", "agent.task.partial", "agent.recommendation.created",
        "agent.task.result",
      ])
    guard case .result(let task)? = all.last?.update else { throw RPCError.aborted("no result") }
    let stored = try await test.ended(task.agentTaskID)
    #expect(stored.text == "Go to the second." && stored.proposals.map(\.summary) == ["Go on"])
    #expect(stored.attempts.map(\.performer) == ["worker:w1"] && stored.attempts.map(\.outcome) == ["completed"])
    #expect(try await test.eventTypes().contains("run.claimed"))
    worker.die()
    await test.end()
  }

  @Test("what a dead worker held goes to another under a higher epoch, and its late answer is refused; the caller's stream goes on")
  func handsOn() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let first = try await test.attach("w1")
    async let updates = test.run(test.guideTask("K-1"))
    let lost = try await first.work()
    first.die()
    let second = try await test.attach("w2")
    let again = try await second.work()
    #expect(again.claim?.agentTaskID == lost.claim?.agentTaskID && again.claim?.leaseEpoch == 2)
    // It is back from the dead, under its old name, and still has its answer.
    let revived = try await test.attach("w1")
    try await revived.answer(lost, "too late")
    #expect(try await revived.refusal().reason == "epoch 1 is over, 2 stands")
    try await second.answer(again, "in time")
    let all = try await updates
    guard case .result(let task)? = all.last?.update else { throw RPCError.aborted("no result") }
    #expect(task.text == "in time")
    // Twice is once.
    try await second.answer(again, "twice")
    #expect(try await second.refusal().reason.contains("completed"))
    let stored = try await test.ended(task.agentTaskID)
    #expect(stored.attempts.map(\.outcome) == ["lost", "completed"] && stored.text == "in time")
    #expect(try await test.eventTypes().filter { $0 == "turn_stale_epoch_reject" }.count == 2)
    #expect(try await test.server.verify().allSatisfy(\.isSound))
    second.die()
    revived.die()
    await test.end()
  }

  @Test(
    "a worker whose heartbeats stop loses its work at the lease's end, gets no more until it is heard again, and is dead after a minute")
  func silence() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.attach("w1")
    let task = try await test.submit(test.guideTask("K-1"))
    let lost = try await worker.work()
    let id = try #require(test.server.workers.pool.worker(named: "w1", of: "vienna")?.0)
    test.clock.advance(by: .seconds(5))
    try await test.server.workers.supervise(id)
    guard case .cancel(let cancel)? = try await worker.next() else { throw RPCError.aborted("not told") }
    #expect(cancel.claim == lost.claim)
    #expect(test.server.workers.pool.workers(of: "vienna").map(\.state) == [.silent])
    try await worker.say(.heartbeat(WorkerHeartbeat(residentBytes: 7)))
    let again = try await worker.work()
    #expect(again.claim?.leaseEpoch == 2)
    try await worker.answer(again, "done")
    #expect(try await test.ended(task.agentTaskID).text == "done")
    test.clock.advance(by: .seconds(61))
    try await test.server.workers.supervise(id)
    let error = await #expect(throws: RPCError.self) { while try await worker.next() != nil {} }
    #expect(error?.code == .aborted && error?.reason == .workerDead)
    let types = try await test.eventTypes()
    #expect(types.filter { $0 == "heartbeat.stale" }.count == 2)
    let listed = try await test.asOperators { try await $0.listWorkers(ListWorkersRequest()) }
    #expect(listed.workers.map(\.state) == [.dead] && listed.workers[0].residentBytes == 7)
    await test.end()
  }

  @Test("a worker that holds on to a task is shown out, and the task goes on")
  func stuck() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.attach("w1")
    let task = try await test.submit(test.guideTask("K-1"))
    _ = try await worker.work()
    let id = try #require(test.server.workers.pool.worker(named: "w1", of: "vienna")?.0)
    test.clock.advance(by: .seconds(31))
    test.server.workers.pool.heard(id, residentBytes: 1, at: test.clock.now)
    try await test.server.workers.supervise(id)
    let error = await #expect(throws: RPCError.self) { while try await worker.next() != nil {} }
    #expect(error?.reason == .workerDead)
    let other = try await test.attach("w2")
    let again = try await other.work()
    try await other.answer(again, "done")
    #expect(try await test.ended(task.agentTaskID).attempts.map(\.performer) == ["worker:w1", "worker:w2"])
    #expect(try await test.eventTypes().contains("agent.stalled"))
    other.die()
    await test.end()
  }

  @Test("a worker that occupies too much memory is asked to drain, and so is one that an operator names; it finishes what it has")
  func drains() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let large = try await test.attach("large")
    let named = try await test.attach("named")
    let id = try #require(test.server.workers.pool.worker(named: "large", of: "vienna")?.0)
    let task = try await test.submit(test.guideTask("K-1"))
    let work = try await large.work()
    test.server.workers.pool.heard(id, residentBytes: 3 << 30, at: test.clock.now)
    try await test.server.workers.supervise(id)
    guard case .drain(let asked)? = try await large.next() else { throw RPCError.aborted("not asked") }
    #expect(asked.reason.contains("3072 MiB"))
    try await large.answer(work, "the last")
    #expect(try await test.ended(task.agentTaskID).text == "the last")
    let request = DrainWorkerRequest(workerID: "named", reason: "a new release")
    #expect(try await test.asOperators { try await $0.drainWorker(request) }.state == .draining)
    guard case .drain? = try await named.next() else { throw RPCError.aborted("not asked") }
    for worker in [large, named] {
      worker.call.requests.finish()
      #expect(try await worker.next() == nil)
    }
    let unknown = await #expect(throws: RPCError.self) { try await test.asOperators { try await $0.drainWorker(request) } }
    #expect(unknown?.code == .notFound && unknown?.reason == .workerNotFound)
    await test.end()
  }

  @Test("who attaches again under a name takes its place")
  func replaces() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let first = try await test.attach("w1")
    let task = try await test.submit(test.guideTask("K-1"))
    _ = try await first.work()
    let second = try await test.attach("w1")
    let error = await #expect(throws: RPCError.self) { while try await first.next() != nil {} }
    #expect(error?.reason == .workerReplaced)
    try await second.answer(try await second.work(), "done")
    #expect(try await test.ended(task.agentTaskID).attempts.map(\.leaseEpoch) == [1, 2])
    second.die()
    await test.end()
  }

  @Test("a cancelled task is called back from its worker, whose answer is refused")
  func cancels() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.attach("w1")
    let task = try await test.submit(test.guideTask("K-1"))
    let work = try await worker.work()
    let request = CancelTaskRequest(idempotencyKey: "C-1", agentTaskID: task.agentTaskID, reason: "no longer wanted")
    _ = try await test.asService { try await $0.cancelTask(request) }
    guard case .cancel(let cancel)? = try await worker.next() else { throw RPCError.aborted("not called back") }
    #expect(cancel.claim == work.claim)
    try await worker.answer(work, "all the same")
    #expect(try await worker.refusal().reason.contains("cancelled"))
    #expect(try await test.ended(task.agentTaskID).state == .cancelled)
    worker.die()
    await test.end()
  }

  @Test("a worker that fails is asked again, then the task lies with the dead letters with every attempt, until it is done again")
  func deadLetters() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    // Its circuit would open at the fifth failure.
    let worker = try await test.attach("w1")
    let task = try await test.submit(test.guideTask("K-1"))
    for epoch in 1...4 as ClosedRange<UInt64> {
      let work = try await worker.work()
      #expect(work.claim?.leaseEpoch == epoch)
      try await worker.fail(work)
    }
    let failed = try await test.ended(task.agentTaskID)
    #expect(failed.state == .failed && failed.failure == "TIRED: not today")
    let items = try await test.asOperator { try await $0.listDeadLetters(ListDeadLettersRequest(resolution: .pending)) }.items
    #expect(items.map(\.retryCount) == [3] && items[0].task?.attempts.map(\.outcome) == ["failed", "failed", "failed", "failed"])
    #expect(items[0].itemID.hasPrefix("DLQ-"))
    let redrive = RedriveDeadLettersRequest(idempotencyKey: "R-1", reason: "it has slept")
    let redriven = try await test.asOperator { try await $0.redriveDeadLetters(redrive) }
    #expect(redriven.redriven.map(\.itemID) == [items[0].itemID] && redriven.pending == 0)
    #expect(try await test.asOperator { try await $0.redriveDeadLetters(redrive) } == redriven)
    try await worker.answer(try await worker.work(), "rested")
    let again = try await test.ended(redriven.redriven[0].agentTaskID)
    #expect(again.state == .completed && again.redrivenFrom == items[0].itemID && again.task == failed.task)
    let reviewed = try await test.asOperator { try await $0.getDeadLetter(GetDeadLetterRequest(itemID: items[0].itemID)) }
    #expect(reviewed.resolution == .replayed && reviewed.reviewedBy == "OPS-1" && reviewed.replayedAs == again.agentTaskID)
    let discard = ReviewDeadLetterRequest(idempotencyKey: "D-1", itemID: items[0].itemID, resolution: .discarded, reason: "no")
    let error = await #expect(throws: RPCError.self) { try await test.asOperator { try await $0.reviewDeadLetter(discard) } }
    #expect(error?.code == .failedPrecondition && error?.reason == .deadLetterReviewed)
    let types = try await test.eventTypes()
    #expect(types.contains("dlq.enqueued") && types.contains("dlq.reviewed") && types.contains("audit.recorded"))
    #expect(try await test.server.verify().allSatisfy(\.isSound))
    worker.die()
    await test.end()
  }

  @Test("a final failure is not tried again, and is discarded with a reason")
  func finalFailure() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.attach("w1")
    let task = try await test.submit(test.guideTask("K-1"))
    try await worker.fail(try await worker.work(), isFinal: true)
    #expect(try await test.ended(task.agentTaskID).attempts.count == 1)
    let item = try #require(try await test.asOperator { try await $0.listDeadLetters(ListDeadLettersRequest()) }.items.first)
    let discard = ReviewDeadLetterRequest(idempotencyKey: "D-1", itemID: item.itemID, resolution: .discarded, reason: "hopeless")
    #expect(try await test.asOperator { try await $0.reviewDeadLetter(discard) }.resolution == .discarded)
    worker.die()
    await test.end()
  }

  @Test("a circuit that opens refuses tasks until a probe answers; with a fallback the platform's own agent serves")
  func breaks() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.attach("w1")
    let circuit = "agent:" + OrchestratorHarness.guide
    let strict = SetBreakerRequest(
      idempotencyKey: "B-0", circuit: circuit, config: BreakerConfig(failureThreshold: 1), reason: "no patience")
    #expect(try await test.asOperator { try await $0.setBreaker(strict) }.state == .closed)
    let task = try await test.submit(test.guideTask("K-1"))
    try await worker.fail(try await worker.work())
    #expect(try await test.ended(task.agentTaskID).failure.contains("CIRCUIT_OPEN"))
    let refused = await #expect(throws: RPCError.self) { try await test.submit(test.guideTask("K-3")) }
    #expect(refused?.code == .unavailable && refused?.reason == .circuitOpen)
    let fallback = SetBreakerRequest(
      idempotencyKey: "B-1", circuit: circuit, config: BreakerConfig(fallback: "built_in"), reason: "serve all the same")
    #expect(try await test.asOperator { try await $0.setBreaker(fallback) }.state == .open)
    let served = try await test.ended(try await test.submit(test.guideTask("K-4")).agentTaskID)
    #expect(served.state == .completed && served.attempts.map(\.performer) == ["built_in"])
    test.clock.advance(by: .seconds(31))
    let probe = try await test.submit(test.guideTask("K-5"))
    try await worker.say(.heartbeat(WorkerHeartbeat()))
    try await worker.answer(try await worker.work(), "well again")
    #expect(try await test.ended(probe.agentTaskID).text == "well again")
    // The task's end is told before its circuit's closing.
    while try await !test.eventTypes().contains("circuit.closed") { await Task.yield() }
    let forced = SetBreakerRequest(idempotencyKey: "B-2", circuit: circuit, mode: .forcedOpen, reason: "by hand")
    #expect(try await test.asOperator { try await $0.setBreaker(forced) }.mode == .forcedOpen)
    #expect(
      try await test.eventTypes().filter { $0.hasPrefix("circuit.") } == [
        "circuit.open", "circuit.half_open", "circuit.closed", "circuit.open",
      ])
    #expect(try await test.asOperator { try await $0.listBreakers(ListBreakersRequest()) }.breakers.first?.circuit == circuit)
    worker.die()
    await test.end()
  }

  @Test("a tool that fails is not called any more until its probe's time, and serves again once that succeeds")
  func toolBreaks() async throws {
    let test = try await OrchestratorHarness()
    test.town.state.withLock { $0.isBroken = true }
    func plan(_ key: String) async throws -> AgentTask? {
      guard
        case .result(let task)? = try await test.run(OrchestratorHarness.request(key, "trip_planner", "build_initial_route")).last?.update
      else { return nil }
      return task
    }
    // Four attempts of the first task fail, and the first of the second: the fifth failure opens it.
    #expect(try await plan("K-1")?.failure == "UNAVAILABLE: the town's map is gone")
    #expect(try await plan("K-2")?.failure.hasPrefix("CIRCUIT_OPEN: the circuit of tool Lem.ComputeRoute") == true)
    #expect(try await plan("K-3")?.failure.hasPrefix("CIRCUIT_OPEN") == true)
    #expect(test.town.state.withLock { $0.routesAsked } == 5)
    test.town.state.withLock { $0.isBroken = false }
    test.clock.advance(by: .seconds(31))
    #expect(try await plan("K-4")?.state == .completed)
    #expect(
      try await test.eventTypes().filter { $0.hasPrefix("tool.circuit") } == [
        "tool.circuit_open", "tool.circuit_half_open", "tool.circuit_closed",
      ])
    await test.end()
  }

  @Test("with as many tasks open as may be, another is refused with when to try again, and leaves no row")
  func bounded() async throws {
    let test = try await OrchestratorHarness.withWorkers(queue: FairQueue(limits: FairQueue.Limits(open: 3, openPerTenant: 2)))
    _ = try await [test.submit(test.guideTask("K-1")), test.submit(test.guideTask("K-2"))]
    let error = await #expect(throws: RPCError.self) { try await test.submit(test.guideTask("K-3")) }
    #expect(error?.code == .resourceExhausted && error?.reason == .queueFull && error?.details.count == 2)
    #expect(try await test.submit(test.guideTask("K-1")).state != .unspecified)
    #expect(try await test.asService { try await $0.listTasks(ListTasksRequest(agentSlug: OrchestratorHarness.guide)) }.tasks.count == 2)
    await test.end()
  }

  @Test("a worker gets the work of its tenant and of the agents that its credential names, and no other")
  func authority() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let error = await #expect(throws: RPCError.self) { try await test.attach("w1", roles: ["another"]) }
    #expect(error?.code == .permissionDenied && error?.reasonMetadata("rule") == "WORKER-AGENT")
    let graz = try await test.attach("w-graz", tenant: "graz")
    let shared = try await test.attach("w-shared", tenant: "platform")
    let task = try await test.submit(test.guideTask("K-1"))
    let work = try await shared.work()
    #expect(work.claim?.tenantID == "vienna")
    // Whoever guesses a claim learns nothing.
    try await graz.answer(work, "mine")
    #expect(try await graz.refusal().reason == "there is no such task")
    try await shared.answer(work, "done")
    #expect(try await test.ended(task.agentTaskID).text == "done")
    graz.die()
    shared.die()
    await test.end()
  }

  @Test("an answer that is none is refused, and counts as a failure of its attempt")
  func invalidAnswers() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.attach("w1")
    let task = try await test.submit(test.guideTask("K-1"))
    let work = try await worker.work()
    try await worker.answer(work, "", [Proposal(summary: "s", confidence: 2)])
    #expect(try await worker.refusal().reason == "2 fields are invalid")
    try await worker.answer(try await worker.work(), "better")
    #expect(try await test.ended(task.agentTaskID).attempts.map(\.outcome) == ["failed", "completed"])
    worker.die()
    await test.end()
  }
}
