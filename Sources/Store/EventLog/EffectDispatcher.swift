import SpanwireDatabase
import SpanwireProtobuf
import SpanwireRPC
import SpanwireServiceKit
import Synchronization

/// Performs effects after their commit and tells their owners how they ended.
///
/// At least once: an effect leaves its row pending until its outcome is stored, in one transaction with what the owner makes of it. In
/// order: a stream's next effect begins when the one before has ended. A restart begins again with what is pending.
public final class EffectDispatcher: Sendable {
  /// Calls what an effect names; throws `RPCError`.
  public typealias Performer = @Sendable (Effect) async throws -> [UInt8]
  /// What an owner makes of an outcome: it may call and read first, and returns what to write with the outcome.
  public typealias OutcomeHandler = @Sendable (Effect, EffectOutcome) async throws -> (@Sendable (borrowing Transaction) throws -> Void)?

  private let database: any Database
  private let clock: any WallClock
  /// Stands in for the routes: for tests.
  private let performer: Performer?
  private let executor: (any TaskExecutor)?
  private let random: @Sendable () -> Double
  private let state = Mutex(State())

  private struct State {
    var handlers: [String: OutcomeHandler] = [:]
    /// By owner and method.
    var routes: [String: Performer] = [:]
    /// Effects in memory by stream, the first of each under way or about to be.
    var streams: [String: [Effect]] = [:]
    var known: Set<String> = []
    /// Streams that wait for one of the places.
    var ready: [String] = []
    var running = 0
    /// Effects stand in their rows that are not in memory: until they are fetched, new ones join them there, to keep the order.
    var hasBacklog = true
    var isFetching = false
    /// Something was committed, or is due, since the fetching began: it may have passed that place in the order.
    var looksAgain = false
    /// What a fetched row may still show as pending.
    var endedMeanwhile: Set<String> = []
    var isStarted = false
    var isStopped = false
    var waiters: [String: [Int: UnsafeContinuation<EffectOutcome, any Error>]] = [:]
    var nextWaiter = 0
    var nextDue: Int64 = .max
    var alarm: Task<Void, Never>?
    var idle: [UnsafeContinuation<Void, Never>] = []

    var isIdle: Bool { streams.isEmpty && !isFetching && !hasBacklog }
  }

  public init(
    database: any Database, clock: any WallClock, executor: (any TaskExecutor)? = nil,
    random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }, perform: Performer? = nil
  ) {
    self.database = database
    self.clock = clock
    self.executor = executor
    self.random = random
    performer = perform
  }

  /// Names who is told the outcomes of an owner's effects. Before `start`.
  public func onOutcome(of owner: String, _ handler: @escaping OutcomeHandler) { state.withLock { $0.handlers[owner] = handler } }

  /// Names the channel over which an owner's effects of a method are performed: one bound to the owner's own identity. Before `start`.
  public func route<Request: Message, Response: Message>(
    _ owner: String, _ method: MethodDescriptor, _ request: Request.Type, _ response: Response.Type, over channel: any Channel
  ) {
    precondition(method.kind == .unary, "an effect is one request and one response: \(method)")
    state.withLock { state in
      state.routes[owner + method.path] = { effect in
        try await channel.unary(try Request(decoding: effect.request), method, CallOptions(), returning: Response.self).message.encoded()
      }
    }
  }

  /// Begins with what earlier runs left pending.
  public func start() {
    database.observe(self)
    state.withLock { $0.isStarted = true }
    fetch()
  }

  /// Begins nothing more; what is under way ends by itself, and is performed again after a restart if it does not.
  public func stop() {
    let (alarm, waiters) = state.withLock { state in
      state.isStopped = true
      defer { state.waiters = [:] }
      return (state.alarm, state.waiters.values.flatMap(\.values))
    }
    alarm?.cancel()
    for waiter in waiters { waiter.resume(throwing: RPCError.unavailable("the server is going down")) }
  }

  /// Waits until an effect has ended. The effect's commit may have been just now, or long ago.
  public func outcome(of id: String) async throws -> EffectOutcome {
    let number = state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    return try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        let isCancelled = state.withLock { state in
          if state.isStopped || Task.isCancelled { return true }
          state.waiters[id, default: [:]][number] = continuation
          return false
        }
        if isCancelled { return continuation.resume(throwing: CancellationError()) }
        // It may have ended before anybody waited.
        Task(executorPreference: executor) { [self] in
          do {
            if let outcome = try await database.scan({ try EffectStore.outcome($0, of: id) }) { answer(id, number, .success(outcome)) }
          } catch {
            answer(id, number, .failure(error))
          }
        }
      }
    } onCancel: {
      answer(id, number, .failure(CancellationError()))
    }
  }

  /// Waits until an effect has ended and returns its response; throws what it failed with.
  public func response(of id: String) async throws -> [UInt8] {
    switch try await outcome(of: id) {
    case .succeeded(let response): return response
    case .failed(let error): throw error
    case .cancelled: throw RPCError.cancelled("the effect was taken back")
    }
  }

  /// Looks for timers that are due by the clock, as the alarm does: for clocks that are set by hand.
  public func poll() {
    state.withLock { state in
      state.hasBacklog = true
      state.looksAgain = true
    }
    fetch()
  }

  /// Waits until nothing that is due is left: for tests and for a graceful end.
  public func settled() async {
    await withUnsafeContinuation { continuation in
      let isIdle = state.withLock { state in
        if !state.isIdle { state.idle.append(continuation) }
        return state.isIdle
      }
      if isIdle { continuation.resume() }
    }
  }

  /// Forgets outcomes older than a day.
  public func purge() async throws {
    let before = clock.now - EffectLimits.retention.nanoseconds
    while try await database.transaction("effects.purge", { try EffectStore.purge($0, endedBefore: before, limit: 500) }).value == 500 {}
  }

  // MARK: Fetching

  private func fetch() {
    let starts = state.withLock { state in
      guard state.isStarted, !state.isStopped, !state.isFetching, state.hasBacklog else { return false }
      state.isFetching = true
      return true
    }
    if starts { Task(executorPreference: executor) { [self] in await fetchAll() } }
  }

  /// Reads what is due until memory is full or the rows are done.
  private func fetchAll() async {
    var after: (dueAt: Int64, number: Int64) = (-1, 0)
    var delay = EffectLimits.firstDelay
    while true {
      let now = clock.now
      let place = after
      do {
        // In a transaction, so that no commit comes between reading the rows and declaring them read.
        state.withLock { $0.looksAgain = place.number == 0 ? false : $0.looksAgain }
        let (effects, next) = try await database.transaction("effects.fetch") { transaction in
          let effects = try EffectStore.due(transaction, now: now, after: place, limit: EffectLimits.fetch)
          return (effects, try EffectStore.nextDue(transaction, after: now))
        }.value
        let step = accept(effects, next: next)
        setAlarm()
        begin()
        switch step {
        case .done: return tellIdle()
        case .again: after = (-1, 0)
        case .further: after = (effects[effects.count - 1].dueAt, effects[effects.count - 1].number)
        }
      } catch DatabaseError.closed {
        return stop()
      } catch {
        try? await Task.sleep(for: delay)
        delay = min(delay * 2, EffectLimits.longestDelay)
        if state.withLock({ $0.isStopped }) { return }
      }
    }
  }

  private enum Step { case done, further, again }

  /// Takes fetched effects into memory, and says whether there are more.
  private func accept(_ effects: [Effect], next: Int64?) -> Step {
    state.withLock { state in
      var hadRoom = true
      for effect in effects where !state.known.contains(effect.id) && !state.endedMeanwhile.contains(effect.id) {
        if state.known.count >= EffectLimits.queued {
          hadRoom = false
          break
        }
        Self.add(effect, to: &state)
      }
      if let next { state.nextDue = min(state.nextDue, next) }
      if hadRoom && effects.count == EffectLimits.fetch { return .further }
      state.endedMeanwhile = []
      if hadRoom && state.looksAgain { return .again }
      state.isFetching = false
      state.hasBacklog = !hadRoom
      return .done
    }
  }

  private static func add(_ effect: Effect, to state: inout State) {
    state.known.insert(effect.id)
    if state.streams[effect.stream] == nil {
      state.streams[effect.stream] = [effect]
      state.ready.append(effect.stream)
    } else {
      state.streams[effect.stream]!.append(effect)
    }
  }

  // MARK: Performing

  /// Starts as many of the streams that are ready as there are places.
  private func begin() {
    let streams = state.withLock { state -> [String] in
      guard !state.isStopped else { return [] }
      let count = min(state.ready.count, EffectLimits.concurrent - state.running)
      guard count > 0 else { return [] }
      defer { state.ready.removeFirst(count) }
      state.running += count
      return Array(state.ready.prefix(count))
    }
    for stream in streams { Task(executorPreference: executor) { [self] in await run(stream) } }
  }

  /// Performs a stream's effects one after the other, until it has none.
  private func run(_ stream: String) async {
    while true {
      let next = state.withLock { state -> Effect? in
        guard !state.isStopped, let effect = state.streams[stream]?.first else {
          if !state.isStopped { state.streams[stream] = nil }
          state.running -= 1
          return nil
        }
        return effect
      }
      guard let effect = next else { break }
      await complete(effect)
      let refetches = state.withLock { state in
        state.known.remove(effect.id)
        if state.isFetching { state.endedMeanwhile.insert(effect.id) }
        state.streams[stream]?.removeFirst()
        return state.hasBacklog && state.known.count <= EffectLimits.queued / 2
      }
      if refetches { fetch() }
    }
    begin()
    tellIdle()
  }

  /// Performs an effect until it has an outcome, and stores that with what its owner makes of it.
  private func complete(_ effect: Effect) async {
    var effect = effect
    var delay = EffectLimits.firstDelay
    while !state.withLock({ $0.isStopped }) {
      effect.attempts += 1
      let outcome = await attempt(effect)
      Failpoint.hit("after-effect-before-ack")
      if let outcome, await store(outcome, of: effect) { return }
      // Full jitter: callees that come back are not met by everybody at once.
      try? await Task.sleep(for: delay * (0.5 + random() / 2))
      delay = min(delay * 2, EffectLimits.longestDelay)
    }
  }

  /// Nil when it should be tried again.
  private func attempt(_ effect: Effect) async -> EffectOutcome? {
    if effect.isTimer { return .succeeded([]) }
    // A route that is missing is our own bug, or an effect of a release that had it: its owner is told.
    guard let performer = performer ?? state.withLock({ $0.routes[effect.owner + effect.method] }) else {
      return .failed(.unimplemented("nobody performs \(effect.method) for \(effect.owner)"))
    }
    let principal = Principal(
      kind: .service, id: effect.owner, tenant: effect.tenant, surface: .internal, onBehalfOf: effect.subject)
    do {
      let response = try await CallContext.with(
        deadline: .after(EffectLimits.timeout), principal: principal, trace: effect.trace?.child()
      ) { try await performer(effect) }
      return .succeeded(response)
    } catch {
      let error = RPCError.outcome(of: error, in: nil)
      return error.mayBeRetried && effect.attempts < EffectLimits.attempts ? nil : .failed(error)
    }
  }

  /// False when it could not be stored and has to be tried again.
  private func store(_ outcome: EffectOutcome, of effect: Effect) async -> Bool {
    do {
      let principal = Principal(kind: .service, id: effect.owner, tenant: effect.tenant, surface: .internal, onBehalfOf: effect.subject)
      let write = try await CallContext.with(principal: principal, trace: effect.trace?.child()) {
        try await state.withLock { $0.handlers[effect.owner] }?(effect, outcome)
      }
      let now = clock.now
      _ = try await database.transaction("effects.end") { transaction in
        // One that was taken back meanwhile has no outcome to tell.
        if try transaction.endEffect(effect, outcome, at: now) { try write?(transaction) }
      }
      return true
    } catch DatabaseError.closed {
      stop()
      return true
    } catch {
      return false
    }
  }

  private func answer(_ id: String, _ number: Int, _ result: Result<EffectOutcome, any Error>) {
    let waiter = state.withLock { state in
      defer { if state.waiters[id]?.isEmpty == true { state.waiters[id] = nil } }
      return state.waiters[id]?.removeValue(forKey: number)
    }
    waiter?.resume(with: result)
  }

  private func tellIdle() {
    let idle = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
      guard state.isIdle else { return [] }
      defer { state.idle = [] }
      return state.idle
    }
    for continuation in idle { continuation.resume() }
  }

  // MARK: Timers

  /// One task sleeps until the next effect is due.
  private func setAlarm() {
    let due = state.withLock { $0.nextDue }
    guard due != .max else { return }
    let wait = max(0, due - clock.now)
    let alarm = Task(executorPreference: executor) { [self] in
      do { try await Task.sleep(for: .nanoseconds(wait)) } catch { return }
      state.withLock { $0.nextDue = .max }
      poll()
    }
    let previous = state.withLock { state in
      defer { state.alarm = alarm }
      return state.alarm
    }
    previous?.cancel()
  }
}

extension EffectDispatcher: CommitObserver {
  public func committed(_ items: [any Sendable]) {
    var hasNew = false
    var hasSooner = false
    var ended: [(UnsafeContinuation<EffectOutcome, any Error>, EffectOutcome)] = []
    let now = clock.now
    state.withLock { state in
      for item in items {
        if let effect = item as? Effect {
          if effect.dueAt > now {
            if effect.dueAt < state.nextDue {
              state.nextDue = effect.dueAt
              hasSooner = true
            }
          } else if !state.hasBacklog && state.known.count < EffectLimits.queued {
            Self.add(effect, to: &state)
            hasNew = true
          } else {
            state.hasBacklog = true
            state.looksAgain = true
          }
        } else if let end = item as? EffectEnded {
          for continuation in state.waiters.removeValue(forKey: end.id)?.values ?? [:].values { ended.append((continuation, end.outcome)) }
        }
      }
    }
    for (continuation, outcome) in ended { continuation.resume(returning: outcome) }
    if hasNew { begin() }
    if hasSooner { setAlarm() }
  }

  public func recovered(_ snapshot: borrowing Snapshot) { poll() }
}

extension RPCError {
  /// Whether the same call may fare better later.
  var mayBeRetried: Bool {
    switch code {
    case .unavailable, .resourceExhausted, .aborted, .deadlineExceeded, .cancelled, .unknown, .internal: true
    default: false
    }
  }
}
