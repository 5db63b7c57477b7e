import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireProtobuf
import SpanwireRPC
import Synchronization

/// One call of a client, on one HTTP/2 stream.
///
/// Its stream lives on a loop; its caller may be anywhere. On the loop, messages go straight into the stream's output and out of its
/// input; from elsewhere they cross under a lock, and the loop is asked to look.
final class ClientStream: HTTP2Stream, ClientCall, @unchecked Sendable {
  // Sendable: what HTTP2Stream holds, and what is marked so here, belongs to the loop; all else is immutable or under `lock`.

  let outgoing: OutgoingCall
  let loop: EventLoop
  let pool: ClientPool
  let limits: MessageLimits
  private let lock = Mutex<Void>(())
  private var state: Shared

  /// Attempts of the same call before this one, as the server is told.
  let previousAttempts: Int
  /// Servers that earlier attempts went to.
  let seenBy: [String]
  private let observer: (any CallObserver)?

  // On the loop only.
  var connection: ClientConnection?
  private let pinned: ClientConnection?
  // While it waits, its place in the queue.
  var isQueued = false
  var nextWaiting: ClientStream?
  unowned(unsafe) var previousWaiting: ClientStream?
  private var timer: LoopTimer?
  private var parentToken: CancellationToken?
  private var response = ResponseHead()
  private let start: Deadline

  /// Writers stop at the high mark and go on below the low one: enough to keep the sender busy, little enough to hold for many streams.
  static let highWater = 64 * 1024
  static let lowWater = 32 * 1024
  /// Credit for messages taken off the loop is brought to it in such pieces; the window is many times larger.
  static let creditStep = 64 * 1024

  struct Shared: ~Copyable {
    var assembler: MessageAssembler
    var encoding = ResponseEncoding.identity
    var leading: Metadata?
    var trailers = Metadata()
    /// What the call ended with, once it has.
    var outcome: RPCError??
    /// Messages written off the loop, framed.
    var outbox: [UInt8] = []
    var outboxIsLast = false
    /// Whether messages written from now on are compressed, if the call's options say how.
    var compresses = true
    var visitIsScheduled = false
    /// What stood in the stream's output when the loop last said.
    var outputBytes = 0
    var credit = 0
    /// Who judges the outcome before the caller sees it, if anybody does; nobody once the call has ended.
    var owner: RetriableCall?
    var exposure = CallExposure.seen
    var peer = ""
    var traffic = CallTraffic()
    /// Whoever waits wants the call's end, not its first message.
    var awaitsEnd = false
    var messageWaiter: UnsafeContinuation<Void, Never>?
    var leadingWaiter: UnsafeContinuation<Void, Never>?
    var drainWaiter: UnsafeContinuation<Void, Never>?

    init(limits: MessageLimits) { assembler = MessageAssembler(limits: limits) }
  }

  init(
    _ outgoing: OutgoingCall, pool: ClientPool, pinned: ClientConnection? = nil, owner: RetriableCall? = nil, previousAttempts: Int = 0,
    seenBy: [String] = []
  ) {
    self.outgoing = outgoing
    self.pool = pool
    self.pinned = pinned
    self.previousAttempts = previousAttempts
    self.seenBy = seenBy
    loop = pool.loop
    limits = pool.options.limits.overridden(by: outgoing.options)
    state = Shared(limits: limits)
    state.owner = owner
    observer = pinned == nil ? pool.observer : nil
    start = observer == nil ? .never : .now()
    super.init()
    observer?.callStarted(CallStart(side: .client, method: outgoing.method, trace: outgoing.trace, start: start))
  }

  /// What both the loop and the caller touch. `Mutex.withLock` would want closures that capture nothing of their surroundings.
  func withShared<Result: ~Copyable, Failure: Error>(_ body: (inout Shared) throws(Failure) -> Result) throws(Failure) -> Result {
    lock._unsafeLock()
    defer { lock._unsafeUnlock() }
    return try body(&state)
  }

  // MARK: Beginning, on the loop

  /// Arms the deadline and looks for a connection.
  func begin() {
    assert(loop.isCurrent)
    if hasEnded { return }
    if outgoing.deadline != .never {
      let timer = LoopTimer(on: loop) { [unowned self] in expire() }
      self.timer = timer
      timer.arm(at: outgoing.deadline.nanoseconds)
    }
    if !outgoing.isUnary, let parent = outgoing.parent {
      parentToken = parent.onCancel { [weak self, weak parent] in self?.cancel(parent?.cancellationCode ?? .cancelled) }
    }
    if let pinned { pool.open(self, pinnedTo: pinned) } else { pool.open(self) }
  }

  /// Sends the request on a connection that has room.
  func submit(on connection: ClientConnection, _ headers: borrowing HTTP2Headers) throws(HTTP2Error) {
    self.connection = connection
    withShared { if observer != nil || $0.owner != nil { $0.peer = connection.peerAddress } }
    visit()
    try connection.session.submitRequest(self, headers, hasBody: true)
  }

  private func expire() { cancel(.deadlineExceeded) }

  /// Nothing ties the call to the loop any more.
  private func release() {
    timer?.disarm()
    timer = nil
    if let parentToken { outgoing.parent?.forget(parentToken) }
    parentToken = nil
    connection = nil
  }

  // MARK: Ending

  var hasEnded: Bool { withShared { $0.outcome != nil } }

  /// How far the call got; of interest once it has failed.
  var exposure: CallExposure { withShared { $0.exposure } }

  /// The address of the server that the call went to; empty before.
  var peer: String { withShared { $0.peer } }

  /// What the server says about trying again; on the loop.
  var pushback: RetryPushback? { response.pushback }

  /// Sets what the call ended with, if nothing has yet, and wakes whoever waits. True the first time.
  ///
  /// Messages that came before a status can still be read; after an end of our own making they are gone.
  @discardableResult
  func settle(_ outcome: RPCError?, trailers: Metadata = Metadata(), keepsMessages: Bool) -> Bool {
    struct Waiters {
      var message, leading, drain: UnsafeContinuation<Void, Never>?
      var traffic: CallTraffic
      var peer: String
      var owner: RetriableCall?
    }
    let waiters = withShared { shared -> Waiters? in
      guard shared.outcome == nil else { return nil }
      shared.outcome = .some(outcome)
      shared.trailers = trailers
      if keepsMessages {
        // What has come will be read.
        let (messages, compressed, isWhole) = shared.assembler.census
        if isWhole {
          shared.traffic.messagesReceived += messages
          shared.traffic.compressedReceived += compressed
          shared.traffic.bytesReceived += shared.assembler.buffered - messages * MessageAssembler.prefix
        }
      }
      if shared.leading == nil { shared.leading = Metadata() }
      if !keepsMessages { shared.credit += shared.assembler.discard() }
      shared.outbox = []
      defer {
        shared.messageWaiter = nil
        shared.leadingWaiter = nil
        shared.drainWaiter = nil
        shared.owner = nil
      }
      return Waiters(
        message: shared.messageWaiter, leading: shared.leadingWaiter, drain: shared.drainWaiter, traffic: shared.traffic,
        peer: shared.peer, owner: shared.owner)
    }
    guard let waiters else { return false }
    if let observer {
      observer.callEnded(outgoing.record(peer: waiters.peer, error: outcome, start: start, traffic: waiters.traffic))
    }
    waiters.leading?.resume()
    waiters.message?.resume()
    waiters.drain?.resume()
    waiters.owner?.ended(self, outcome)
    return true
  }

  /// Ends the call from this side: the caller learns at once, the server by a reset.
  func fail(_ error: RPCError) {
    guard settle(error, keepsMessages: false) else { return }
    if loop.isCurrent { abandonStream() } else { loop.execute { self.abandonStream() } }
  }

  /// Leaves the queue, or resets the stream if it was opened.
  func abandonStream() {
    if isOpen {
      reset(.cancel)
    } else if closeCode == nil {
      pool.forget(self)
      release()
    }
  }

  func cancel(_ code: RPCError.Code) {
    if hasEnded { return }
    fail(code == .deadlineExceeded ? .deadlineExceeded() : .cancelled())
  }

  // MARK: Events of the stream

  override func receivedHeaders() {
    response.readLeading(headers)
    if let error = response.refusal {
      // What follows is a proxy's page, not messages.
      fail(error)
      return
    }
    let encoding = response.encoding
    // A response that is over with its first block has no leading metadata: they are trailers.
    let leading = response.leadingStatus == nil ? response.metadata : nil
    let waiter = withShared { shared -> UnsafeContinuation<Void, Never>? in
      shared.encoding = encoding
      guard let leading else { return nil }
      shared.leading = leading
      defer { shared.leadingWaiter = nil }
      return shared.leadingWaiter
    }
    waiter?.resume()
    if leading != nil { withShared { $0.owner }?.answered(self) }
  }

  override func receivedData(_ bytes: UnsafeRawBufferPointer) {
    if !response.hasBody {
      response.hasBody = true
      if response.leadingStatus != nil { withShared { $0.owner }?.answered(self) }
    }
    var waiter: UnsafeContinuation<Void, Never>?
    var refusal: RPCError?
    let credit = withShared { shared -> Int in
      if case .some = shared.outcome { return bytes.count }
      // A status among the leading fields counts only when nothing follows it.
      if shared.leading == nil { shared.leading = response.metadata }
      do throws(RPCError) {
        let credit = try shared.assembler.append(bytes)
        if shared.awaitsEnd ? shared.assembler.hasMore : shared.assembler.hasMessage {
          waiter = shared.messageWaiter
          shared.messageWaiter = nil
        }
        return credit
      } catch {
        refusal = error
        return bytes.count
      }
    }
    consume(credit)
    waiter?.resume()
    if let refusal { fail(refusal) }
  }

  override func receivedTrailers() { response.readTrailers(headers) }

  override func receivedTooLargeHeaders() {
    fail(.resourceExhausted("the server's metadata is larger than \(pool.options.maxMetadataBytes) bytes"))
  }

  override func receivedEnd() {
    let isTruncated = withShared { !$0.assembler.census.isWhole }
    let (outcome, trailers) = response.outcome(isTruncated: isTruncated)
    settle(outcome, trailers: trailers, keepsMessages: true)
    // The server has said everything: what we still had to say interests nobody.
    if !isFinished { reset(.cancel) }
  }

  override func outputDrained() {
    let waiter = withShared { shared -> UnsafeContinuation<Void, Never>? in
      shared.outputBytes = output.count
      defer { shared.drainWaiter = nil }
      return shared.drainWaiter
    }
    waiter?.resume()
  }

  override func closed(_ code: HTTP2ErrorCode) {
    let connection = connection
    if !hasEnded {
      if let session = connection?.session {
        let isRefused = code == .refusedStream || session.goAway.map { id > $0.lastStream } ?? false
        let exposure: CallExposure = id > session.lastStreamSent ? .unsent : isRefused ? .unseen : .seen
        withShared { $0.exposure = exposure }
      }
      let error =
        connection?.explain(code, stream: id, deadline: outgoing.deadline)
        ?? ClientStatus.error(ofReset: code.rawValue, deadline: outgoing.deadline)
      settle(error, keepsMessages: false)
    }
    release()
    guard let connection else { return }
    if pinned != nil { connection.ownCalls -= 1 }
    pool.ended(on: connection)
  }
}

/// How far a call that failed had got.
enum CallExposure: Sendable, Hashable {
  /// Nothing of it left this process: it may be made again any number of times.
  case unsent
  /// It was sent, but the server says that nobody looked at it: it may be made again once as if for the first time.
  case unseen
  /// The server may have begun to act on it.
  case seen
}

/// How the messages of a response are encoded, by its `grpc-encoding`.
enum ResponseEncoding: Sendable, Hashable {
  case identity
  case compressed(Compression)
  case unknown(String)
}
