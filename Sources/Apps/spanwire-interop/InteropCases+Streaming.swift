import SpanwireProtobuf
import SpanwireRPC

/// Cases in which a side streams.
extension InteropClient {
  /// Payloads of the streaming cases, in bytes: requests, and the responses they ask for.
  private static let requestSizes = [27_182, 8, 1_828, 45_904]
  private static let responseSizes = [31_415, 9, 2_653, 58_979]

  func clientStreaming() async throws {
    let response = try await service.streamingInputCall { requests in
      for size in Self.requestSizes { try await requests.write(InputRequest(payload: Self.zeros(size))) }
    }
    try expect(response.aggregatedPayloadSize, 74_922, "the sum of the payloads")
  }

  func clientCompressedStreaming() async throws {
    let compressed = InputRequest(payload: Self.zeros(27_182), expectCompressed: Grpc_Testing_BoolValue(value: true))
    let plain = InputRequest(payload: Self.zeros(45_904), expectCompressed: Grpc_Testing_BoolValue(value: false))
    try await expect(.invalidArgument, of: "the probe") {
      _ = try await service.streamingInputCall { try await $0.write(compressed) }
    }
    let response = try await service.streamingInputCall(options: CallOptions(compression: .gzip)) { requests in
      try await requests.write(compressed)
      requests.compresses = false
      try await requests.write(plain)
    }
    try expect(response.aggregatedPayloadSize, 73_086, "the sum of the payloads")
  }

  func serverStreaming() async throws {
    let wanted = Self.responseSizes.map { Grpc_Testing_ResponseParameters(size: Int32($0)) }
    let responses = try await service.streamingOutputCall(OutputRequest(responseParameters: wanted))
    for size in Self.responseSizes { try expect(try await responses.next()?.payload, size: size) }
    try expect(try await responses.next() == nil, true, "the end after four responses")
  }

  func serverCompressedStreaming() async throws {
    let wanted = [(isCompressed: true, size: 31_415), (isCompressed: false, size: 92_653)]
    let call = try await channel.start(Methods.streamingOutputCall, CallOptions())
    _ = try call.send(
      OutputRequest(
        responseParameters: wanted.map {
          Grpc_Testing_ResponseParameters(size: Int32($0.size), compressed: Grpc_Testing_BoolValue(value: $0.isCompressed))
        }))
    call.finishSending()
    for response in wanted { try expect(try await call.receive(OutputResponse.self)?.payload, size: response.size) }
    try expect(try await call.receive(OutputResponse.self) == nil, true, "the end after two responses")
    try expect(call.traffic.compressedReceived, 1, "compressed responses")
  }

  func pingPong() async throws {
    let call = try await service.fullDuplexCall()
    for (request, response) in zip(Self.requestSizes, Self.responseSizes) {
      try await call.requests.write(Self.exchange(request: request, response: response))
      try expect(try await call.responses.next()?.payload, size: response)
    }
    call.requests.finish()
    try expect(try await call.responses.next() == nil, true, "the end after four responses")
  }

  func emptyStream() async throws {
    let call = try await service.fullDuplexCall()
    call.requests.finish()
    try expect(try await call.responses.next() == nil, true, "the end without a response")
  }

  func cancelAfterBegin() async throws {
    let call = try await channel.start(Methods.streamingInputCall, CallOptions())
    call.cancel()
    try await expect(.cancelled, of: "the call") { _ = try await call.receive(InputResponse.self) }
  }

  func cancelAfterFirstResponse() async throws {
    let call = try await service.fullDuplexCall()
    try await call.requests.write(Self.exchange(request: Self.requestSizes[0], response: Self.responseSizes[0]))
    try expect(try await call.responses.next()?.payload, size: Self.responseSizes[0])
    call.cancel()
    try await expect(.cancelled, of: "the call") { _ = try await call.responses.next() }
  }

  func timeoutOnSleepingServer() async throws {
    try await expect(.deadlineExceeded, of: "the call") {
      let call = try await service.fullDuplexCall(options: .timeout(.milliseconds(1)))
      try await call.requests.write(OutputRequest(payload: Self.zeros(Self.requestSizes[0])))
      while try await call.responses.next() != nil {}
    }
  }

  private static func exchange(request: Int, response: Int) -> OutputRequest {
    OutputRequest(responseParameters: [Grpc_Testing_ResponseParameters(size: Int32(response))], payload: zeros(request))
  }
}
