import SpanwireProtobuf
import SpanwireRPC

/// The test service, with every feature of the public description that needs no account: sizes, intervals, statuses, metadata and
/// compression as the client asks.
struct InteropService: Grpc_Testing_TestServiceService {
  /// Makes a router that serves it, and what it needs around it.
  static func router() -> ServerRouter {
    let board = LoadBoard()
    return ServerRouter(
      [
        Grpc_Testing_TestService.routes(InteropService(board: board)), Xds_Service_Orca_V3_OpenRcaService.routes(LoadReports(board: board)),
      ], interceptors: [TestCall()])
  }

  let board: LoadBoard

  /// A larger response than this is refused, so that a test server can't be made to fill its machine's memory.
  static let maxResponseBytes = 64 * 1024 * 1024

  func emptyCall(_ request: Grpc_Testing_Empty, context: ServerContext) async throws -> Grpc_Testing_Empty { Grpc_Testing_Empty() }

  func unaryCall(_ request: Grpc_Testing_SimpleRequest, context: ServerContext) async throws -> Grpc_Testing_SimpleResponse {
    try check(request.expectCompressed, came: TestCall.compressedRequests > 0)
    try refuseIfAsked(request.responseStatus)
    context.compressesResponses = request.responseCompressed?.value ?? false
    if let report = request.orcaPerQueryReport {
      context.trailers.add(LoadBoard.trailer, bytes: Xds_Data_Orca_V3_OrcaLoadReport(report).encoded())
    }
    return Grpc_Testing_SimpleResponse(payload: try payload(request.responseType, request.responseSize))
  }

  func cacheableUnaryCall(_ request: Grpc_Testing_SimpleRequest, context: ServerContext) async throws -> Grpc_Testing_SimpleResponse {
    context.responseMetadata.add("cache-control", "max-age=60, public")
    return Grpc_Testing_SimpleResponse(payload: Grpc_Testing_Payload(body: Array(String(Deadline.now().nanoseconds).utf8)))
  }

  func streamingOutputCall(
    _ request: Grpc_Testing_StreamingOutputCallRequest, responses: ResponseWriter<Grpc_Testing_StreamingOutputCallResponse>,
    context: ServerContext
  ) async throws {
    try await answer(request, responses, context)
  }

  func streamingInputCall(
    _ requests: RequestStream<Grpc_Testing_StreamingInputCallRequest>, context: ServerContext
  ) async throws -> Grpc_Testing_StreamingInputCallResponse {
    var size = 0
    var compressedBefore = 0
    for try await request in requests {
      let compressed = TestCall.compressedRequests
      try check(request.expectCompressed, came: compressed > compressedBefore)
      compressedBefore = compressed
      size += request.payload?.body.count ?? 0
    }
    return Grpc_Testing_StreamingInputCallResponse(aggregatedPayloadSize: Int32(clamping: size))
  }

  func fullDuplexCall(
    _ requests: RequestStream<Grpc_Testing_StreamingOutputCallRequest>,
    responses: ResponseWriter<Grpc_Testing_StreamingOutputCallResponse>, context: ServerContext
  ) async throws {
    for try await request in requests {
      try refuseIfAsked(request.responseStatus)
      if let report = request.orcaOobReport { board.report = Xds_Data_Orca_V3_OrcaLoadReport(report) }
      try await answer(request, responses, context)
    }
  }

  func halfDuplexCall(
    _ requests: RequestStream<Grpc_Testing_StreamingOutputCallRequest>,
    responses: ResponseWriter<Grpc_Testing_StreamingOutputCallResponse>, context: ServerContext
  ) async throws {
    var all: [Grpc_Testing_StreamingOutputCallRequest] = []
    for try await request in requests {
      guard all.count < Self.maxHalfDuplexRequests else {
        throw RPCError.resourceExhausted("more than \(Self.maxHalfDuplexRequests) requests before an answer")
      }
      all.append(request)
    }
    for request in all { try await answer(request, responses, context) }
  }

  /// Requests kept until the client has sent its last.
  private static let maxHalfDuplexRequests = 1000

  func unimplementedCall(_ request: Grpc_Testing_Empty, context: ServerContext) async throws -> Grpc_Testing_Empty {
    throw RPCError.unimplemented("nobody implements this method")
  }

  // MARK: -

  private func answer(
    _ request: Grpc_Testing_StreamingOutputCallRequest, _ responses: ResponseWriter<Grpc_Testing_StreamingOutputCallResponse>,
    _ context: ServerContext
  ) async throws {
    for wanted in request.responseParameters {
      if wanted.intervalUs > 0 { try await Task.sleep(for: .microseconds(Int(wanted.intervalUs))) }
      context.compressesResponses = wanted.compressed?.value ?? false
      try await responses.write(
        Grpc_Testing_StreamingOutputCallResponse(payload: try payload(request.responseType, wanted.size)))
    }
  }

  private func payload(_ type: Grpc_Testing_PayloadType, _ size: Int32) throws -> Grpc_Testing_Payload {
    guard type == .compressable else { throw RPCError(.invalidArgument, "no payload of type \(type.rawValue)") }
    guard (0...Self.maxResponseBytes).contains(Int(size)) else {
      throw RPCError(.invalidArgument, "a response of \(size) bytes is not sent")
    }
    return Grpc_Testing_Payload(type: type, body: [UInt8](repeating: 0, count: Int(size)))
  }

  /// Refuses a request that did not come as its client says that it must.
  private func check(_ expected: Grpc_Testing_BoolValue?, came isCompressed: Bool) throws {
    guard let expected, expected.value != isCompressed else { return }
    throw RPCError(.invalidArgument, isCompressed ? "the request came compressed" : "the request came uncompressed")
  }

  private func refuseIfAsked(_ status: Grpc_Testing_EchoStatus?) throws {
    guard let status, status.code != 0 else { return }
    guard let number = UInt8(exactly: status.code), let code = RPCError.Code(rawValue: number) else {
      throw RPCError(.invalidArgument, "\(status.code) is no status")
    }
    throw RPCError(code, status.message)
  }
}

/// Around every call: sends back the two metadata of the tests, and lets handlers see how requests came.
struct TestCall: ServerInterceptor {
  static let initial = "x-grpc-test-echo-initial"
  static let trailing = "x-grpc-test-echo-trailing-bin"

  @TaskLocal private static var call: (any ServerCall)?

  func intercept(_ call: any ServerCall, next: NextServerHandler) async throws {
    let context = call.context
    if let value = context.metadata[Self.initial] { context.responseMetadata.add(Self.initial, value) }
    for value in context.metadata[bytes: Self.trailing] { context.trailers.add(Self.trailing, bytes: value) }
    try await Self.$call.withValue(call) { try await next(call) }
  }

  /// Requests of the running call that came compressed so far.
  static var compressedRequests: Int { call?.traffic.compressedReceived ?? 0 }
}
