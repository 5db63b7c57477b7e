import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireTLS
import Synchronization

/// What a channel has on one loop: the addresses of its target, a subchannel for each that is used, and the calls that wait for one.
///
/// Exits of each phase: idle → active (a call, or `connect()`), closed; active → idle (nothing to do for long, or pick-first lost its
/// connection), closed.
final class ClientPool: @unchecked Sendable {
  // Sendable: all of it belongs to the loop but the constants.

  let loop: EventLoop
  let target: ChannelTarget
  let options: HTTP2ChannelOptions
  let observer: (any CallObserver)?
  let tls: TLSContext?
  /// Bytes kept for calls that may be made again, over the whole channel.
  let replayBytes: ReplayBytes
  /// How often the server is asked for a sign of life; longer once it has said that this is too often.
  private(set) var keepalive: HTTP2ChannelOptions.Keepalive?

  private enum Phase { case idle, active, closed }

  private let number: Int
  private let connectivity: ChannelConnectivity
  private var phase = Phase.idle
  private var subchannels: [Subchannel] = []
  /// Those of them that are ready.
  private var ready: [Subchannel] = []
  private var balancer: LoadBalancer
  private var waiting = CallQueue()
  /// What calls fail with that do not want to wait; from the failure of all addresses until one is ready.
  private var failure: RPCError?
  /// Connections that no longer take calls and still have some.
  private var leaving: [ClientConnection] = []
  private var whenClosed: [CheckedContinuation<Void, Never>] = []
  private let head: RequestHead
  private let headers = HTTP2Headers()
  private var isUpdating = false
  private var needsUpdate = false

  private var question: Task<Void, Never>?
  private var questionTimer: LoopTimer?
  private var lastQuestion: UInt64 = 0
  private var failedQuestions = 0
  /// Tells answers from those to a question that nobody asks any more.
  private var questionNumber = 0

  private var idleTimer: LoopTimer?
  private var lastActivity: UInt64 = 0

  init(
    _ loop: EventLoop, number: Int, _ target: ChannelTarget, tls: TLSContext?, options: HTTP2ChannelOptions, observer: (any CallObserver)?,
    connectivity: ChannelConnectivity, replayBytes: ReplayBytes
  ) {
    self.loop = loop
    self.number = number
    self.target = target
    self.tls = tls
    self.options = options
    self.observer = observer
    self.connectivity = connectivity
    self.replayBytes = replayBytes
    keepalive = options.keepalive
    head = RequestHead(target, isSecure: tls != nil, options: options)
    balancer = LoadBalancer(options.balancing)
  }

  /// For a look from outside.
  var inspectedSubchannels: [Subchannel] { subchannels }

  // MARK: Calls

  func open(_ call: ClientStream) {
    assert(loop.isCurrent)
    if phase != .active {
      guard phase == .idle else { return call.fail(.unavailable("the channel is closed")) }
      leaveIdle()
    }
    if waiting.isEmpty, let connection = pick(for: call) { return submit(call, on: connection) }
    if let failure, call.outgoing.options.waitForReady != true { return call.fail(failure) }
    guard waiting.count < ClientLimits.waitingCalls else {
      return call.fail(.resourceExhausted("\(waiting.count) calls wait for a connection to \(target)"))
    }
    waiting.append(call)
    lastActivity = loop.now
  }

  /// A call that waits no longer.
  func forget(_ call: ClientStream) { waiting.remove(call) }

  /// A stream is over: the next in line may begin.
  func ended(on connection: ClientConnection) {
    lastActivity = loop.now
    if !waiting.isEmpty { serveWaiting() }
  }

  private func pick(for call: ClientStream) -> ClientConnection? {
    if ready.count == 1 {
      let only = ready[0]
      return only.hasRoom ? only.connection : nil
    }
    let ready = ready, random = options.random
    // Hedged calls go to servers that have not seen them, if there are any.
    if !call.seenBy.isEmpty {
      let fresh = balancer.pick(ready.count, random: random) { call.seenBy.contains(ready[$0].name) ? nil : Self.load(ready[$0]) }
      if let fresh { return ready[fresh].connection }
    }
    return balancer.pick(ready.count, random: random) { Self.load(ready[$0]) }.flatMap { ready[$0].connection }
  }

  private static func load(_ subchannel: Subchannel) -> Int? {
    subchannel.hasRoom ? subchannel.connection?.session.openStreams : nil
  }

  private func serveWaiting() {
    while let call = waiting.first, let connection = pick(for: call) {
      waiting.remove(call)
      submit(call, on: connection)
    }
  }

  private func submit(_ call: ClientStream, on connection: ClientConnection) {
    headers.removeAll()
    head.write(call, into: headers)
    do {
      try call.submit(on: connection, headers)
      lastActivity = loop.now
    } catch {
      // The session takes no more streams: its numbers are used up, or it is going away.
      connection.leave()
      call.connection = nil
      open(call)
    }
  }

  /// A call that is for one connection only.
  func open(_ call: ClientStream, pinnedTo connection: ClientConnection) {
    guard connection.phase == .ready else { return call.fail(.unavailable("\(connection.peerAddress): the connection is gone")) }
    headers.removeAll()
    head.write(call, into: headers)
    do {
      try call.submit(on: connection, headers)
      connection.ownCalls += 1
    } catch {
      call.fail(.unavailable("\(connection.peerAddress): \(error)"))
    }
  }

  // MARK: Idle and active

  /// Looks for a server, if it has not begun to.
  func connect() {
    if phase == .idle { leaveIdle() }
  }

  private func leaveIdle() {
    phase = .active
    lastActivity = loop.now
    failedQuestions = 0
    ask()
    armIdleTimer()
    update()
  }

  private func armIdleTimer() {
    guard let span = options.idleTimeout else { return }
    let timer = LoopTimer(on: loop) { [unowned self] in checkIdle(span) }
    idleTimer = timer
    timer.arm(after: span)
  }

  private func checkIdle(_ span: Duration) {
    let isBusy = !waiting.isEmpty || subchannels.contains { $0.connection?.hasCalls ?? false }
    let end = (isBusy ? loop.now : lastActivity) &+ UInt64(max(0, span / .nanoseconds(1)))
    if end > loop.now { idleTimer?.arm(at: end) } else { becomeIdle() }
  }

  private func becomeIdle() {
    phase = .idle
    stopAsking()
    idleTimer?.disarm()
    idleTimer = nil
    dropSubchannels()
    failure = nil
    connectivity.set(number, .idle)
  }

  private func dropSubchannels() {
    let dropped = subchannels
    subchannels = []
    ready = []
    for subchannel in dropped { subchannel.shutDown() }
  }

  // MARK: Subchannels

  /// The service whose health decides which servers take calls. Pick-first has no choice to make by it.
  var healthService: String? { options.balancing.connectsToAll ? options.healthService : nil }

  func changed(_ subchannel: Subchannel, from before: ConnectivityState) {
    guard phase == .active, subchannels.contains(where: { $0 === subchannel }) else { return }
    if before == .ready, subchannel.state == .idle, options.balancing == .pickFirst {
      // The next call asks anew where the servers are.
      becomeIdle()
      if !waiting.isEmpty { leaveIdle() }
      return
    }
    if subchannel.state == .transientFailure || before == .ready { askAgain() }
    update()
  }

  /// Does what follows from the states of the subchannels: who connects, who takes calls, which calls go and which fail.
  private func update() {
    needsUpdate = true
    if isUpdating { return }
    isUpdating = true
    while needsUpdate, phase == .active {
      needsUpdate = false
      drive()
      if needsUpdate || phase != .active { continue }
      ready = subchannels.filter { $0.state == .ready }
      publish()
      serveWaiting()
      if let failure, !waiting.isEmpty {
        for call in waiting.removeAll(where: { $0.outgoing.options.waitForReady != true }) { call.fail(failure) }
      }
    }
    isUpdating = false
  }

  /// Lets those connect that should.
  private func drive() {
    if options.balancing.connectsToAll {
      for subchannel in subchannels where subchannel.state == .idle { subchannel.connect() }
    } else if let first = subchannels.first(where: { $0.state == .ready }) {
      for other in subchannels where other !== first { other.disconnect() }
    } else if let next = subchannels.first(where: { $0.lastError == nil }) {
      // One after the other, until all have failed once.
      next.connect()
    } else {
      for subchannel in subchannels where subchannel.state == .idle { subchannel.connect() }
    }
  }

  private func publish() {
    if !ready.isEmpty {
      failure = nil
    } else if !subchannels.isEmpty, subchannels.allSatisfy({ $0.lastError != nil }) {
      failure = subchannels.last { $0.lastError != nil }?.lastError
    }
    connectivity.set(number, !ready.isEmpty ? .ready : failure != nil ? .transientFailure : .connecting)
  }

  /// A connection takes no more calls; it may still have some.
  func keepLeaving(_ connection: ClientConnection) {
    if !leaving.contains(where: { $0 === connection }) { leaving.append(connection) }
  }

  /// A connection is gone.
  func lost(_ connection: ClientConnection) {
    leaving.removeAll { $0 === connection }
    finishClosing()
  }

  /// A server has said that it is pinged too often: connections from now on ask half as often.
  func keepaliveIsUnwelcome() {
    if let interval = keepalive?.interval { keepalive?.interval = interval * 2 }
  }

  // MARK: Resolving

  private func ask() {
    questionTimer?.disarm()
    questionTimer = nil
    lastQuestion = loop.clock.now()
    questionNumber += 1
    let resolver = options.resolver ?? Resolver(target)
    switch resolver.kind {
    case .fixed(let addresses): resolved(addresses)
    case .asked(let resolve):
      let number = questionNumber
      question?.cancel()
      question = Task.detached(executorPreference: loop) { [self] in
        let answer: Result<[SocketAddress], any Error>
        do { answer = .success(try await resolve()) } catch { answer = .failure(error) }
        answered(answer, to: number)
      }
    }
  }

  private func answered(_ answer: Result<[SocketAddress], any Error>, to number: Int) {
    assert(loop.isCurrent)
    guard phase == .active, number == questionNumber else { return }
    question = nil
    switch answer {
    case .success(let addresses) where !addresses.isEmpty: resolved(addresses)
    case .success: resolutionFailed(.unavailable("\(target) has no address"))
    case .failure(let error): resolutionFailed(.unavailable("\(target): \(error)"))
    }
    update()
  }

  /// Keeps the subchannels of addresses that are still there.
  private func resolved(_ addresses: [SocketAddress]) {
    failedQuestions = 0
    if addresses.isEmpty { return resolutionFailed(.unavailable("\(target) has no address")) }
    var addresses = addresses
    if options.shufflesAddresses { shuffle(&addresses) }
    var next: [Subchannel] = []
    for address in addresses.prefix(ClientLimits.addresses) {
      let name = address.description
      if next.contains(where: { $0.name == name }) { continue }
      next.append(subchannels.first { $0.name == name } ?? Subchannel(address, pool: self))
    }
    if subchannels.isEmpty { failure = nil }
    let gone = subchannels.filter { old in !next.contains { $0 === old } }
    subchannels = next
    ready = next.filter { $0.state == .ready }
    for subchannel in gone { subchannel.shutDown() }
  }

  private func shuffle(_ addresses: inout [SocketAddress]) {
    for last in stride(from: addresses.count - 1, to: 0, by: -1) {
      addresses.swapAt(last, min(last, Int(options.random() * Double(last + 1))))
    }
  }

  private func resolutionFailed(_ error: RPCError) {
    failedQuestions += 1
    if subchannels.isEmpty { failure = error }
    askLater(options.backoff.wait(afterFailures: failedQuestions, random: options.random()))
  }

  /// A server was lost: perhaps there are others by now.
  private func askAgain() {
    let resolver = options.resolver ?? Resolver(target)
    if case .fixed = resolver.kind { return }
    if question != nil || questionTimer != nil { return }
    let since = Duration.nanoseconds(Int64(clamping: loop.clock.now() &- lastQuestion))
    askLater(max(.zero, options.resolutionInterval - since))
  }

  private func askLater(_ wait: Duration) {
    let timer = LoopTimer(on: loop) { [unowned self] in
      ask()
      update()
    }
    questionTimer = timer
    timer.arm(after: wait)
  }

  private func stopAsking() {
    questionTimer?.disarm()
    questionTimer = nil
    question?.cancel()
    question = nil
    questionNumber += 1
  }

  // MARK: Census

  /// What a channel holds at a moment on one loop: all zero but for connections when no call is under way.
  struct Census: Sendable, Hashable {
    var connections = 0
    var streams = 0
    var waiting = 0
    var replayBytes = 0
  }

  func census() -> Census {
    assert(loop.isCurrent)
    let connections = leaving + subchannels.compactMap(\.connection)
    return Census(
      connections: connections.count, streams: connections.reduce(0) { $0 + $1.session.openStreams }, waiting: waiting.count,
      replayBytes: replayBytes.count)
  }

  // MARK: Closing

  /// Fails the calls that wait, lets those on connections end, and returns when the last has.
  func close() async {
    await withCheckedContinuation { continuation in
      loop.execute { [self] in
        whenClosed.append(continuation)
        beginClosing()
        finishClosing()
      }
    }
  }

  private func beginClosing() {
    if phase == .closed { return }
    phase = .closed
    stopAsking()
    idleTimer?.disarm()
    idleTimer = nil
    for call in waiting.removeAll(where: { _ in true }) { call.fail(.unavailable("the channel is closed")) }
    dropSubchannels()
    connectivity.set(number, .shutdown)
  }

  private func finishClosing() {
    guard phase == .closed, leaving.isEmpty else { return }
    for continuation in whenClosed { continuation.resume() }
    whenClosed = []
  }

  /// Ends every call at once; used when nobody holds the channel any more.
  func abort() {
    beginClosing()
    for connection in leaving { connection.fail(ConnectionError.endOfStream) }
  }
}
