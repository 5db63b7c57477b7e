import SpanwireProtobuf
import SpanwireRPC
import SpanwireWellKnown

/// An echo that does what the request's text says, so that a peer in any language can provoke any outcome.
///
/// `fail CODE message`, `detail CODE`, `crash`, `wait` (until the call is cancelled), `remaining`, `whoami`, `trace`, `size N`; anything else comes back.
/// Metadata that begins with `x-` comes back as leading metadata, and as trailers under `t-`.
public struct ObedientEcho: EchoService {
  /// What handlers noticed: `wait: begun`, `wait: cancelled`, `chat: ended`.
  public let log: Log
  /// Where `nested TEXT` calls on to.
  private let next: @Sendable () -> EchoClient?

  public init(log: Log = Log(), next: @escaping @Sendable () -> EchoClient? = { nil }) {
    self.log = log
    self.next = next
  }

  struct Secret: Error { let password = "hunter2" }

  public func get(_ request: Text, context: ServerContext) async throws -> Text {
    reflectMetadata(context)
    return Text(value: try await answer(request.value, context))
  }

  private func answer(_ text: String, _ context: ServerContext) async throws -> String {
    let words = text.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
    switch words[0] {
    case "fail":
      throw RPCError(
        RPCError.Code(name: words[1])!, words.count > 2 ? words[2] : "", trailers: ["x-why": "asked"])
    case "detail":
      throw RPCError(RPCError.Code(name: words[1])!, "with details").reason("ASKED", domain: "spanwire.test", metadata: ["a": "b"])
    case "crash": throw Secret()
    case "wait":
      try await waitForCancellation(context, "wait")
      return "never"
    case "remaining":
      return context.remaining.map { "\($0.components.seconds)" } ?? "none"
    case "whoami": return "\(context.principal)"
    case "trace": return context.trace.map { "\($0.traceID) \($0.parentSpanID != 0)" } ?? "none"
    case "nested":
      guard let client = next() else { throw RPCError.unavailable("nobody to ask") }
      return try await client.get(Text(value: words.dropFirst().joined(separator: " "))).value
    case "size": return String(repeating: "x", count: Int(words[1])!)
    default: return text
    }
  }

  public func expand(_ request: Text, responses: ResponseWriter<Text>, context: ServerContext) async throws {
    reflectMetadata(context)
    let words = request.value.split(separator: " ").map(String.init)
    switch words.first {
    case "forever":
      defer { log.add("expand: ended") }
      while true {
        try await responses.write(Text(value: request.value))
        await Task.yield()
      }
    case "headers":
      responses.sendMetadata()
      try await waitForCancellation(context, "expand")
    default:
      let count = Int(words[0])!
      for index in 0..<count { try await responses.write(Text(value: "\(index)")) }
      if words.count > 1 { throw RPCError(RPCError.Code(name: words[1])!, "after \(count)") }
    }
  }

  public func collect(_ requests: RequestStream<Text>, context: ServerContext) async throws -> Text {
    reflectMetadata(context)
    var texts: [String] = []
    for try await request in requests {
      if request.value == "stop" { break }
      if request.value.hasPrefix("fail") { _ = try await answer(request.value, context) }
      texts.append(request.value)
    }
    return Text(value: texts.joined(separator: "+"))
  }

  public func chat(_ requests: RequestStream<Text>, responses: ResponseWriter<Text>, context: ServerContext) async throws {
    reflectMetadata(context)
    defer { log.add("chat: ended") }
    for try await request in requests {
      try await responses.write(Text(value: try await answer(request.value, context)))
    }
  }

  private func waitForCancellation(_ context: ServerContext, _ who: String) async throws {
    log.add("\(who): begun")
    defer { log.add("\(who): \(context.isCancelled ? "cancelled" : "woken")") }
    try await Task.sleep(for: .seconds(3600))
  }

  private func reflectMetadata(_ context: ServerContext) {
    for name in Set(context.metadata.names) where name.hasPrefix("x-") {
      if name.hasSuffix("-bin") {
        for bytes in context.metadata[bytes: name] {
          context.responseMetadata.add(name, bytes: bytes)
          context.trailers.add("t-" + name.dropFirst(2), bytes: bytes)
        }
      } else {
        for text in context.metadata[all: name] {
          context.responseMetadata.add(name, text)
          context.trailers.add("t-" + name.dropFirst(2), text)
        }
      }
    }
  }
}
