import CNghttp2

/// One stream of a session: whoever serves or calls over HTTP/2 subclasses it and is told what happens.
///
/// Events come on the session's thread, inside `receive` or `send` of the session: they may submit, reset and consume, but never call those
/// two. Output is queued in `output` and leaves when the session is next asked for bytes and the peer's windows allow.
open class HTTP2Stream {
  /// What changes. Behind a pointer, as in `ByteQueue`: several times a call and frame, a check for overlapping access would cost more than
  /// the access.
  @usableFromInline struct State {
    @usableFromInline var id: Int32 = 0
    /// The session outlives its open streams: it takes leave of each. Not counted, also not while it is called from here.
    @usableFromInline var session: Unmanaged<HTTP2Session>?
    @usableFromInline var drainMark: Int?
    @usableFromInline var hasSentHeaders = false
    @usableFromInline var isFinished = false
    @usableFromInline var closeCode: HTTP2ErrorCode?
    @usableFromInline var hasReceivedEnd = false
    /// The size of the block at hand as HTTP/2 counts it: name, value and 32 for each field.
    var headerListSize = 0
    var rules = MessageRules()
    /// The message broke the rules: the stream was reset, and what still comes of it goes nowhere.
    var isMalformed = false
    var isDeferred = false
    /// Bytes of DATA that were handed over and not consumed.
    var unconsumed = 0
    /// The session's list of open streams. It holds each once; the links count nothing.
    var nextOpen: Unmanaged<HTTP2Stream>?
    var previousOpen: Unmanaged<HTTP2Stream>?
  }

  @usableFromInline final let state: UnsafeMutablePointer<State>

  /// The fields of the header block last received.
  public final let headers = HTTP2Headers()
  /// The body on its way out. Call `outputChanged()` after appending.
  public final let output = ByteQueue()

  /// A stream that belongs to no session yet.
  public init() {
    state = .allocate(capacity: 1)
    state.initialize(to: State())
  }

  deinit {
    state.deinitialize(count: 1)
    state.deallocate()
  }

  /// 0 before it is opened.
  @inlinable public final var id: Int32 { state.pointee.id }
  /// nil before it is opened and after it was closed.
  @inlinable public final var session: HTTP2Session? { state.pointee.session?.takeUnretainedValue() }
  /// Tells `outputDrained` to be called, once, when the queue is at or below this.
  @inlinable public final var drainMark: Int? {
    get { state.pointee.drainMark }
    set { state.pointee.drainMark = newValue }
  }
  /// Whether a leading HEADERS frame of ours was submitted.
  @inlinable public final var hasSentHeaders: Bool { state.pointee.hasSentHeaders }
  /// Whether no more output will come.
  @inlinable public final var isFinished: Bool { state.pointee.isFinished }
  /// nil while the stream is open.
  @inlinable public final var closeCode: HTTP2ErrorCode? { state.pointee.closeCode }
  /// Whether the peer has ended its side.
  @inlinable public final var hasReceivedEnd: Bool { state.pointee.hasReceivedEnd }

  /// Readies the object for another stream. Subclasses that are reused call it after their own state is gone.
  public final func recycle() {
    precondition(state.pointee.session == nil, "only closed streams are reused")
    headers.removeAll()
    output.removeAll()
    state.pointee = State()
  }

  // MARK: Events

  /// A field of the request, checked, in its turn; true if it is dealt with and need not stand in `headers`. Servers only.
  ///
  /// The bytes are valid during the call. Only `receivedHeaders` says that the request is as it should be, and it may never come.
  open func receivedRequestField(_ field: HTTP2FieldName, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool { false }
  /// The leading fields have come: a request on a server, the final response on a client.
  open func receivedHeaders() {}
  /// Bytes of the body; `consume` gives the peer room for as many more.
  open func receivedData(_ bytes: UnsafeRawBufferPointer) {}
  /// Fields after the body; `receivedEnd` follows.
  open func receivedTrailers() {}
  /// The peer has ended its side.
  open func receivedEnd() {}
  /// The list was larger than the limit. A server has answered 431, a client has reset the stream.
  open func receivedTooLargeHeaders() {}
  /// The queue has fallen to `drainMark`.
  open func outputDrained() {}
  /// Everything queued has been framed and the stream is finished: adds the trailing fields, if any.
  open func addTrailers(to trailers: borrowing HTTP2Headers) {}
  /// The stream is over, by `noError` if both sides ended it. The last event.
  open func closed(_ code: HTTP2ErrorCode) {}

  // MARK: Actions

  /// Whether the stream is in a session and not closed.
  public final var isOpen: Bool { state.pointee.session != nil && closeCode == nil }

  /// Whether the peer's windows let nothing of the body leave: not its end either, nor trailers after it.
  public final var isStalled: Bool {
    guard let session, closeCode == nil else { return false }
    return nghttp2_session_get_stream_remote_window_size(session.handle, id) <= 0
      || nghttp2_session_get_remote_window_size(session.handle) <= 0
  }

  /// Makes the session look at the queue.
  @inline(__always)
  public final func outputChanged() {
    guard let session = state.pointee.session, closeCode == nil else { return }
    session._withUnsafeGuaranteedRef { session in
      if state.pointee.isDeferred {
        state.pointee.isDeferred = false
        nghttp2_session_resume_data(session.handle, id)
      }
      session.needsSend()
    }
  }

  /// Says that no more output will come: trailers follow what is queued.
  @inline(__always)
  public final func finish() {
    state.pointee.isFinished = true
    outputChanged()
  }

  /// Says that bytes of the body are dealt with, so that the peer may send as many more.
  @inline(__always)
  public final func consume(_ count: Int) {
    guard let session = state.pointee.session, closeCode == nil, count > 0 else { return }
    let count = min(count, state.pointee.unconsumed)
    state.pointee.unconsumed -= count
    session._withUnsafeGuaranteedRef { session in
      // A peer that has ended its side needs no room on the stream.
      if hasReceivedEnd { session.connectionCredit += count } else { nghttp2_session_consume(session.handle, id, count) }
      session.needsSend()
    }
  }

  /// Answers with these fields; unless they end the stream, the body is `output` and `finish()` ends it. Servers only.
  public final func respond(_ headers: borrowing HTTP2Headers, endsStream: Bool) {
    guard let session = state.pointee.session else { return }
    session._withUnsafeGuaranteedRef { $0.submitResponse(self, headers, endsStream: endsStream) }
  }

  /// Ends the stream at once. `closed` follows when the frame is sent.
  public final func reset(_ code: HTTP2ErrorCode) {
    guard let session, closeCode == nil else { return }
    nghttp2_submit_rst_stream(session.handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, code.rawValue)
    session.needsSend()
  }
}
