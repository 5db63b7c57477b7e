import SpanwireProtobuf
import SpanwireRPC

/// Cases of one request and one response.
extension InteropClient {
  func emptyUnary() async throws {
    let response = try await service.emptyCall(Grpc_Testing_Empty())
    try expect(response.encoded().count, 0, "the size of an empty response")
  }

  func largeUnary() async throws {
    let response = try await service.unaryCall(Self.largeRequestMessage)
    try expect(response.payload, size: Self.largeResponse)
  }

  func concurrentLargeUnary() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<settings.concurrentCalls { group.addTask { try await largeUnary() } }
      try await group.waitForAll()
    }
  }

  func clientCompressedUnary() async throws {
    var request = Self.largeRequestMessage
    request.expectCompressed = Grpc_Testing_BoolValue(value: true)
    let compressed = request
    try await expect(.invalidArgument, of: "the probe") { _ = try await service.unaryCall(compressed) }
    try expect(try await service.unaryCall(compressed, options: CallOptions(compression: .gzip)).payload, size: Self.largeResponse)
    request.expectCompressed = Grpc_Testing_BoolValue(value: false)
    try expect(try await service.unaryCall(request).payload, size: Self.largeResponse)
  }

  func serverCompressedUnary() async throws {
    for isCompressed in [true, false] {
      var request = Self.largeRequestMessage
      request.responseCompressed = Grpc_Testing_BoolValue(value: isCompressed)
      let call = try await channel.start(Methods.unaryCall, CallOptions())
      _ = try call.send(request)
      call.finishSending()
      let response = try await call.receive(Grpc_Testing_SimpleResponse.self)
      try expect(response?.payload, size: Self.largeResponse)
      try expect(try await call.receive(Grpc_Testing_SimpleResponse.self) == nil, true, "the end after one response")
      try expect(call.traffic.compressedReceived, isCompressed ? 1 : 0, "compressed responses")
    }
  }

  func unimplementedMethod() async throws {
    try await expect(.unimplemented, of: "the call") { _ = try await service.unimplementedCall(Grpc_Testing_Empty()) }
  }

  func unimplementedService() async throws {
    try await expect(.unimplemented, of: "the call") {
      _ = try await Grpc_Testing_UnimplementedServiceClient(channel).unimplementedCall(Grpc_Testing_Empty())
    }
  }

  func specialStatusMessage() async throws {
    let message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    try await expect(.unknown, message, of: "the call") {
      _ = try await service.unaryCall(Grpc_Testing_SimpleRequest(responseStatus: Grpc_Testing_EchoStatus(code: 2, message: message)))
    }
  }

  func statusCodeAndMessage() async throws {
    let status = Grpc_Testing_EchoStatus(code: 2, message: "test status message")
    try await expect(.unknown, status.message, of: "the unary call") {
      _ = try await service.unaryCall(Grpc_Testing_SimpleRequest(responseStatus: status))
    }
    try await expect(.unknown, status.message, of: "the stream") {
      let call = try await service.fullDuplexCall()
      try await call.requests.write(OutputRequest(responseStatus: status))
      call.requests.finish()
      while try await call.responses.next() != nil {}
    }
  }

  func customMetadata() async throws {
    let text = "test_initial_metadata_value"
    let bytes: [UInt8] = [0xAB, 0xAB, 0xAB]
    var metadata = Metadata()
    metadata.add(TestCall.initial, text)
    metadata.add(TestCall.trailing, bytes: bytes)
    let options = CallOptions.metadata(metadata)

    let unary: UnaryResponse<Grpc_Testing_SimpleResponse> = try await channel.unary(
      Self.largeRequestMessage, Methods.unaryCall, options, returning: Grpc_Testing_SimpleResponse.self)
    try expect(unary.message.payload, size: Self.largeResponse)
    try expect(unary.metadata[all: TestCall.initial], [text], "leading metadata of the unary call")
    try expect(unary.trailers[bytes: TestCall.trailing], [bytes], "trailing metadata of the unary call")

    let call = try await service.fullDuplexCall(options: options)
    try await call.requests.write(
      OutputRequest(
        responseParameters: [Grpc_Testing_ResponseParameters(size: Int32(Self.largeResponse))], payload: Self.zeros(Self.largeRequest)))
    call.requests.finish()
    try expect(try await call.responses.next()?.payload, size: Self.largeResponse)
    try expect(try await call.responses.next() == nil, true, "the end after one response")
    try expect(try await call.responses.metadata[all: TestCall.initial], [text], "leading metadata of the stream")
    try expect(call.responses.trailers[bytes: TestCall.trailing], [bytes], "trailing metadata of the stream")
  }
}
