import SpanwireRPC
import SpanwireRPCTestSupport

/// An echo some of whose methods a case replaces.
struct CustomEcho: EchoService {
  var get: @Sendable (Text, ServerContext) async throws -> Text = { request, _ in request }
  var expand: @Sendable (Text, ResponseWriter<Text>, ServerContext) async throws -> Void = { _, _, _ in }
  var collect: @Sendable (RequestStream<Text>, ServerContext) async throws -> Text = { requests, _ in
    var texts: [String] = []
    for try await request in requests { texts.append(request.value) }
    return Text(value: texts.joined(separator: "+"))
  }
  var chat: @Sendable (RequestStream<Text>, ResponseWriter<Text>, ServerContext) async throws -> Void = { _, _, _ in }

  func get(_ request: Text, context: ServerContext) async throws -> Text { try await get(request, context) }

  func expand(_ request: Text, responses: ResponseWriter<Text>, context: ServerContext) async throws {
    try await expand(request, responses, context)
  }

  func collect(_ requests: RequestStream<Text>, context: ServerContext) async throws -> Text { try await collect(requests, context) }

  func chat(_ requests: RequestStream<Text>, responses: ResponseWriter<Text>, context: ServerContext) async throws {
    try await chat(requests, responses, context)
  }
}
