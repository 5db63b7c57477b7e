import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireRPCServices
import Testing

@Suite(.timeLimit(.minutes(15))) struct ReflectionTests {
  static let channel = InProcessChannel(
    ServerRouter(
      ReflectionService.routes(services: [Grpc_Health_V1_Health.descriptor], files: [Grpc_Health_V1_Health.file])))

  static func ask(
    _ questions: [Grpc_Reflection_V1_ServerReflectionRequest.MessageRequest?]
  ) async throws -> [Grpc_Reflection_V1_ServerReflectionResponse] {
    let call = try await Grpc_Reflection_V1_ServerReflectionClient(channel).serverReflectionInfo()
    for question in questions {
      try await call.requests.write(Grpc_Reflection_V1_ServerReflectionRequest(host: "h", messageRequest: question))
    }
    call.requests.finish()
    var answers: [Grpc_Reflection_V1_ServerReflectionResponse] = []
    for try await answer in call.responses { answers.append(answer) }
    return answers
  }

  @Test("lists services, itself included")
  func list() async throws {
    let answer = try #require(try await Self.ask([.listServices("")]).first)
    guard case .listServicesResponse(let list)? = answer.messageResponse else { Issue.record("\(answer)"); return }
    #expect(
      list.service.map(\.name) == [
        "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
      ])
    #expect(answer.validHost == "h" && answer.originalRequest?.messageRequest == .listServices(""))
  }

  @Test(
    "finds the file of a service, a method and a message, and a file by its name",
    arguments: [
      .fileContainingSymbol("grpc.health.v1.Health"), .fileContainingSymbol("grpc.health.v1.Health.Check"),
      .fileContainingSymbol("grpc.health.v1.HealthCheckResponse.ServingStatus"), .fileByFilename("grpc/health/v1/health.proto"),
    ] as [Grpc_Reflection_V1_ServerReflectionRequest.MessageRequest])
  func files(question: Grpc_Reflection_V1_ServerReflectionRequest.MessageRequest) async throws {
    let answer = try #require(try await Self.ask([question]).first)
    guard case .fileDescriptorResponse(let files)? = answer.messageResponse else { Issue.record("\(answer)"); return }
    #expect(files.fileDescriptorProto == [Grpc_Health_V1_Health.file.descriptorBytes])
  }

  @Test(
    "what is unknown is an error in the answer, and the stream goes on",
    arguments: [
      (.fileContainingSymbol("nobody.Nothing"), .notFound), (.fileByFilename("nothing.proto"), .notFound),
      (.fileContainingExtension(Grpc_Reflection_V1_ExtensionRequest(containingType: "a.B", extensionNumber: -1)), .notFound),
      (.allExtensionNumbersOfType("a.B"), .notFound), (nil, .invalidArgument),
    ] as [(Grpc_Reflection_V1_ServerReflectionRequest.MessageRequest?, RPCError.Code)])
  func unknown(question: Grpc_Reflection_V1_ServerReflectionRequest.MessageRequest?, code: RPCError.Code) async throws {
    let answers = try await Self.ask([question, .listServices("")])
    guard case .errorResponse(let error)? = answers.first?.messageResponse else { Issue.record("\(answers)"); return }
    #expect(error.errorCode == Int32(code.rawValue))
    #expect(answers.count == 2)
  }

  @Test("the older version says the same")
  func alpha() async throws {
    let call = try await Grpc_Reflection_V1alpha_ServerReflectionClient(Self.channel).serverReflectionInfo()
    try await call.requests.write(
      Grpc_Reflection_V1alpha_ServerReflectionRequest(messageRequest: .fileContainingSymbol("grpc.health.v1.Health")))
    guard case .fileDescriptorResponse(let files)? = try await call.responses.next()?.messageResponse else {
      Issue.record("no file"); return
    }
    #expect(files.fileDescriptorProto.count == 1)
  }
}
