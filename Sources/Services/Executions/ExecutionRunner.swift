import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWorker
import Synchronization

/// Runs executions in the background: each in a Swift task of its own, for the one who asked, attempt after attempt until one returns, its
/// time is over, or another would not help.
///
/// What it knows is in the rows; here are only the handles of what is under way.
final class ExecutionRunner: Sendable {
  private struct State {
    var running: [ExecutionKey: Task<Void, Never>?] = [:]
    var byTenant: [String: Int] = [:]
    var isStopping = false
  }

  /// The execution's time is over.
  private struct TimedOut: Error {}

  private let journal: ExecutionJournal
  private let registry: IntentRegistry
  private let workers: AgentWorkerClient
  private let channel: any Channel
  private let retries: RetryPolicy
  private let state = Mutex(State())

  init(
    journal: ExecutionJournal, registry: IntentRegistry, workers: AgentWorkerClient, over channel: any Channel, retries: RetryPolicy
  ) {
    self.journal = journal
    self.registry = registry
    self.workers = workers
    self.channel = channel
    self.retries = retries
  }

  // MARK: Room

  /// Admits an execution before it is stored; false when there is no room. It is counted out by `release`, or by its end.
  func reserve(_ key: ExecutionKey, beyondLimits: Bool = false) -> Bool {
    state.withLock { state in
      guard !state.isStopping, state.running[key] == nil else { return false }
      let hasRoom =
        state.running.count < ExecutionsLimits.open && state.byTenant[key.tenant, default: 0] < ExecutionsLimits.openPerTenant
      guard hasRoom || beyondLimits else { return false }
      state.running[key] = .some(nil)
      state.byTenant[key.tenant, default: 0] += 1
      return true
    }
  }

  func release(_ key: ExecutionKey) {
    state.withLock { state in
      guard state.running.removeValue(forKey: key) != nil, let count = state.byTenant[key.tenant] else { return }
      state.byTenant[key.tenant] = count > 1 ? count - 1 : nil
    }
  }

  func isRunning(_ key: ExecutionKey) -> Bool { state.withLock { $0.running[key] != nil } }

  // MARK: Running

  /// Starts an execution that was admitted.
  func start(_ row: ExecutionsStore.ExecutionRow) {
    guard let caller = CallerRecord(text: row.caller) else { return release(row.key) }
    // The lock is held until the handle is stored, so that the task cannot end before it was known.
    state.withLock { state in
      guard state.running[row.key] != nil else { return }
      state.running[row.key] = Task.detached { [self] in
        let trace = caller.trace?.child()
        await CallContext.with(principal: caller.principal, trace: trace) { await run(row, caller.principal, trace) }
        release(row.key)
      }
    }
  }

  func cancel(_ key: ExecutionKey) {
    let task = state.withLock { $0.running[key] ?? nil }
    task?.cancel()
  }

  /// Lets go of everything that runs, without a word in the rows: after a start it runs again.
  func stop() async {
    let tasks = state.withLock { state in
      state.isStopping = true
      return state.running.values.compactMap { $0 }
    }
    for task in tasks { task.cancel() }
    for task in tasks { await task.value }
  }

  private var isStopping: Bool { state.withLock { $0.isStopping } }

  private func run(_ row: ExecutionsStore.ExecutionRow, _ caller: Principal, _ trace: TraceContext?) async {
    let timeout = Int64(row.execution.timeoutMs)
    // Its time runs from when it was submitted, through restarts.
    let left = (row.execution.createdAt?.nanosecondsSinceEpoch ?? 0) + timeout * 1_000_000 - journal.environment.clock.now
    let span = Duration.nanoseconds(max(left, 0))
    let deadline = Deadline.after(span)
    do {
      try await CallContext.with(deadline: deadline, principal: caller, trace: trace) {
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { [self] in try await attempts(row, deadline) }
          group.addTask { [clock = journal.environment.clock] in
            try await clock.sleep(for: span)
            throw TimedOut()
          }
          defer { group.cancelAll() }
          try await group.next()
        }
      }
    } catch {
      // A run that the process's end stopped stays as it is and begins again; one that CancelExecution stopped has its end already.
      if isStopping || Task.isCancelled { return }
      let ending = Self.ending(of: error, timeout: timeout, passed: deadline.hasPassed)
      // While the store refuses even to record it, somebody waits for it: it is tried until it stands, or the process ends.
      while !isStopping, !Task.isCancelled {
        do { return try await journal.end(row.key, ending) } catch { try? await Task.sleep(for: ExecutionsLimits.recordPause) }
      }
    }
  }

  private static func ending(of error: any Error, timeout: Int64, passed: Bool) -> ExecutionJournal.Ending {
    if passed || error is TimedOut { return .timedOut(milliseconds: timeout) }
    let (reason, message) = words(for: error)
    return .failed(reason: reason, message: message)
  }

  /// What went wrong, as a reason and in words.
  private static func words(for error: any Error) -> (reason: String, message: String) {
    switch error {
    case let error as RPCError:
      (error.reason?.wireName ?? error.code.name, String(error.message.prefix(ExecutionsLimits.messageLetters)))
    case let error as GiveUp: ("GIVEN_UP", String(error.description.prefix(ExecutionsLimits.messageLetters)))
    case let error as any RPCErrorConvertible: words(for: error.rpcError)
    default: ("HANDLER_FAILED", String(String(describing: error).prefix(ExecutionsLimits.messageLetters)))
    }
  }

  /// Whether another attempt may do better: not after a verdict, which would only be given again.
  private static func mayDoBetter(after error: any Error) -> Bool {
    switch error {
    case is GiveUp: false
    case let error as RPCError: !error.isVerdict
    case let error as any RPCErrorConvertible: mayDoBetter(after: error.rpcError)
    default: true
    }
  }

  // MARK: Attempts

  private func attempts(_ row: ExecutionsStore.ExecutionRow, _ deadline: Deadline) async throws {
    var policy = retries
    policy.maxRetries = UInt64(row.execution.maxRetries)
    let (key, intentType) = (row.key, row.execution.intent?.intentType ?? "")
    var count: UInt64 = 0
    while true {
      guard let handler = try await registry.choose(intentType, tenant: key.tenant) else {
        try await Task.sleep(for: ExecutionsLimits.handlerPause)
        continue
      }
      count += 1
      guard let begun = try await journal.begin(key, by: handler) else { return }
      let epoch = begun.execution.leaseEpoch
      do {
        guard epoch <= ExecutionsLimits.runs else {
          throw RPCError.failedPrecondition("given up after \(ExecutionsLimits.runs) runs, some of which its process did not survive")
        }
        let result = try await perform(begun, handler, deadline)
        try ExecutionValidation.check(result)
        try Task.checkCancellation()
        return try await journal.complete(key, under: epoch, result)
      } catch {
        if (error as? RPCError)?.code == .unavailable { registry.noteFailure(of: handler) }
        guard !Task.isCancelled, !deadline.hasPassed, Self.mayDoBetter(after: error), let pause = policy.pause(after: count, chance: chance)
        else { throw error }
        let (reason, message) = Self.words(for: error)
        let outcome = (error as? RPCError)?.code == .unavailable ? "lost" : "failed"
        try await journal.lose(key, under: epoch, outcome, "\(reason): \(message)", pause: pause)
        try await Task.sleep(for: pause)
      }
    }
  }

  /// From 0 up to 1, of the same source as ids: a simulation's seed decides it.
  private var chance: Double { Double(journal.environment.ids.ulid().low >> 11) / Double(1 << 53) }

  /// One attempt: the context is made and checked, then the handler has it.
  private func perform(
    _ row: ExecutionsStore.ExecutionRow, _ handler: IntentHandlerInfo, _ deadline: Deadline
  ) async throws -> HandlerResult {
    let (execution, key) = (row.execution, row.key)
    let context = ExecutionContext(
      executionID: key.id, intent: execution.intent, tenantID: key.tenant, sessionID: execution.intent?.sessionID ?? "",
      solutionID: execution.intent?.solutionID ?? "", metadata: row.metadata.metadata, createdAt: execution.createdAt,
      claim: ExecutionClaim(tenantID: key.tenant, executionID: key.id, leaseEpoch: execution.leaseEpoch), sandbox: execution.sandbox)
    try ExecutionValidation.check(context)
    if let function = registry.function(handler) { return try await function(ExecutionRun(context: context, over: channel)) }
    let left = (deadline.remaining ?? .zero).nanoseconds / 1_000_000
    let responses = try await workers.performExecution(
      PerformExecutionRequest(execution: context, handlerName: handler.handlerName, timeoutMs: UInt32(clamping: left)))
    for try await response in responses {
      switch response.kind {
      case .workerID(let worker): try await journal.dispatch(key, under: execution.leaseEpoch, to: worker)
      case .result(let result): return result
      case nil: break
      }
    }
    throw RPCError.unavailable("the worker went without a result")
  }
}
