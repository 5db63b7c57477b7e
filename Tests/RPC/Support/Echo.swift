import SpanwireProtobuf
import SpanwireRPC
import SpanwireWellKnown

public typealias Text = Google_Protobuf_StringValue

/// A service of all four kinds over `google.protobuf.StringValue`, written as the generator writes services, so that the tests of calls
/// need no generated code and a Python peer no protos.
public enum Echo {
  public static let descriptor = ServiceDescriptor(
    fullName: "spanwire.test.Echo", methods: [Methods.get, Methods.expand, Methods.collect, Methods.chat])

  public enum Methods {
    public static let get = method("Get", .unary)
    public static let expand = method("Expand", .serverStreaming)
    public static let collect = method("Collect", .clientStreaming)
    public static let chat = method("Chat", .bidirectional)

    static func method(_ name: String, _ kind: MethodKind) -> MethodDescriptor {
      MethodDescriptor(
        service: "spanwire.test.Echo", name: name, kind: kind, inputType: "google.protobuf.StringValue",
        outputType: "google.protobuf.StringValue",
        exposure: MethodExposure(surfaces: [.edge, .internal], principals: [.anonymous, .user, .service]))
    }
  }

  public static func routes(_ implementation: some EchoService) -> ServiceRoutes {
    ServiceRoutes(
      descriptor,
      [
        MethodRoute(Methods.get) { try $0.respond(await implementation.get($0.request(), context: $0.context)) },
        .serverStreaming(Methods.expand) { try await implementation.expand($0, responses: $1, context: $2) },
        .clientStreaming(Methods.collect) { try await implementation.collect($0, context: $1) },
        .bidirectional(Methods.chat) { try await implementation.chat($0, responses: $1, context: $2) },
      ])
  }
}

public protocol EchoService: Sendable {
  func get(_ request: Text, context: ServerContext) async throws -> Text
  func expand(_ request: Text, responses: ResponseWriter<Text>, context: ServerContext) async throws
  func collect(_ requests: RequestStream<Text>, context: ServerContext) async throws -> Text
  func chat(_ requests: RequestStream<Text>, responses: ResponseWriter<Text>, context: ServerContext) async throws
}

public struct EchoClient: Sendable {
  public let channel: any Channel

  public init(_ channel: any Channel) { self.channel = channel }

  public func get(_ request: Text, options: CallOptions = CallOptions()) async throws -> Text {
    try await channel.unary(request, Echo.Methods.get, options)
  }

  public func expand(_ request: Text, options: CallOptions = CallOptions()) async throws -> ResponseStream<Text> {
    try await channel.serverStreaming(request, Echo.Methods.expand, options)
  }

  public func collect(
    options: CallOptions = CallOptions(), _ send: (RequestWriter<Text>) async throws -> Void
  ) async throws -> Text {
    try await channel.clientStreaming(Echo.Methods.collect, options, send)
  }

  public func chat(options: CallOptions = CallOptions()) async throws -> BidirectionalCall<Text, Text> {
    try await channel.bidirectional(Echo.Methods.chat, options)
  }
}
