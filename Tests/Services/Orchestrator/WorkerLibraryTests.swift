import SpanwireRPC
import SpanwireSchema
import SpanwireWorker
import Testing

@testable import SpanwireOrchestrator

extension OrchestratorHarness {
  /// A worker of the library, attached until the task that is returned is cancelled or the worker has drained.
  func library(_ name: String, _ agent: @escaping Worker.Agent) async throws -> Task<Void, any Error> {
    let principal = Principal(kind: .worker, id: name, tenant: "vienna", roles: [Self.guide], surface: .worker)
    let worker = Worker(id: name, agents: [Self.guide: agent])
    let running = Task { [channel] in try await CallContext.with(principal: principal) { try await worker.run(over: channel) } }
    while server.workers.pool.worker(named: name, of: "vienna") == nil { await Task.yield() }
    return running
  }
}

@Suite("The library of workers")
struct WorkerLibraryTests {
  /// Many times what may wait to be written.
  private static let pieces = (0..<500).map { "\($0) " }

  @Test("what an agent tells on its way arrives whole and in order, then its answer; asked to drain, the worker ends")
  func streams() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.library("w1") { task in
      try await task.progress("talking", percent: 10)
      for piece in Self.pieces { try await task.partial(piece) }
      return WorkerAnswer(text: "that was all", proposals: [Proposal(summary: "Go on", kind: .explanation(Explanation(text: "why not")))])
    }
    let updates = try await test.run(test.guideTask("K-1"))
    let told = updates.compactMap { update -> String? in if case .partial(let partial)? = update.update { partial.text } else { nil } }
    #expect(told == Self.pieces)
    guard case .result(let task)? = updates.last?.update else { throw RPCError.aborted("no result") }
    #expect(task.text == "that was all" && task.proposals.map(\.summary) == ["Go on"])
    _ = try await test.asOperators { try await $0.drainWorker(DrainWorkerRequest(workerID: "w1", reason: "a new release")) }
    try await worker.value
    await test.end()
  }

  @Test("what an agent throws is tried again, and what it gives up is not", arguments: [(false, 2), (true, 1)])
  func failures(givesUp: Bool, attempts: Int) async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let worker = try await test.library("w1") { task in
      if givesUp { throw GiveUp("nobody can") }
      if task.work.claim?.leaseEpoch == 1 { throw RPCError.unavailable("not now") }
      return WorkerAnswer(text: "at the second try")
    }
    let ended = try await test.ended(try await test.submit(test.guideTask("K-1")).agentTaskID)
    #expect(ended.attempts.count == attempts && (ended.state == .completed) == !givesUp)
    worker.cancel()
    _ = await worker.result
    await test.end()
  }

  @Test("an agent whose task is cancelled is told, and the worker goes on")
  func cancels() async throws {
    let test = try await OrchestratorHarness.withWorkers()
    let (begun, tellBegun) = AsyncStream<String>.makeStream()
    let (stopped, tellStopped) = AsyncStream<Bool>.makeStream()
    let worker = try await test.library("w1") { task in
      if task.work.task?.message == "quick" { return WorkerAnswer(text: "done") }
      tellBegun.yield(task.work.claim?.agentTaskID ?? "")
      let (nothing, source) = AsyncStream<Void>.makeStream()
      for await _ in nothing {}
      source.finish()
      tellStopped.yield(Task.isCancelled)
      throw CancellationError()
    }
    let id = try await test.submit(test.guideTask("K-1")).agentTaskID
    for await task in begun {
      #expect(task == id)
      break
    }
    let cancel = CancelTaskRequest(idempotencyKey: "K-2", agentTaskID: id, reason: "no longer wanted")
    _ = try await test.asService { try await $0.cancelTask(cancel) }
    for await isCancelled in stopped {
      #expect(isCancelled)
      break
    }
    #expect(try await test.ended(id).state == .cancelled)
    var quick = test.guideTask("K-3")
    quick.task?.message = "quick"
    #expect(try await test.ended(try await test.submit(quick).agentTaskID).text == "done")
    worker.cancel()
    _ = await worker.result
    await test.end()
  }
}
