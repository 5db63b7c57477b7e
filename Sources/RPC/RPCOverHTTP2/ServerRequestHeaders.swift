import SpanwireHTTP2
import SpanwireRPC

/// What a server says to those who speak HTTP but not gRPC: browsers, load balancers, scanners.
enum PlainAnswer {
  /// To `/healthz`, by whichever method.
  case healthy
  /// The same while the server shuts down: balancers look elsewhere.
  case draining
  case notFound
  case methodNotAllowed
  case unsupportedMediaType

  var status: StaticString {
    switch self {
    case .healthy: "200"
    case .draining: "503"
    case .notFound: "404"
    case .methodNotAllowed: "405"
    case .unsupportedMediaType: "415"
    }
  }

  var body: StaticString {
    switch self {
    case .healthy: "ok\n"
    case .draining: "draining\n"
    case .notFound: "not found: this server speaks gRPC\n"
    case .methodNotAllowed: "method not allowed: gRPC calls are POST\n"
    case .unsupportedMediaType: "unsupported media type: gRPC calls are application/grpc\n"
    }
  }
}

/// What the headers of a request say, and why they may not do. Read field by field as they come; what may be metadata stays in the stream's
/// `headers`.
struct RequestHeaders: ~Copyable {
  enum Refusal {
    case none
    /// An answer of HTTP, to what is no gRPC.
    case plain(PlainAnswer)
    case status(RPCError, acceptsEncodings: Bool)
  }

  private(set) var deadline = Deadline.never
  /// The method is HEAD: whatever is answered has no body.
  private(set) var isHead = false
  private var isPost = false
  private var isHealth = false
  private var timeoutIsBad = false
  private var contentType = ContentType.other
  private var parent: TraceParent?
  // Rarely there.
  private var path: RPCError?
  private var unknownEncoding: String?
  private var traceState: String?

  /// Forgets what was read. What is rarely there is looked at before it is let go.
  mutating func reset() {
    deadline = .never
    isHead = false
    isPost = false
    isHealth = false
    timeoutIsBad = false
    contentType = .other
    parent = nil
    if path != nil { path = nil }
    if unknownEncoding != nil { unknownEncoding = nil }
    if traceState != nil { traceState = nil }
  }

  /// The call's span, if the client traces.
  var trace: TraceContext? { parent.map { TraceContext(below: $0, state: traceState ?? "") } }

  /// Reads a field of a stream; true if it is no metadata.
  @inline(__always)
  mutating func read(
    _ field: HTTP2FieldName, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ stream: ServerStream
  ) -> Bool {
    switch field {
    case .path:
      findRoute(value, stream)
      return true
    case .method:
      isPost = value == "POST"
      isHead = value == "HEAD"
      return true
    case .scheme, .authority, .te: return true
    case .other: break
    default: return false
    }
    switch name.count {
    case 12 where name == "content-type": contentType = ContentType(value)
    case 11 where name == "traceparent":
      parent = TraceParent(value)
      return false
    case 10 where name == "tracestate":
      traceState = String(decoding: value, as: UTF8.self)
      return false
    case 6... where UnsafeRawBufferPointer(rebasing: name[..<5]) == "grpc-": return readProtocol(name, value, stream)
    default: return false
    }
    return true
  }

  /// What is wrong with the headers, now that all are read.
  func refusal(_ stream: ServerStream) -> Refusal {
    if isPost, contentType == .grpc, path == nil, !timeoutIsBad, unknownEncoding == nil, stream.route != nil { return .none }
    if isHealth, contentType != .grpc { return .plain(stream.home.isDraining ? .draining : .healthy) }
    if !isPost { return .plain(stream.route == nil ? .notFound : .methodNotAllowed) }
    switch contentType {
    case .other: return .plain(.unsupportedMediaType)
    case .unknownCodec:
      return .status(.unimplemented("only application/grpc and application/grpc+proto are understood"), acceptsEncodings: false)
    case .grpc: break
    }
    if let path { return .status(path, acceptsEncodings: false) }
    if timeoutIsBad { return .status(.internal("grpc-timeout is malformed"), acceptsEncodings: false) }
    if let unknownEncoding {
      return .status(.unimplemented("grpc-encoding \(unknownEncoding) is not understood"), acceptsEncodings: true)
    }
    // A request without a path has come no further than HTTP/2.
    preconditionFailure("headers without a route were not refused")
  }

  private mutating func findRoute(_ value: UnsafeRawBufferPointer, _ stream: ServerStream) {
    stream.route = stream.home.router.route(of: value)
    if stream.route != nil { return }
    if value == "/healthz" { isHealth = true }
    path = stream.home.router.refusal(ofPath: String(decoding: value, as: UTF8.self))
  }

  private mutating func readProtocol(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ stream: ServerStream) -> Bool {
    if name == "grpc-timeout" {
      if let span = WireText.timeoutNanoseconds(value) {
        let (moment, overflow) = stream.loop.now.addingReportingOverflow(span)
        deadline = overflow ? .never : Deadline(nanoseconds: moment)
      } else {
        timeoutIsBad = true
      }
    } else if name == "grpc-encoding" {
      if value == "identity" { return true }
      let text = String(decoding: value, as: UTF8.self)
      if let compression = Compression(rawValue: text) {
        stream.requestEncoding = .compressed(compression)
      } else {
        unknownEncoding = text
      }
    } else if name == "grpc-accept-encoding", let wanted = stream.home.server.configuration.compression {
      let accepted = String(decoding: value, as: UTF8.self).split(separator: ",").map { $0.filter { $0 != " " } }
      // The server's favourite, else whatever both know.
      stream.responseCompression =
        accepted.contains(wanted.rawValue) ? wanted : accepted.lazy.compactMap(Compression.init(rawValue:)).first
    } else if name == "grpc-tags-bin" || name == "grpc-trace-bin" || name == "grpc-previous-rpc-attempts" {
      return false
    }
    return true
  }
}
