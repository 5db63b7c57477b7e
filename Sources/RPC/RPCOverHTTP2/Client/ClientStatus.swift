import SpanwireRPC

/// How the ends of an HTTP/2 stream that carry no `grpc-status` become one.
enum ClientStatus {
  /// A response whose HTTP status is not 200 and that has no gRPC status: it came from a proxy or from something that is no gRPC server.
  static func code(ofHTTPStatus status: Int) -> RPCError.Code {
    switch status {
    case 400: .internal
    case 401: .unauthenticated
    case 403: .permissionDenied
    case 404: .unimplemented
    case 429, 502, 503, 504: .unavailable
    default: .unknown
    }
  }

  /// A stream that the server reset.
  static func code(ofReset code: UInt32) -> RPCError.Code {
    switch code {
    case 0x7: .unavailable  // REFUSED_STREAM: nobody looked at the call
    case 0x8: .cancelled
    case 0xB: .resourceExhausted  // ENHANCE_YOUR_CALM
    case 0xC: .permissionDenied  // INADEQUATE_SECURITY
    case 0x0, 0x1, 0x2, 0x3, 0x4, 0x6, 0x9, 0xA: .internal
    default: .unknown
    }
  }

  static func error(ofHTTPStatus status: Int) -> RPCError {
    RPCError(code(ofHTTPStatus: status), "HTTP status \(status) without a gRPC status")
  }

  /// A server whose clock is ahead may say of a deadline that the call was cancelled.
  static func error(ofReset code: UInt32, deadline: Deadline) -> RPCError {
    let status = Self.code(ofReset: code)
    if status == .cancelled, deadline != .never, deadline.hasPassed { return .deadlineExceeded() }
    return RPCError(status, "the server reset the stream with HTTP/2 error \(code)")
  }

  /// What `grpc-status` and its companions say; nil inside for OK, nil when there is none.
  static func outcome(status: Int?, message: String, trailers: Metadata) -> RPCError?? {
    guard let status else { return nil }
    if status == 0 { return .some(nil) }
    // Codes that gRPC may add one day are UNKNOWN to us, with whatever else came.
    let code = (1...16).contains(status) ? RPCError.Code(rawValue: UInt8(status))! : .unknown
    var error = RPCError(code, message, trailers: trailers)
    error.takeDetails()
    return error
  }
}
