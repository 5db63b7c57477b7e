import SpanwireHTTP2
import SpanwireRPC

/// The fields of a request.
enum RequestHead {
  static let userAgent = "grpc-swift-spanwire/1.0"

  static func write(
    _ stream: ClientStream, target: ChannelTarget, isSecure: Bool, options: HTTP2ChannelOptions, into headers: borrowing HTTP2Headers
  ) {
    let call = stream.outgoing
    headers.add(":method", "POST")
    if isSecure { headers.add(":scheme", "https") } else { headers.add(":scheme", "http") }
    headers.add(":path", text: call.method.path)
    headers.add(":authority", text: options.authority ?? target.authority)
    headers.add("te", "trailers")
    headers.add("content-type", "application/grpc")
    headers.add("user-agent", text: options.userAgent.map { "\($0) \(userAgent)" } ?? userAgent)
    headers.add("grpc-accept-encoding", text: MessageCompression.accepted)
    if call.deadline != .never {
      let now = Deadline.now().nanoseconds
      let left = call.deadline.nanoseconds > now ? call.deadline.nanoseconds - now : 1
      headers.add("grpc-timeout", text: WireText.timeout(nanoseconds: left))
    }
    if stream.previousAttempts > 0 { headers.add("grpc-previous-rpc-attempts", text: String(stream.previousAttempts)) }
    if let compression = call.options.compression { headers.add("grpc-encoding", text: compression.rawValue) }
    if let trace = call.trace {
      headers.add("traceparent", text: trace.traceparent)
      if !trace.state.isEmpty { headers.add("tracestate", text: trace.state) }
    }
    headers.add(metadata: call.options.metadata)
  }
}
