import SpanwireHTTP2
import SpanwireRPC

/// The fields of a request: what is the same for all calls of a channel, made once, and what each adds.
struct RequestHead {
  static let userAgent = "grpc-swift-spanwire/1.0"

  private let authority: [UInt8]
  private let userAgent: [UInt8]
  private let isSecure: Bool

  init(_ target: ChannelTarget, isSecure: Bool, options: HTTP2ChannelOptions) {
    authority = Array((options.authority ?? target.authority).utf8)
    userAgent = Array((options.userAgent.map { "\($0) \(Self.userAgent)" } ?? Self.userAgent).utf8)
    self.isSecure = isSecure
  }

  func write(_ stream: ClientStream, into headers: borrowing HTTP2Headers) {
    let call = stream.outgoing
    headers.add(":method", "POST")
    if isSecure { headers.add(":scheme", "https") } else { headers.add(":scheme", "http") }
    headers.add(":path", text: call.method.path)
    authority.withUnsafeBytes { headers.add(":authority", value: $0) }
    headers.add("te", "trailers")
    headers.add("content-type", "application/grpc")
    userAgent.withUnsafeBytes { headers.add("user-agent", value: $0) }
    headers.add("grpc-accept-encoding", text: MessageCompression.accepted)
    if call.deadline != .never {
      let now = Deadline.now().nanoseconds
      let left = call.deadline.nanoseconds > now ? call.deadline.nanoseconds - now : 1
      WireText.withTimeout(nanoseconds: left) { headers.add("grpc-timeout", value: $0) }
    }
    if stream.previousAttempts > 0 { headers.add("grpc-previous-rpc-attempts", text: String(stream.previousAttempts)) }
    if let compression = call.options.compression { headers.add("grpc-encoding", text: compression.rawValue) }
    if let trace = call.trace {
      trace.withTraceparent { headers.add("traceparent", value: $0) }
      if !trace.state.isEmpty { headers.add("tracestate", text: trace.state) }
    }
    headers.add(metadata: call.options.metadata)
  }
}
