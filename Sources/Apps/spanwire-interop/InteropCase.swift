import Glibc
import SpanwireProtobuf
import SpanwireRPC

/// One case of the public description: its name, and what a client does and asserts.
struct InteropCase: Sendable {
  let name: String
  let run: @Sendable (InteropClient) async throws -> Void

  init(_ name: String, _ run: @escaping @Sendable (InteropClient) async throws -> Void) {
    self.name = name
    self.run = run
  }

  /// Every case there is, in the order of the public description. Those that need accounts or a caching proxy are not here.
  static let all: [InteropCase] =
    unary + streaming + [
      InteropCase("custom_metadata") { try await $0.customMetadata() },
      InteropCase("status_code_and_message") { try await $0.statusCodeAndMessage() },
      InteropCase("special_status_message") { try await $0.specialStatusMessage() },
      InteropCase("unimplemented_method") { try await $0.unimplementedMethod() },
      InteropCase("unimplemented_service") { try await $0.unimplementedService() },
      InteropCase("cancel_after_begin") { try await $0.cancelAfterBegin() },
      InteropCase("cancel_after_first_response") { try await $0.cancelAfterFirstResponse() },
      InteropCase("timeout_on_sleeping_server") { try await $0.timeoutOnSleepingServer() },
      InteropCase("concurrent_large_unary") { try await $0.concurrentLargeUnary() },
      InteropCase("rpc_soak") { try await $0.soak(freshChannels: false) },
      InteropCase("channel_soak") { try await $0.soak(freshChannels: true) },
      InteropCase("orca_per_rpc") { try await $0.orcaPerRPC() },
      InteropCase("orca_oob") { try await $0.orcaOutOfBand() },
    ]

  private static let unary = [
    InteropCase("empty_unary") { try await $0.emptyUnary() },
    InteropCase("large_unary") { try await $0.largeUnary() },
    InteropCase("client_compressed_unary") { try await $0.clientCompressedUnary() },
    InteropCase("server_compressed_unary") { try await $0.serverCompressedUnary() },
  ]

  private static let streaming = [
    InteropCase("client_streaming") { try await $0.clientStreaming() },
    InteropCase("client_compressed_streaming") { try await $0.clientCompressedStreaming() },
    InteropCase("server_streaming") { try await $0.serverStreaming() },
    InteropCase("server_compressed_streaming") { try await $0.serverCompressedStreaming() },
    InteropCase("ping_pong") { try await $0.pingPong() },
    InteropCase("empty_stream") { try await $0.emptyStream() },
  ]
}

/// A case that did not go as it should.
struct InteropFailure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// The client of the cases: a channel to the server under test, and what the cases do over it again and again.
struct InteropClient: Sendable {
  /// A channel to the server, and how to close it.
  struct Connection: Sendable {
    let channel: any Channel
    let close: @Sendable () async -> Void
  }

  /// Makes one more connection to the same server.
  let connect: @Sendable () throws -> Connection
  let connection: Connection
  let settings: InteropSettings

  typealias Methods = Grpc_Testing_TestService.Methods
  typealias OutputRequest = Grpc_Testing_StreamingOutputCallRequest
  typealias OutputResponse = Grpc_Testing_StreamingOutputCallResponse
  typealias InputRequest = Grpc_Testing_StreamingInputCallRequest
  typealias InputResponse = Grpc_Testing_StreamingInputCallResponse

  init(settings: InteropSettings, connect: @escaping @Sendable () throws -> Connection) throws {
    self.connect = connect
    self.settings = settings
    connection = try connect()
  }

  var channel: any Channel { connection.channel }
  var service: Grpc_Testing_TestServiceClient { Grpc_Testing_TestServiceClient(channel) }

  static let largeRequest = 271_828
  static let largeResponse = 314_159

  static func zeros(_ size: Int) -> Grpc_Testing_Payload { Grpc_Testing_Payload(body: [UInt8](repeating: 0, count: size)) }

  static var largeRequestMessage: Grpc_Testing_SimpleRequest {
    Grpc_Testing_SimpleRequest(responseSize: Int32(largeResponse), payload: zeros(largeRequest))
  }

  /// Throws unless a payload is so many zeros.
  func expect(_ payload: Grpc_Testing_Payload?, size: Int) throws {
    let body = payload?.body ?? []
    guard body.count == size else { throw InteropFailure("the payload has \(body.count) bytes instead of \(size)") }
    // The system compares, since debug builds do so slowly.
    guard payload?.type ?? .compressable == .compressable, memcmp(body, Self.zeros(size).body, size) == 0 else {
      throw InteropFailure("the payload is not of zeros")
    }
  }

  func expect<Value: Equatable>(_ value: Value, _ wanted: Value, _ what: String) throws {
    guard value == wanted else { throw InteropFailure("\(what): \(value) instead of \(wanted)") }
  }

  /// Throws unless an operation ends with a status, and with a message if one is given.
  func expect(
    _ code: RPCError.Code, _ message: String? = nil, of what: String, _ operation: () async throws -> Void
  ) async throws {
    do {
      try await operation()
    } catch let error as RPCError {
      try expect(error.code, code, "the status of \(what) (\(error.message))")
      if let message { try expect(error.message, message, "the message of \(what)") }
      return
    }
    throw InteropFailure("\(what) ended with OK instead of \(code)")
  }
}

/// What the flags say about single cases.
struct InteropSettings: Sendable {
  /// Calls of concurrent_large_unary.
  var concurrentCalls = 1000
  var soak = SoakSettings()
}
