import CNghttp2

/// One stream of a session: whoever serves or calls over HTTP/2 subclasses it and is told what happens.
///
/// Events come on the session's thread, inside `receive` or `send` of the session: they may submit, reset and consume, but never call those
/// two. Output is queued in `output` and leaves when the session is next asked for bytes and the peer's windows allow.
open class HTTP2Stream {
  /// 0 before it is opened.
  public internal(set) final var id: Int32 = 0
  public internal(set) final var session: HTTP2Session?
  /// The fields of the header block last received.
  public final let headers = HTTP2Headers()
  /// The body on its way out. Call `outputChanged()` after appending.
  public final let output = ByteQueue()
  /// Tells `outputDrained` to be called, once, when the queue is at or below this.
  public final var drainMark: Int?

  /// Whether a leading HEADERS frame of ours was submitted.
  public internal(set) final var hasSentHeaders = false
  /// Whether no more output will come.
  public internal(set) final var isFinished = false
  /// nil while the stream is open.
  public internal(set) final var closeCode: HTTP2ErrorCode?
  /// Whether the peer has ended its side.
  public internal(set) final var hasReceivedEnd = false

  final var hasReceivedHeaders = false
  final var headersAreTooLarge = false
  final var isDeferred = false
  /// Bytes of DATA that were handed over and not consumed.
  final var unconsumed = 0
  /// The session's list of open streams; next is retained by the list.
  final var nextOpen: HTTP2Stream?
  unowned(unsafe) final var previousOpen: HTTP2Stream?

  public init() {}

  /// Readies the object for another stream. Subclasses that are reused call it after their own state is gone.
  public final func recycle() {
    precondition(session == nil, "only closed streams are reused")
    id = 0
    headers.removeAll()
    output.removeAll()
    drainMark = nil
    hasSentHeaders = false
    isFinished = false
    closeCode = nil
    hasReceivedEnd = false
    hasReceivedHeaders = false
    headersAreTooLarge = false
    isDeferred = false
    unconsumed = 0
  }

  // MARK: Events

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

  public final var isOpen: Bool { session != nil && closeCode == nil }

  /// Makes the session look at the queue.
  @inline(__always)
  public final func outputChanged() {
    guard let session, closeCode == nil else { return }
    if isDeferred {
      isDeferred = false
      nghttp2_session_resume_data(session.handle, id)
    }
    session.needsSend()
  }

  /// Says that no more output will come: trailers follow what is queued.
  @inline(__always)
  public final func finish() {
    isFinished = true
    outputChanged()
  }

  /// Says that bytes of the body are dealt with, so that the peer may send as many more.
  @inline(__always)
  public final func consume(_ count: Int) {
    guard let session, closeCode == nil, count > 0 else { return }
    let count = min(count, unconsumed)
    unconsumed -= count
    nghttp2_session_consume(session.handle, id, count)
    session.needsSend()
  }

  /// Ends the stream at once. `closed` follows when the frame is sent.
  public final func reset(_ code: HTTP2ErrorCode) {
    guard let session, closeCode == nil else { return }
    nghttp2_submit_rst_stream(session.handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, code.rawValue)
    session.needsSend()
  }
}
