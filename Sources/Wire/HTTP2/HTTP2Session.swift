import CNghttp2
import Glibc

/// What a session needs of its connection. Called on the session's thread.
public protocol HTTP2SessionDelegate: AnyObject {
  /// A peer opens a stream: gives the object that will serve it. Servers only.
  func openedStream() -> HTTP2Stream
  /// There is something to send where there was nothing.
  func sessionNeedsSend()
  /// The peer's settings have come: it speaks HTTP/2, and its limits are known.
  func receivedSettings()
  /// The peer takes no stream above this one any more.
  func receivedGoAway(lastStream: Int32, code: HTTP2ErrorCode)
  /// A ping of ours was answered.
  func receivedPong(_ payload: UInt64)
}

/// HTTP/2 without a socket: bytes in, events and bytes out.
///
/// Frames, HPACK and flow control are nghttp2's; the accounting against abuse is ours (`HTTP2Limits`). Windows open only as bodies are
/// consumed. Belongs to one thread. Neither `receive` nor `send` may be called from inside an event.
public final class HTTP2Session {
  /// Which end of the connection this is.
  public enum Role: Sendable { case client, server }

  // `@exclusivity(unchecked)`: touched several times a frame, by one thread, and never through `inout` across a callback.

  /// Which end of the connection this is.
  public let role: Role
  /// What the peer may ask.
  public let limits: HTTP2Limits
  /// Who learns what arrives; it must outlive the session.
  public unowned(unsafe) let delegate: any HTTP2SessionDelegate
  /// Streams open now.
  @exclusivity(unchecked) public internal(set) var openStreams = 0
  /// What the peer's GOAWAY said, if one came.
  @exclusivity(unchecked) public internal(set) var goAway: (lastStream: Int32, code: HTTP2ErrorCode)?
  /// The highest stream of ours whose request has left for the peer. Clients only.
  @exclusivity(unchecked) public internal(set) var lastStreamSent: Int32 = 0
  /// Streams of the peer's that we began to serve, ever.
  @exclusivity(unchecked) public internal(set) var acceptedStreams = 0
  /// Streams that both sides ended, ever, and those that were reset.
  @exclusivity(unchecked) public private(set) var streamsEnded = 0
  /// Streams that ended with an error code of either side.
  @exclusivity(unchecked) public private(set) var streamsBroken = 0

  /// Whether a header block of the peer's has begun and not ended.
  @exclusivity(unchecked) public internal(set) var isInsideHeaders = false

  /// Whether the peer has lately made us do so much without using us that others should not wait for it any longer than they must.
  public var isStrained: Bool { guardian.isStrained }

  /// Whether the connection was ended with an error: what still comes is not looked at.
  @exclusivity(unchecked) private(set) var isCondemned = false

  /// The highest stream that a client has opened; -1 before the first.
  @exclusivity(unchecked) var lastStream: Int32 = -1
  /// Numbers that it left out.
  var skippedStreams: [Range<Int32>] = []

  @exclusivity(unchecked) var handle: OpaquePointer!
  private let memory: UnsafeMutablePointer<SessionMemory>
  /// Whose header block is being received: blocks never interleave.
  @exclusivity(unchecked) var openHeaders: Unmanaged<HTTP2Stream>?
  /// How many fields of it have come.
  @exclusivity(unchecked) var fieldPlace = 0
  @exclusivity(unchecked) var memo: FieldMemo
  @exclusivity(unchecked) var firstOpen: Unmanaged<HTTP2Stream>?
  @exclusivity(unchecked) var guardian: AbuseGuard
  /// The open stream that was last looked up.
  @exclusivity(unchecked) var recentStream: Unmanaged<HTTP2Stream>?
  @exclusivity(unchecked) var recentID: Int32 = 0
  /// Open streams whose peer has ended its side.
  @exclusivity(unchecked) var endedByPeer = 0
  /// Bytes that streams which expect no more have dealt with: room for others on the connection, given at the next `send`.
  @exclusivity(unchecked) var connectionCredit = 0
  let scratchHeaders = HTTP2Headers()
  @exclusivity(unchecked) private var fields: UnsafeMutablePointer<nghttp2_nv>
  @exclusivity(unchecked) private var fieldCapacity = 8
  @exclusivity(unchecked) private var isBusy = false
  @exclusivity(unchecked) private var sendIsAsked = false
  @exclusivity(unchecked) private var shutdown = Shutdown.none

  // While bytes are being written out.
  @exclusivity(unchecked) var target: UnsafeMutableRawPointer?
  @exclusivity(unchecked) var written = 0
  @exclusivity(unchecked) var capacity = 0

  private enum Shutdown { case none, announced, final }

  /// The least room `send` can work with: one frame with its head, and nghttp2's own block.
  public static let leastSendCapacity = 64 * 1024
  private static let sendMargin = 20 * 1024
  /// The payload of the ping whose answer ends the first phase of a shutdown.
  private static let shutdownPing: UInt64 = 0x7370_616e_7769_7265

  /// A session that has sent nothing; its preface and settings go with the first output. `memory` is what it shares with the other sessions
  /// of its thread.
  public init(
    _ role: Role, limits: HTTP2Limits = HTTP2Limits(), memory: HTTP2Memory = HTTP2Memory(), delegate: any HTTP2SessionDelegate
  ) {
    self.role = role
    self.limits = limits
    self.delegate = delegate
    guardian = AbuseGuard(limits)
    memo = FieldMemo(role == .server ? .request : .response)
    fields = .allocate(capacity: fieldCapacity)
    self.memory = SessionMemory.make(memory, sharesFrame: role == .server)
    let itself = Unmanaged.passUnretained(self).toOpaque()
    let shared = SessionTables.shared
    var allocator = SessionMemory.allocator(self.memory)
    let result =
      role == .server
      ? nghttp2_session_server_new3(&handle, shared.callbacks, itself, shared.options, &allocator)
      : nghttp2_session_client_new3(&handle, shared.callbacks, itself, shared.options, &allocator)
    precondition(result == 0, "no memory for a session")
    var settings = [
      nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: UInt32(limits.streamWindow)),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE.rawValue), value: UInt32(clamping: limits.maxHeaderListSize)),
      role == .server
        ? nghttp2_settings_entry(
          settings_id: Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue), value: limits.maxConcurrentStreams)
        : nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0),
    ]
    nghttp2_submit_settings(handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), &settings, settings.count)
    nghttp2_session_set_local_window_size(handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, limits.connectionWindow)
  }

  deinit {
    // `abandon` takes leave of the streams; what is open all the same is let go without a word.
    while let stream = firstOpen {
      firstOpen = stream._withUnsafeGuaranteedRef { stream in
        stream.state.pointee.session = nil
        return stream.state.pointee.nextOpen
      }
      stream.release()
    }
    nghttp2_session_del(handle)
    memo.release()
    SessionMemory.destroy(memory)
    fields.deallocate()
  }

  // MARK: Bytes

  /// Takes bytes of the connection, at a moment of the monotonic clock in nanoseconds.
  ///
  /// Throws when the connection is beyond repair; what `send` then gives (a GOAWAY) should still go out.
  public func receive(_ bytes: UnsafeRawBufferPointer, now: UInt64) throws(HTTP2Error) {
    precondition(!isBusy, "receive and send are not for callbacks")
    if isCondemned { return }
    isBusy = true
    defer { isBusy = false }
    guardian.now = now
    let count = nghttp2_session_mem_recv(handle, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
    needsSend()
    if count < 0, !isCondemned {
      let error = HTTP2Error(code: count)
      // Whatever nghttp2 cuts off by itself is a flood; it leaves the word about it to us.
      if !error.isBadPreface { terminate(.enhanceYourCalm, debug: "too many frames") }
      throw error
    }
  }

  /// Writes bytes for the connection into a buffer of at least `leastSendCapacity`; 0 when there are none for now.
  public func send(into buffer: UnsafeMutableRawBufferPointer) throws(HTTP2Error) -> Int {
    precondition(!isBusy, "receive and send are not for callbacks")
    precondition(buffer.count >= Self.leastSendCapacity)
    isBusy = true
    defer { isBusy = false }
    target = buffer.baseAddress
    capacity = buffer.count
    written = 0
    sendIsAsked = false
    if connectionCredit > 0 {
      nghttp2_session_consume_connection(handle, connectionCredit)
      connectionCredit = 0
    }
    while capacity - written >= Self.sendMargin {
      var block: UnsafePointer<UInt8>?
      let before = written
      let count = nghttp2_session_mem_send(handle, &block)  // DATA is written to the target by its own callback
      if count < 0 { throw HTTP2Error(code: count) }
      if count == 0, written == before { break }
      if count > 0 {
        (target! + written).copyMemory(from: block!, byteCount: count)
        written += count
      }
    }
    target = nil
    return written
  }

  /// Whether the session wants nothing more: the connection can be closed once all bytes are out.
  public var isOver: Bool { nghttp2_session_want_read(handle) == 0 && nghttp2_session_want_write(handle) == 0 }

  /// Asks the delegate to send, once until it does.
  @inline(__always)
  public func needsSend() {
    if sendIsAsked { return }
    sendIsAsked = true
    delegate.sessionNeedsSend()
  }

  // MARK: Requests and responses

  /// Sends a request's fields; the body, if one follows, is the stream's output. Clients only.
  ///
  /// Throws when no stream can be opened on this connection any more.
  public func submitRequest(_ stream: HTTP2Stream, _ headers: borrowing HTTP2Headers, hasBody: Bool) throws(HTTP2Error) {
    precondition(stream.state.pointee.session == nil)
    if goAway != nil || shutdown != .none { throw HTTP2Error(code: NGHTTP2_ERR_START_STREAM_NOT_ALLOWED.rawValue) }
    let count = fill(headers)
    let pointer = Unmanaged.passUnretained(stream).toOpaque()
    var provider = spanwire_data_provider(pointer, SessionTables.readBody)
    let id =
      hasBody
      ? nghttp2_submit_request(handle, nil, fields, count, &provider, pointer)
      : nghttp2_submit_request(handle, nil, fields, count, nil, pointer)
    if id < 0 { throw HTTP2Error(code: id) }
    stream.state.pointee.id = id
    stream.state.pointee.hasSentHeaders = true
    if !hasBody { stream.state.pointee.isFinished = true }
    link(stream)
    needsSend()
  }

  /// Sends a response's fields; unless they end the stream, the body is the stream's output and `finish()` ends it. Servers only.
  public func submitResponse(_ stream: HTTP2Stream, _ headers: borrowing HTTP2Headers, endsStream: Bool) {
    guard stream.closeCode == nil, !stream.hasSentHeaders else { return }
    stream.state.pointee.hasSentHeaders = true
    let count = fill(headers)
    if endsStream {
      stream.state.pointee.isFinished = true
      nghttp2_submit_response(handle, stream.id, fields, count, nil)
    } else {
      var provider = spanwire_data_provider(Unmanaged.passUnretained(stream).toOpaque(), SessionTables.readBody)
      nghttp2_submit_response(handle, stream.id, fields, count, &provider)
    }
    needsSend()
  }

  func submitTrailers(_ stream: HTTP2Stream) -> Bool {
    scratchHeaders.removeAll()
    stream.addTrailers(to: scratchHeaders)
    if scratchHeaders.isEmpty { return false }
    let count = fill(scratchHeaders)
    return nghttp2_submit_trailer(handle, stream.id, fields, count) == 0
  }

  /// The array lives only for a call: nghttp2 copies names and values unless they last, and the array itself.
  private func fill(_ headers: borrowing HTTP2Headers) -> Int {
    if headers.count > fieldCapacity {
      fields.deallocate()
      fieldCapacity = headers.count * 2
      fields = .allocate(capacity: fieldCapacity)
    }
    let flags =
      headers.isLasting
      ? NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue : NGHTTP2_NV_FLAG_NONE.rawValue
    var next = fields
    headers.forEach { name, value in
      next.initialize(
        to: nghttp2_nv(
          name: UnsafeMutablePointer(mutating: name.baseAddress!.assumingMemoryBound(to: UInt8.self)),
          value: UnsafeMutablePointer(mutating: (value.baseAddress ?? name.baseAddress!).assumingMemoryBound(to: UInt8.self)),
          namelen: name.count, valuelen: value.count, flags: UInt8(truncatingIfNeeded: flags)))
      next += 1
    }
    return headers.count
  }

  // MARK: The connection

  /// Streams that the peer lets us have open at a time.
  public var remoteMaxConcurrentStreams: Int {
    Int(nghttp2_session_get_remote_settings(handle, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
  }

  /// Streams that this end has opened, ever. Clients only.
  public var requestedStreams: Int { max(0, (Int(nghttp2_session_get_next_stream_id(handle)) - 1) / 2) }

  /// What may be sent, and what the peer may send, over all streams.
  public var sendWindow: Int { Int(nghttp2_session_get_remote_window_size(handle)) }
  /// Bytes that the peer may still send over all streams.
  public var receiveWindow: Int { Int(nghttp2_session_get_local_window_size(handle)) }

  /// Visits the streams that are open now, the youngest first.
  public func forEachOpenStream(_ body: (HTTP2Stream) -> Void) {
    var next = firstOpen
    while let stream = next?.takeUnretainedValue() {
      body(stream)
      next = stream.state.pointee.nextOpen
    }
  }

  /// Asks the peer for a sign of life; the answer bears the same payload.
  public func ping(_ payload: UInt64) {
    withUnsafeBytes(of: payload.bigEndian) {
      _ = nghttp2_submit_ping(handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), $0.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
    needsSend()
  }

  /// Says that no new streams are wanted, in two steps: a notice, a round trip for what is on its way, then the final word.
  public func shutDown() {
    guard shutdown == .none else { return }
    shutdown = .announced
    if role == .server {
      nghttp2_submit_shutdown_notice(handle)  // the ping follows when this is out: pings overtake
    } else {
      finishShutdown()
    }
    needsSend()
  }

  /// The final GOAWAY; open streams go on to their end.
  public func finishShutdown() {
    guard shutdown != .final else { return }
    shutdown = .final
    nghttp2_submit_goaway(
      handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), nghttp2_session_get_last_proc_stream_id(handle), HTTP2ErrorCode.noError.rawValue, nil, 0)
    needsSend()
  }

  /// Ends the connection with an error, dropping its streams: `isOver` once the GOAWAY is out.
  public func terminate(_ code: HTTP2ErrorCode, debug: StaticString = "") {
    if isCondemned { return }
    isCondemned = true
    shutdown = .final
    nghttp2_submit_goaway(
      handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), nghttp2_session_get_last_proc_stream_id(handle), code.rawValue,
      debug.utf8Start, debug.utf8CodeUnitCount)
    nghttp2_session_terminate_session(handle, code.rawValue)
    needsSend()
  }

  /// Tells every open stream that the connection is gone. nghttp2 does not when its session is deleted.
  public func abandon(_ code: HTTP2ErrorCode) {
    while let stream = firstOpen { close(stream.takeUnretainedValue(), code) }
  }

  func sentGoAway() {
    if role == .server, shutdown == .announced { ping(Self.shutdownPing) }
  }

  func received(pong payload: UInt64) {
    if payload == Self.shutdownPing, shutdown == .announced { finishShutdown() } else { delegate.receivedPong(payload) }
  }

  // MARK: Open streams

  func link(_ stream: HTTP2Stream) {
    let link = Unmanaged.passRetained(stream)
    stream.state.pointee.session = .passUnretained(self)
    stream.state.pointee.previousOpen = nil
    stream.state.pointee.nextOpen = firstOpen
    firstOpen?._withUnsafeGuaranteedRef { $0.state.pointee.previousOpen = link }
    firstOpen = link
    openStreams += 1
  }

  func close(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
    let (next, previous) = (stream.state.pointee.nextOpen, stream.state.pointee.previousOpen)
    next?._withUnsafeGuaranteedRef { $0.state.pointee.previousOpen = previous }
    if let previous { previous._withUnsafeGuaranteedRef { $0.state.pointee.nextOpen = next } } else { firstOpen = next }
    stream.state.pointee.nextOpen = nil
    stream.state.pointee.previousOpen = nil
    openStreams -= 1
    recentStream = nil
    if stream.state.pointee.hasReceivedEnd { endedByPeer -= 1 }
    if code == .noError { streamsEnded &+= 1 } else { streamsBroken &+= 1 }
    stream.state.pointee.closeCode = code
    // Others' blocks go on: between two parts of one, any stream may close.
    if openHeaders?.toOpaque() == Unmanaged.passUnretained(stream).toOpaque() { openHeaders = nil }
    // What nobody took any more still counts against the window of the connection.
    if stream.state.pointee.unconsumed > 0 {
      connectionCredit += stream.state.pointee.unconsumed
      stream.state.pointee.unconsumed = 0
      needsSend()
    }
    stream.closed(code)
    stream.state.pointee.session = nil
    Unmanaged.passUnretained(stream).release()
  }
}
