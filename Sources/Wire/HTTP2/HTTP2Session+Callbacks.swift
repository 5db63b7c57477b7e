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
    // Resets are counted by AbuseGuard, on both sides.
    nghttp2_option_set_stream_reset_rate_limit(options, UInt64(UInt32.max), UInt64(UInt32.max))

    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, user in
      session(user).beginHeaders(frame!)
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks) { _, frame, name, nameLength, value, valueLength, _, user in
      session(user).header(
        frame!, UnsafeRawBufferPointer(start: name, count: nameLength), UnsafeRawBufferPointer(start: value, count: valueLength))
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
      session(user).received(frame!)
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { handle, _, id, bytes, count, _ in
      if let stream = stream(handle, id) {
        stream.unconsumed += count
        stream.receivedData(UnsafeRawBufferPointer(start: bytes, count: count))
      } else {
        nghttp2_session_consume_connection(handle, count)
      }
      return 0
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { handle, id, code, user in
      if let stream = stream(handle, id) {
        nghttp2_session_set_stream_user_data(handle, id, nil)
        session(user).close(stream, HTTP2ErrorCode(rawValue: code))
      }
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, user in
      session(user).sent(frame!)
    }
    nghttp2_session_callbacks_set_send_data_callback(callbacks) { _, _, head, count, source, user in
      let session = session(user)
      guard let target = session.target, session.written + 9 + count <= session.capacity else { return NGHTTP2_ERR_WOULDBLOCK.rawValue }
      let stream = Unmanaged<HTTP2Stream>.fromOpaque(spanwire_data_source_pointer(source!)).takeUnretainedValue()
      memcpy(target + session.written, head!, 9)
      memcpy(target + session.written + 9, stream.output.front, count)
      session.written += 9 + count
      stream.output.removeFirst(count)
      if let mark = stream.drainMark, stream.output.count <= mark {
        stream.drainMark = nil
        stream.outputDrained()
      }
      return 0
    }
  }

  /// Says how much of a stream's output the next DATA frame takes; `send_data` then copies it straight to its place.
  static let readBody: nghttp2_data_source_read_callback = { _, _, _, room, flags, source, user in
    let stream = Unmanaged<HTTP2Stream>.fromOpaque(spanwire_data_source_pointer(source!)).takeUnretainedValue()
    let available = stream.output.count
    let count = min(room, available)
    if count == 0, !stream.isFinished {
      stream.isDeferred = true
      return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    }
    var result = NGHTTP2_DATA_FLAG_NO_COPY.rawValue
    if stream.isFinished, count == available {
      result |= NGHTTP2_DATA_FLAG_EOF.rawValue
      if session(user).submitTrailers(stream) { result |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue }
    }
    flags!.pointee |= result
    return count
  }
}

@inline(__always)
private func session(_ user: UnsafeMutableRawPointer?) -> HTTP2Session {
  Unmanaged<HTTP2Session>.fromOpaque(user!).takeUnretainedValue()
}

@inline(__always)
private func stream(_ handle: OpaquePointer?, _ id: Int32) -> HTTP2Stream? {
  guard let pointer = nghttp2_session_get_stream_user_data(handle, id) else { return nil }
  return Unmanaged<HTTP2Stream>.fromOpaque(pointer).takeUnretainedValue()
}

private let endStream = UInt8(NGHTTP2_FLAG_END_STREAM.rawValue)
private let acknowledgement = UInt8(NGHTTP2_FLAG_ACK.rawValue)

extension HTTP2Session {
  fileprivate func beginHeaders(_ frame: UnsafePointer<nghttp2_frame>) -> Int32 {
    let id = frame.pointee.hd.stream_id
    isInsideHeaders = true
    if role == .server, spanwire_headers_category(frame) == NGHTTP2_HCAT_REQUEST {
      acceptedStreams += 1
      let stream = delegate.openedStream()
      stream.id = id
      link(stream)
      nghttp2_session_set_stream_user_data(handle, id, Unmanaged.passUnretained(stream).toOpaque())
      return 0
    }
    if let stream = stream(handle, id) {
      stream.headers.removeAll()
      stream.headersAreTooLarge = false
    }
    return 0
  }

  fileprivate func header(
    _ frame: UnsafePointer<nghttp2_frame>, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer
  ) -> Int32 {
    guard let stream = stream(handle, frame.pointee.hd.stream_id) else { return 0 }
    let size = guardian.countHeader(name.count + value.count + 32, isFirst: stream.headers.isEmpty && !stream.headersAreTooLarge)
    if size > limits.maxHeaderListSize {
      // The block is decoded to its end all the same, for the sake of the table that both sides share.
      stream.headersAreTooLarge = true
      if size > limits.maxHeaderListSize * limits.headerBombFactor {
        terminate(.enhanceYourCalm, debug: "header list too large")
      }
      return 0
    }
    stream.headers.add(name: name, value: value)
    return 0
  }

  fileprivate func received(_ frame: UnsafePointer<nghttp2_frame>) -> Int32 {
    let head = frame.pointee.hd
    switch nghttp2_frame_type(rawValue: UInt32(head.type)) {
    case NGHTTP2_HEADERS:
      isInsideHeaders = false
      if let stream = stream(handle, head.stream_id) { receivedHeaders(stream, ends: head.flags & endStream != 0) }
    case NGHTTP2_DATA:
      if head.flags & endStream != 0 {
        if let stream = stream(handle, head.stream_id) { receivedEnd(stream) }
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
    case NGHTTP2_PING:
      if head.flags & acknowledgement != 0 {
        let bytes = UnsafeRawPointer(spanwire_ping_bytes(frame)!)
        received(pong: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)))
      } else if role == .server, !guardian.allowsPing() {
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
    return 0
  }

  private func receivedHeaders(_ stream: HTTP2Stream, ends: Bool) {
    if stream.headersAreTooLarge {
      if role == .server, !stream.hasSentHeaders {
        scratchHeaders.removeAll()
        scratchHeaders.add(":status", "431")
        submitResponse(stream, scratchHeaders, endsStream: true)
      } else {
        stream.reset(.enhanceYourCalm)
      }
      stream.receivedTooLargeHeaders()
      return
    }
    if stream.hasReceivedHeaders {
      stream.receivedTrailers()
    } else {
      // 1xx responses announce another; nobody here waits for them.
      if role == .client, isInformational(stream) { return }
      stream.hasReceivedHeaders = true
      stream.receivedHeaders()
    }
    if ends { receivedEnd(stream) }
  }

  private func isInformational(_ stream: HTTP2Stream) -> Bool {
    var isInformational = false
    stream.headers.forEach { name, value in
      if name == ":status", value.first == UInt8(ascii: "1") { isInformational = true }
    }
    return isInformational
  }

  private func receivedEnd(_ stream: HTTP2Stream) {
    guard !stream.hasReceivedEnd, stream.closeCode == nil else { return }
    stream.hasReceivedEnd = true
    if !stream.headersAreTooLarge { stream.receivedEnd() }
  }

  fileprivate func sent(_ frame: UnsafePointer<nghttp2_frame>) -> Int32 {
    let head = frame.pointee.hd
    switch nghttp2_frame_type(rawValue: UInt32(head.type)) {
    case NGHTTP2_HEADERS, NGHTTP2_DATA:
      guardian.sentSomething()
      // A server that has said everything before the client has: the client need not go on.
      if role == .server, head.flags & endStream != 0, nghttp2_session_get_stream_remote_close(handle, head.stream_id) == 0 {
        nghttp2_submit_rst_stream(
          handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), head.stream_id, HTTP2ErrorCode.noError.rawValue)
      }
    case NGHTTP2_RST_STREAM:
      if !guardian.allowsOwnReset(HTTP2ErrorCode(rawValue: spanwire_reset_code(frame))) {
        terminate(.enhanceYourCalm, debug: "too many resets provoked")
      }
    default:
      break
    }
    return 0
  }
}
