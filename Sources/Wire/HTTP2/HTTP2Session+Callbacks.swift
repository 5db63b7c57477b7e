import CNghttp2
import Glibc

/// What all sessions share: nghttp2's table of callbacks. Made once; nghttp2 only reads it.
final class SessionTables: @unchecked Sendable {
  // Sendable: immutable once made.
  static let shared = SessionTables()

  let callbacks: OpaquePointer
  let options: OpaquePointer

  private init() {
    var callbacks: OpaquePointer?
    nghttp2_session_callbacks_new(&callbacks)
    self.callbacks = callbacks!
    var options: OpaquePointer?
    nghttp2_option_new(&options)
    self.options = options!
    // Windows follow consumption, not receipt.
    nghttp2_option_set_no_auto_window_update(options, 1)
    // What messages must look like is checked by MessageRules.
    nghttp2_option_set_no_http_messaging(options, 1)
    // Resets are counted by AbuseGuard, on both sides.
    nghttp2_option_set_stream_reset_rate_limit(options, UInt64(UInt32.max), UInt64(UInt32.max))

    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) { _, head, user in
      if head!.pointee.type != UInt8(NGHTTP2_HEADERS.rawValue) { return 0 }
      session(user)._withUnsafeGuaranteedRef { $0.checkNumber(head!.pointee.stream_id) }
      return 0
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, user in
      session(user)._withUnsafeGuaranteedRef { $0.beginHeaders(frame!) }
    }
    nghttp2_session_callbacks_set_on_header_callback2(callbacks) { _, _, name, value, _, user in
      session(user)._withUnsafeGuaranteedRef { $0.header(name!, value!) }
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
      session(user)._withUnsafeGuaranteedRef { $0.received(frame!) }
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { handle, _, id, bytes, count, user in
      let isTaken = session(user)._withUnsafeGuaranteedRef { $0.received(UnsafeRawBufferPointer(start: bytes, count: count), on: id) }
      if !isTaken { nghttp2_session_consume_connection(handle, count) }
      return 0
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { handle, id, code, user in
      session(user)._withUnsafeGuaranteedRef { session in
        guard let stream = session.stream(id)?.takeUnretainedValue() else { return }
        nghttp2_session_set_stream_user_data(handle, id, nil)
        session.close(stream, HTTP2ErrorCode(rawValue: code))
      }
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, user in
      session(user)._withUnsafeGuaranteedRef { $0.sent(frame!) }
    }
    nghttp2_session_callbacks_set_send_data_callback(callbacks) { _, frame, _, count, source, user in
      session(user)._withUnsafeGuaranteedRef { session in
        guard let target = session.target, session.written + 9 + count <= session.capacity else {
          return NGHTTP2_ERR_WOULDBLOCK.rawValue
        }
        // The head that nghttp2 has packed may be gone since, when there was no room for the frame at first: its block is shared.
        spanwire_frame_head(frame!, target + session.written)
        let place = target + session.written + 9
        session.written += 9 + count
        Unmanaged<HTTP2Stream>.fromOpaque(spanwire_data_source_pointer(source!))._withUnsafeGuaranteedRef { stream in
          memcpy(place, stream.output.front, count)
          stream.output.removeFirst(count)
          if let mark = stream.drainMark, stream.output.count <= mark {
            stream.drainMark = nil
            stream.outputDrained()
          }
        }
        return 0
      }
    }
  }

  /// Says how much of a stream's output the next DATA frame takes; `send_data` then copies it straight to its place.
  static let readBody: nghttp2_data_source_read_callback = { _, _, _, room, flags, source, user in
    Unmanaged<HTTP2Stream>.fromOpaque(spanwire_data_source_pointer(source!))._withUnsafeGuaranteedRef { stream in
      let available = stream.output.count
      let count = min(room, available)
      if count == 0, !stream.isFinished {
        stream.state.pointee.isDeferred = true
        return Int(NGHTTP2_ERR_DEFERRED.rawValue)
      }
      var result = NGHTTP2_DATA_FLAG_NO_COPY.rawValue
      if stream.isFinished, count == available {
        result |= NGHTTP2_DATA_FLAG_EOF.rawValue
        if session(user)._withUnsafeGuaranteedRef({ $0.submitTrailers(stream) }) { result |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue }
      }
      flags!.pointee |= result
      return count
    }
  }
}

// The loop keeps both alive while nghttp2 calls: no reference is counted on the way.

@inline(__always)
private func session(_ user: UnsafeMutableRawPointer?) -> Unmanaged<HTTP2Session> {
  Unmanaged.fromOpaque(user!)
}

private let endStream = UInt8(NGHTTP2_FLAG_END_STREAM.rawValue)
private let acknowledgement = UInt8(NGHTTP2_FLAG_ACK.rawValue)

extension HTTP2Session {
  /// The open stream of a number. Frames of one stream often follow each other, and nghttp2 has to search.
  @inline(__always)
  fileprivate func stream(_ id: Int32) -> Unmanaged<HTTP2Stream>? {
    if let recentStream, recentID == id { return recentStream }
    guard let pointer = nghttp2_session_get_stream_user_data(handle, id) else { return nil }
    recentID = id
    recentStream = Unmanaged.fromOpaque(pointer)
    return recentStream
  }

  /// A client must not go back to a number that it left out (RFC 9113, 5.1.1). nghttp2 takes it for a stream that is closed, and is silent.
  @inline(__always)
  fileprivate func checkNumber(_ id: Int32) {
    if role == .client { return }
    if id == lastStream &+ 2 {
      lastStream = id
    } else if id > lastStream {
      if skippedStreams.count < HTTP2Limits.rememberedGaps, lastStream &+ 2 < id { skippedStreams.append(lastStream &+ 1..<id) }
      lastStream = id
    } else if !skippedStreams.isEmpty, skippedStreams.contains(where: { $0.contains(id) }) {
      terminate(.protocolError, debug: "a stream was opened out of order")
    }
  }

  fileprivate func beginHeaders(_ frame: UnsafePointer<nghttp2_frame>) -> Int32 {
    let id = frame.pointee.hd.stream_id
    isInsideHeaders = true
    fieldPlace = 0
    if role == .server, spanwire_headers_category(frame) == NGHTTP2_HCAT_REQUEST {
      acceptedStreams += 1
      let stream = delegate.openedStream()
      stream.state.pointee.id = id
      link(stream)
      nghttp2_session_set_stream_user_data(handle, id, Unmanaged.passUnretained(stream).toOpaque())
      openHeaders = .passUnretained(stream)
      recentID = id
      recentStream = openHeaders
      return 0
    }
    openHeaders = stream(id)
    openHeaders?._withUnsafeGuaranteedRef { stream in
      if stream.state.pointee.rules.hasHead { fieldPlace = FieldMemo.trailers }
      stream.headers.removeAll()
      stream.state.pointee.headerListSize = 0
    }
    return 0
  }

  @inline(__always)
  fileprivate func header(_ name: OpaquePointer, _ value: OpaquePointer) -> Int32 {
    guard let openHeaders else { return 0 }
    return openHeaders._withUnsafeGuaranteedRef { stream in
      let state = stream.state
      if state.pointee.isMalformed { return verdict }
      let place = fieldPlace
      fieldPlace = place &+ 1
      guard let field = memo.field(at: place, name, value), state.pointee.rules.allows(field.pointee.rule) else {
        refuse(stream)
        return 0
      }
      let (name, value) = (field.pointee.name, field.pointee.value)
      state.pointee.headerListSize &+= name.count &+ value.count &+ 32
      if state.pointee.headerListSize > limits.maxHeaderListSize { return skip(state.pointee.headerListSize) }
      if role == .server, !state.pointee.rules.hasHead, stream.receivedRequestField(field.pointee.rule.field, name, value) { return 0 }
      stream.headers.add(name: name, value: value)
      return 0
    }
  }

  /// A list that is too large is decoded to its end all the same, for the sake of the table that both sides share.
  @inline(never)
  private func skip(_ size: Int) -> Int32 {
    if size > limits.maxHeaderListSize * limits.headerBombFactor { terminate(.enhanceYourCalm, debug: "header list too large") }
    return verdict
  }

  /// Ends the stream of a message that breaks the rules.
  @inline(never)
  private func refuse(_ stream: HTTP2Stream) {
    stream.state.pointee.isMalformed = true
    stream.reset(.protocolError)
  }

  /// Hands bytes of a body to their stream; false if nobody will consume them.
  @inline(__always)
  fileprivate func received(_ bytes: UnsafeRawBufferPointer, on id: Int32) -> Bool {
    guard let stream = stream(id) else { return false }
    return stream._withUnsafeGuaranteedRef { stream in
      let state = stream.state
      if state.pointee.isMalformed { return false }
      if !state.pointee.rules.allows(bytes: bytes.count) {
        refuse(stream)
        return false
      }
      state.pointee.unconsumed += bytes.count
      stream.receivedData(bytes)
      return true
    }
  }

  /// Nothing more of a client that was sent away is worth reading: what it has already sent may be a million frames.
  private var verdict: Int32 { isCondemned ? NGHTTP2_ERR_CALLBACK_FAILURE.rawValue : 0 }

  fileprivate func received(_ frame: UnsafePointer<nghttp2_frame>) -> Int32 {
    let head = frame.pointee.hd
    switch nghttp2_frame_type(rawValue: UInt32(head.type)) {
    case NGHTTP2_HEADERS:
      isInsideHeaders = false
      openHeaders = nil
      stream(head.stream_id)?._withUnsafeGuaranteedRef { receivedHeaders($0, ends: head.flags & endStream != 0) }
    case NGHTTP2_DATA:
      if head.flags & endStream != 0 {
        stream(head.stream_id)?._withUnsafeGuaranteedRef { receivedEnd($0) }
      } else if head.length == 0, !guardian.allowsIdleFrame() {
        terminate(.enhanceYourCalm, debug: "too many empty frames")
      }
    case NGHTTP2_SETTINGS:
      if head.flags & acknowledgement == 0 {
        if !guardian.allowsIdleFrame() { terminate(.enhanceYourCalm, debug: "too many settings") }
        delegate.receivedSettings()
      }
    case NGHTTP2_PRIORITY:
      if !guardian.allowsIdleFrame() { terminate(.enhanceYourCalm, debug: "too many priorities") }
    case NGHTTP2_WINDOW_UPDATE:
      if role == .server, !guardian.allowsWindowUpdate() { terminate(.enhanceYourCalm, debug: "too many window updates") }
    case NGHTTP2_PING:
      if head.flags & acknowledgement != 0 {
        let bytes = UnsafeRawPointer(spanwire_ping_bytes(frame)!)
        received(pong: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)))
      } else if role == .server, !guardian.allowsPing(isIdle: openStreams == 0) {
        terminate(.enhanceYourCalm, debug: "too_many_pings")
      }
    case NGHTTP2_RST_STREAM:
      if !guardian.allowsReset() { terminate(.enhanceYourCalm, debug: "too many resets") }
    case NGHTTP2_GOAWAY:
      let code = HTTP2ErrorCode(rawValue: spanwire_goaway_code(frame))
      goAway = (spanwire_goaway_last_stream(frame), code)
      delegate.receivedGoAway(lastStream: spanwire_goaway_last_stream(frame), code: code)
    default:
      break
    }
    return verdict
  }

  private func receivedHeaders(_ stream: HTTP2Stream, ends: Bool) {
    let state = stream.state
    if state.pointee.isMalformed { return }
    let isTrailer = state.pointee.rules.hasHead
    if !state.pointee.rules.allowsEndOfBlock(in: role == .server ? .request : .response, endsStream: ends) {
      return refuse(stream)
    }
    if state.pointee.headerListSize > limits.maxHeaderListSize { return refuseTooLarge(stream) }
    if isTrailer {
      stream.receivedTrailers()
    } else {
      // 1xx responses announce another; nobody here waits for them.
      if role == .client, state.pointee.rules.awaitsFinalResponse { return }
      stream.receivedHeaders()
    }
    if ends { end(stream) }
  }

  @inline(never)
  private func refuseTooLarge(_ stream: HTTP2Stream) {
    if role == .server, !stream.hasSentHeaders {
      scratchHeaders.removeAll()
      scratchHeaders.add(":status", "431")
      submitResponse(stream, scratchHeaders, endsStream: true)
    } else {
      stream.reset(.enhanceYourCalm)
    }
    stream.receivedTooLargeHeaders()
  }

  private func receivedEnd(_ stream: HTTP2Stream) {
    if stream.state.pointee.isMalformed { return }
    if !stream.state.pointee.rules.allowsEnd { return refuse(stream) }
    end(stream)
  }

  private func end(_ stream: HTTP2Stream) {
    let state = stream.state
    guard !state.pointee.hasReceivedEnd, state.pointee.closeCode == nil else { return }
    state.pointee.hasReceivedEnd = true
    endedByPeer += 1
    if state.pointee.headerListSize <= limits.maxHeaderListSize { stream.receivedEnd() }
  }

  fileprivate func sent(_ frame: UnsafePointer<nghttp2_frame>) -> Int32 {
    let head = frame.pointee.hd
    switch nghttp2_frame_type(rawValue: UInt32(head.type)) {
    case NGHTTP2_HEADERS, NGHTTP2_DATA:
      guardian.sentSomething()
      if role == .client, head.stream_id > lastStreamSent { lastStreamSent = head.stream_id }
      // A server that has said everything before the client has: the client need not go on.
      if role == .server, head.flags & endStream != 0, endedByPeer < openStreams,
        nghttp2_session_get_stream_remote_close(handle, head.stream_id) == 0
      {
        nghttp2_submit_rst_stream(
          handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), head.stream_id, HTTP2ErrorCode.noError.rawValue)
      }
    case NGHTTP2_RST_STREAM:
      if !guardian.allowsOwnReset(HTTP2ErrorCode(rawValue: spanwire_reset_code(frame))) {
        terminate(.enhanceYourCalm, debug: "too many resets provoked")
      }
    case NGHTTP2_GOAWAY: sentGoAway()
    default:
      break
    }
    return 0
  }
}
