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

/// What the headers of a request say, and why they may not do.
struct RequestHeaders: ~Copyable {
  enum Refusal {
    case none
    /// An answer of HTTP, to what is no gRPC.
    case plain(PlainAnswer)
    case status(RPCError, acceptsEncodings: Bool)
  }

  var route: MethodRoute?
  var metadata = Metadata()
  var deadline = Deadline.never
  var trace: TraceContext?
  var encoding = ServerStream.RequestEncoding.identity
  var responseCompression: Compression?

  /// The method is HEAD: whatever is answered has no body.
  private(set) var isHead = false
  private var isPost = false
  private var isHealth = false
  private var contentType = ContentType.other
  private var path: RPCError?
  private var timeoutIsBad = false
  private var unknownEncoding: String?
  private var traceState = ""

  init() {}

  /// Reads the stream's headers; says what is wrong with them.
  mutating func read(_ stream: ServerStream) -> Refusal {
    var method: UnsafeRawBufferPointer?
    metadata = Metadata.wire(pairs: stream.headers.count, bytes: stream.headers.byteCount) { metadata in
      readFields(stream, &method, metadata)
    }
    if trace != nil {
      trace!.state = traceState
      trace = trace!.child()
    }
    isPost = method.map { $0 == "POST" } ?? false
    isHead = method.map { $0 == "HEAD" } ?? false
    return refusal(isDraining: stream.home.isDraining)
  }

  private mutating func readFields(
    _ stream: ServerStream, _ method: inout UnsafeRawBufferPointer?, _ metadata: borrowing Metadata.WireRecords
  ) {
    stream.headers.forEach { name, value in
      switch name.first {
      case UInt8(ascii: ":"):
        // HTTP/2 has let only the four through, and none twice: their lengths tell them apart, and `m` from `s`.
        if name.count == 5 { findRoute(value, stream.home.router) } else if name.count == 7, name[1] == UInt8(ascii: "m") { method = value }
      case UInt8(ascii: "c") where name == "content-type": contentType = ContentType(value)
      case UInt8(ascii: "t") where name == "te": break
      case UInt8(ascii: "t") where name == "traceparent":
        trace = TraceContext(traceparentBytes: value)
        metadata.append(name: name, value: value)
      case UInt8(ascii: "t") where name == "tracestate":
        traceState = String(decoding: value, as: UTF8.self)
        metadata.append(name: name, value: value)
      case UInt8(ascii: "g") where name.count > 5 && UnsafeRawBufferPointer(rebasing: name[..<5]) == "grpc-":
        readProtocol(name, value, stream, metadata)
      default: metadata.append(name: name, value: value)
      }
    }
  }

  private func refusal(isDraining: Bool) -> Refusal {
    if isHealth, contentType != .grpc { return .plain(isDraining ? .draining : .healthy) }
    if !isPost { return .plain(route == nil ? .notFound : .methodNotAllowed) }
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
    return .none
  }

  private mutating func findRoute(_ value: UnsafeRawBufferPointer, _ router: ServerRouter) {
    route = router.route(of: value)
    if route != nil { return }
    if value == "/healthz" { isHealth = true }
    path = router.refusal(ofPath: String(decoding: value, as: UTF8.self))
  }

  private mutating func readProtocol(
    _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ stream: ServerStream, _ metadata: borrowing Metadata.WireRecords
  ) {
    if name == "grpc-timeout" {
      if let span = WireText.timeoutNanoseconds(value) {
        let (moment, overflow) = stream.loop.now.addingReportingOverflow(span)
        deadline = overflow ? .never : Deadline(nanoseconds: moment)
      } else {
        timeoutIsBad = true
      }
    } else if name == "grpc-encoding" {
      if value == "identity" { return }
      let text = String(decoding: value, as: UTF8.self)
      if let compression = Compression(rawValue: text) { encoding = .compressed(compression) } else { unknownEncoding = text }
    } else if name == "grpc-accept-encoding", let wanted = stream.home.server.configuration.compression {
      let accepted = String(decoding: value, as: UTF8.self).split(separator: ",").map { $0.filter { $0 != " " } }
      // The server's favourite, else whatever both know.
      responseCompression = accepted.contains(wanted.rawValue) ? wanted : accepted.lazy.compactMap(Compression.init(rawValue:)).first
    } else if name == "grpc-tags-bin" || name == "grpc-trace-bin" || name == "grpc-previous-rpc-attempts" {
      metadata.append(name: name, value: value)
    }
  }
}
