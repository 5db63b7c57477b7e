import SpanwireEventLoop
import SpanwireProtobuf
import SpanwireRPC
import Synchronization

/// A call that may be made more than once before its caller learns of anything: as its policy says, or because no server saw it.
///
/// Until an attempt is answered, requests are kept and given to every attempt. With the first response headers, or when more would have to be
/// kept than `ClientLimits` allow, the call is committed to one attempt; from then on that attempt is the call.
final class RetriableCall: ClientCall, @unchecked Sendable {
  // Sendable: `state` is under `lock`, the timers belong to the loop, all else is immutable.

  private let outgoing: OutgoingCall
  private let pool: ClientPool
  private let throttle: RetryThrottle?
  private let limits: MessageLimits
  private let lock = Mutex<Void>(())
  private var state: State

  /// On the loop: the next attempt, or the end of the wait for it.
  private var timer: LoopTimer?
  private var parentToken: CancellationToken?

  private struct State: ~Copyable {
    var plan: AttemptPlan
    /// Under way and not answered.
    var attempts: [ClientStream] = []
    /// The attempt that is the call.
    var chosen: ClientStream?
    /// What the call ended with although no attempt is the call: it was cancelled between two.
    var outcome: RPCError?
    var requests: [(message: [UInt8], compresses: Bool)] = []
    var requestBytes = 0
    var requestsEnded = false
    var isFull = false
    var isBegun = false
    var compresses = true
    var seenBy: [String] = []
    var waiters: [UnsafeContinuation<Void, Never>] = []

    init(plan: AttemptPlan) { self.plan = plan }

    var isOpen: Bool { chosen == nil && outcome == nil }
  }

  init(_ outgoing: OutgoingCall, pool: ClientPool, policy: AttemptPlan.Policy, throttle: RetryThrottle?) {
    self.outgoing = outgoing
    self.pool = pool
    self.throttle = throttle
    limits = pool.options.limits.overridden(by: outgoing.options)
    state = State(plan: AttemptPlan(policy))
  }

  deinit { pool.replayBytes.remove(state.requestBytes) }

  private func withState<Result: ~Copyable, Failure: Error>(_ body: (inout State) throws(Failure) -> Result) throws(Failure) -> Result {
    lock._unsafeLock()
    defer { lock._unsafeUnlock() }
    return try body(&state)
  }

  // MARK: Attempts, on the loop

  /// Makes the first attempt, from anywhere.
  func begin() { onLoop { $0.launch() } }

  private func launch() {
    assert(pool.loop.isCurrent)
    stopWaiting()
    guard let (number, seenBy) = withState({ $0.isOpen ? ($0.plan.attempts, $0.seenBy) : nil }) else { return }
    let isFirst = withState { state in
      defer { state.isBegun = true }
      return !state.isBegun
    }
    let attempt = ClientStream(
      isFirst ? outgoing : outgoing.again(), pool: pool, owner: self, previousAttempts: number, seenBy: seenBy)
    withState { state in
      state.plan.launched()
      state.attempts.append(attempt)
      for request in state.requests { Self.give(request, to: attempt) }
      attempt.compressesRequests = state.compresses
      if state.requestsEnded { attempt.finishSending() }
    }
    attempt.begin()
    let (isFull, delay) = withState { ($0.isFull, $0.isOpen ? $0.plan.hedgingDelay : nil) }
    if isFull { commit(to: attempt) } else if let delay, timer == nil { wait(delay, isHedge: true) }
  }

  /// Makes the next attempt after a pause, never from inside the end of another.
  private func wait(_ pause: Duration, isHedge: Bool) {
    let timer = LoopTimer(on: pool.loop) { [self] in
      self.timer = nil
      go(isHedge: isHedge)
    }
    self.timer = timer
    timer.arm(at: min(pool.loop.moment(after: pause), outgoing.deadline.nanoseconds))
    if let parent = outgoing.parent {
      parentToken = parent.onCancel { [weak self, weak parent] in self?.end(RPCError(parent?.cancellationCode ?? .cancelled)) }
    }
  }

  private func go(isHedge: Bool) {
    if outgoing.deadline != .never, outgoing.deadline.nanoseconds <= pool.loop.clock.now() {
      end(.deadlineExceeded())
    } else if !isHedge || withState({ $0.plan.mayHedge(throttle) }) {
      launch()
    }
  }

  private func stopWaiting() {
    timer?.disarm()
    timer = nil
    if let parentToken { outgoing.parent?.forget(parentToken) }
    parentToken = nil
  }

  /// The server has begun to answer an attempt.
  func answered(_ attempt: ClientStream) { commit(to: attempt) }

  /// An attempt is over. What follows is the loop's affair; only the caller's own end of a call comes from elsewhere.
  func ended(_ attempt: ClientStream, _ error: RPCError?) {
    let isChosen = withState { state in
      if state.chosen !== attempt { return false }
      if error == nil { throttle?.succeeded() } else if let error, state.plan.isCovered(error.code) { throttle?.failed() }
      return true
    }
    if isChosen { return }
    if pool.loop.isCurrent { judge(attempt, error) } else { pool.loop.execute { self.judge(attempt, error) } }
  }

  private func judge(_ attempt: ClientStream, _ error: RPCError?) {
    let random = pool.options.random()
    let step = withState { state -> AttemptPlan.Step? in
      state.attempts.removeAll { $0 === attempt }
      guard state.isOpen else { return nil }
      let peer = attempt.peer
      if !peer.isEmpty { state.seenBy.append(peer) }
      if error == nil { throttle?.succeeded() }
      return state.plan.ended(
        error, attempt.exposure, attempt.pushback, others: state.attempts.count, throttle: throttle, random: random)
    }
    switch step {
    case nil, .wait: break
    case .commit: commit(to: attempt)
    case .launch(let pause):
      stopWaiting()
      wait(pause, isHedge: false)
    }
  }

  // MARK: Commitment

  private func commit(to attempt: ClientStream) {
    let found = withState { state -> (others: [ClientStream], waiters: [UnsafeContinuation<Void, Never>])? in
      guard state.isOpen else { return nil }
      state.chosen = attempt
      let others = state.attempts.filter { $0 !== attempt }
      state.attempts = []
      forgetRequests(&state)
      defer { state.waiters = [] }
      return (others, state.waiters)
    }
    guard let found else { return }
    for other in found.others { other.cancel() }
    for waiter in found.waiters { waiter.resume() }
    onLoop { $0.stopWaiting() }
  }

  /// Ends a call that is committed to nothing; `false` if it is.
  @discardableResult
  private func end(_ error: RPCError) -> Bool {
    let found = withState { state -> (attempts: [ClientStream], waiters: [UnsafeContinuation<Void, Never>])? in
      guard state.isOpen else { return nil }
      state.outcome = error
      forgetRequests(&state)
      defer {
        state.waiters = []
        state.attempts = []
      }
      return (state.attempts, state.waiters)
    }
    guard let found else { return false }
    for attempt in found.attempts { attempt.cancel(error.code) }
    for waiter in found.waiters { waiter.resume() }
    onLoop { $0.stopWaiting() }
    return true
  }

  private func forgetRequests(_ state: inout State) {
    pool.replayBytes.remove(state.requestBytes)
    state.requests = []
    state.requestBytes = 0
  }

  private func onLoop(_ action: @escaping @Sendable (RetriableCall) -> Void) {
    if pool.loop.isCurrent { action(self) } else { pool.loop.execute { action(self) } }
  }

  // MARK: The caller's side

  func send<M: Message>(_ message: M) throws -> Bool {
    if let chosen = withState({ $0.chosen }) { return try chosen.send(message) }
    return try send(encoded: message.encoded())
  }

  func send(encoded message: [UInt8]) throws -> Bool {
    if let refusal = limits.refusal(sending: message.count) { throw refusal }
    enum Way {
      case pass(ClientStream)
      case kept(hasRoom: Bool)
      case commit(ClientStream)
    }
    let way = try withState { state throws -> Way in
      if let chosen = state.chosen { return .pass(chosen) }
      if let outcome = state.outcome { throw outcome }
      let request = (message, state.compresses)
      state.requests.append(request)
      state.requestBytes += message.count
      let fits = pool.replayBytes.add(message.count) && state.requestBytes <= ClientLimits.replayBytes
      for attempt in state.attempts { Self.give(request, to: attempt) }
      if fits { return .kept(hasRoom: true) }
      state.isFull = true
      return state.attempts.first.map { .commit($0) } ?? .kept(hasRoom: false)
    }
    switch way {
    case .pass(let chosen): return try chosen.send(encoded: message)
    case .kept(let hasRoom): return hasRoom
    case .commit(let attempt):
      commit(to: attempt)
      return false
    }
  }

  /// An attempt that has failed takes no more; that is its judge's affair.
  private static func give(_ request: (message: [UInt8], compresses: Bool), to attempt: ClientStream) {
    attempt.compressesRequests = request.compresses
    _ = try? attempt.send(encoded: request.message)
  }

  var compressesRequests: Bool {
    get { withState { $0.chosen?.compressesRequests ?? $0.compresses } }
    set {
      withState { state in
        state.compresses = newValue
        state.chosen?.compressesRequests = newValue
      }
    }
  }

  func finishSending() {
    let chosen = withState { state -> ClientStream? in
      if let chosen = state.chosen { return chosen }
      state.requestsEnded = true
      for attempt in state.attempts { attempt.finishSending() }
      return nil
    }
    chosen?.finishSending()
  }

  func drained() async throws {
    // Before commitment only a full store makes writers wait.
    if let chosen = withState({ $0.isFull || $0.chosen != nil || $0.outcome != nil }) ? try await chosen() : nil {
      try await chosen.drained()
    }
  }

  func receive<M: IncomingMessage>(_ type: M.Type) async throws -> M? { try await chosen().receive(type) }

  func responseMetadata() async throws -> Metadata { try await chosen().responseMetadata() }

  var trailers: Metadata { withState { $0.chosen }?.trailers ?? Metadata() }

  var traffic: CallTraffic { withState { $0.chosen }?.traffic ?? CallTraffic() }

  func cancel() { cancel(.cancelled) }

  private func cancel(_ code: RPCError.Code) {
    if end(code == .deadlineExceeded ? .deadlineExceeded() : RPCError(code, "cancelled")) { return }
    withState { $0.chosen }?.cancel(code)
  }

  /// The attempt that is the call, as soon as there is one.
  private func chosen() async throws -> ClientStream {
    while true {
      if let chosen = try withState({ state throws in
        if let outcome = state.outcome { throw outcome }
        return state.chosen
      }) {
        return chosen
      }
      await withTaskCancellationHandler {
        await withUnsafeContinuation { continuation in
          let isReady = withState { state in
            if !state.isOpen { return true }
            state.waiters.append(continuation)
            return false
          }
          if isReady { continuation.resume() }
        }
      } onCancel: {
        cancel(outgoing.parent?.cancellationCode ?? .cancelled)
      }
    }
  }
}
