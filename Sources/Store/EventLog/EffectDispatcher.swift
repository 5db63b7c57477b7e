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

  /// What to write when an effect is given up, with the error of its last attempt.
  public typealias GiveUpHandler = @Sendable (Effect, RPCError) -> @Sendable (borrowing Transaction) throws -> Void

  private let database: any Database
  private let clock: any WallClock
  /// Stands in for the routes: for tests.
  private let performer: Performer?
  private let executor: (any TaskExecutor)?
  private let random: @Sendable () -> Double
  private let retries: EffectRetries
  private let state = Mutex(State())

  private struct State {
    var handlers: [String: OutcomeHandler] = [:]
    var onGiveUp: GiveUpHandler?
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
    /// Streams whose first effect was given up: their others stay in their rows until an operator has decided about it.
    var held: Set<String> = []
    /// Of those that a fetched row may still show as held.
    var releasedMeanwhile: Set<String> = []
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
    random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }, retries: EffectRetries = EffectRetries(),
    perform: Performer? = nil
  ) {
    self.database = database
    self.clock = clock
    self.executor = executor
    self.random = random
    self.retries = retries
    performer = perform
  }

  /// Names who is told the outcomes of an owner's effects. Before `start`.
  public func onOutcome(of owner: String, _ handler: @escaping OutcomeHandler) { state.withLock { $0.handlers[owner] = handler } }

  /// What is written beside an effect that is given up. Before `start`.
  public func onGiveUp(_ handler: @escaping GiveUpHandler) { state.withLock { $0.onGiveUp = handler } }

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
        let (effects, next, held) = try await database.transaction("effects.fetch") { transaction in
          let effects = try EffectStore.due(transaction, now: now, after: place, limit: EffectLimits.fetch)
          return (effects, try EffectStore.nextDue(transaction, after: now), try EffectStore.heldStreams(transaction))
        }.value
        let step = accept(effects, next: next, held: held)
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
  private func accept(_ effects: [Effect], next: Int64?, held: [String]) -> Step {
    state.withLock { state in
      state.held.formUnion(held.filter { !state.releasedMeanwhile.contains($0) })
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
      state.releasedMeanwhile = []
      if hadRoom && state.looksAgain { return .again }
      state.isFetching = false
      state.hasBacklog = !hadRoom
      return .done
    }
  }

  private static func add(_ effect: Effect, to state: inout State) {
    if state.held.contains(effect.stream) { return }
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
      let isGivenUp = await complete(effect)
      let refetches = state.withLock { state in
        state.known.remove(effect.id)
        if state.isFetching { state.endedMeanwhile.insert(effect.id) }
        if isGivenUp {
          // What comes after it waits in its rows. If an operator has decided already, it is there to be fetched.
          for waiting in state.streams[stream] ?? [] { state.known.remove(waiting.id) }
          state.streams[stream] = []
          if !state.held.contains(stream) {
            state.endedMeanwhile.remove(effect.id)
            state.hasBacklog = true
            state.looksAgain = true
          }
        } else {
          state.streams[stream]?.removeFirst()
        }
        return state.hasBacklog && state.known.count <= EffectLimits.queued / 2
      }
      if refetches { fetch() }
    }
    begin()
    tellIdle()
  }

  /// Performs an effect until it has an outcome, and stores that with what its owner makes of it; or gives it up, and returns true.
  private func complete(_ effect: Effect) async -> Bool {
    var effect = effect
    var delay = retries.firstDelay
    while !state.withLock({ $0.isStopped }) {
      effect.attempts += 1
      let attempt = await attempt(effect)
      Failpoint.hit("after-effect-before-ack")
      switch attempt {
      case .outcome(let outcome): if await store(outcome, of: effect) { return false }
      case .again(let error):
        if effect.attempts < retries.attempts {
          await note(error, of: effect)
        } else if let isPending = await giveUp(effect, error) {
          return isPending
        }
      }
      // Full jitter: callees that come back are not met by everybody at once.
      try? await Task.sleep(for: delay * (0.5 + random() / 2))
      delay = min(delay * 2, retries.longestDelay)
    }
    return false
  }

  private enum Attempt {
    case outcome(EffectOutcome)
    /// No verdict: the same call may fare better later.
    case again(RPCError)
  }

  private func attempt(_ effect: Effect) async -> Attempt {
    if effect.isTimer { return .outcome(.succeeded([])) }
    // A route that is missing is our own bug, or an effect of a release that had it: its owner is told.
    guard let performer = performer ?? state.withLock({ $0.routes[effect.owner + effect.method] }) else {
      return .outcome(.failed(.unimplemented("nobody performs \(effect.method) for \(effect.owner)")))
    }
    let principal = Principal(
      kind: .service, id: effect.owner, tenant: effect.tenant, surface: .internal, onBehalfOf: effect.subject)
    do {
      let response = try await CallContext.with(
        deadline: .after(EffectLimits.timeout), principal: principal, trace: effect.trace?.child()
      ) { try await performer(effect) }
      return .outcome(.succeeded(response))
    } catch {
      let error = RPCError.outcome(of: error, in: nil)
      return error.mayBeRetried ? .again(error) : .outcome(.failed(error))
    }
  }

  /// Keeps what an attempt failed with; if that cannot be stored, the next one tells.
  private func note(_ error: RPCError, of effect: Effect) async {
    _ = try? await database.transaction("effects.note") { try $0.noteAttempt(effect, error) }
  }

  /// Whether it waits for an operator now, and was not taken back meanwhile; nil when that could not be stored.
  private func giveUp(_ effect: Effect, _ error: RPCError) async -> Bool? {
    let write = state.withLock { $0.onGiveUp }?(effect, error)
    let now = clock.now
    return try? await database.transaction("effects.give-up") { transaction in
      let isPending = try transaction.giveUpEffect(effect, error, at: now)
      if isPending { try write?(transaction) }
      return isPending
    }.value
  }

  /// Prepares to end an effect that was given up as failed for good, with the error of its last attempt: what it returns is run in the
  /// caller's transaction, tells the owner as any outcome is told, and returns false when the effect is not given up.
  public func discarding(_ id: String) async throws -> @Sendable (borrowing Transaction) throws -> Bool {
    let (database, clock) = (database, clock)
    guard let found = try await database.scan({ try EffectStore.find($0, id) }), found.state == .givenUp, let error = found.error else {
      return { _ in false }
    }
    let write = try await told(.failed(error), of: found.effect)
    return { transaction in
      let isEnded = try transaction.discardEffect(found.effect, error, at: clock.now)
      if isEnded { try write?(transaction) }
      return isEnded
    }
  }

  /// What an effect's owner makes of its outcome.
  private func told(
    _ outcome: EffectOutcome, of effect: Effect
  ) async throws -> (@Sendable (borrowing Transaction) throws -> Void)? {
    let principal = Principal(kind: .service, id: effect.owner, tenant: effect.tenant, surface: .internal, onBehalfOf: effect.subject)
    return try await CallContext.with(principal: principal, trace: effect.trace?.child()) {
      try await state.withLock { $0.handlers[effect.owner] }?(effect, outcome)
    }
  }

  /// False when it could not be stored and has to be tried again.
  private func store(_ outcome: EffectOutcome, of effect: Effect) async -> Bool {
    do {
      let write = try await told(outcome, of: effect)
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
  public func committed(_ items: [any CommitItem]) {
    let changes = items.compactMap { $0 as? EffectChange }
    if changes.isEmpty { return }
    var hasNew = false
    var hasSooner = false
    var hasReleased = false
    var ended: [(UnsafeContinuation<EffectOutcome, any Error>, Result<EffectOutcome, any Error>)] = []
    let now = clock.now
    state.withLock { state in
      for change in changes {
        switch change.kind {
        case .stored(let effect):
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
        case .ended(let id, let outcome):
          for continuation in state.waiters.removeValue(forKey: id)?.values ?? [:].values {
            ended.append((continuation, .success(outcome)))
          }
        case .givenUp(let id, let stream, let error):
          state.held.insert(stream)
          for continuation in state.waiters.removeValue(forKey: id)?.values ?? [:].values {
            ended.append((continuation, .failure(RPCError.givenUp(id, error))))
          }
        case .released(let stream):
          state.held.remove(stream)
          if state.isFetching { state.releasedMeanwhile.insert(stream) }
          state.hasBacklog = true
          state.looksAgain = true
          hasReleased = true
        }
      }
    }
    for (continuation, outcome) in ended { continuation.resume(with: outcome) }
    if hasReleased { fetch() }
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
