import SpanwireRPC

/// `grpc.reflection.v1alpha.ServerReflection` over an index.
struct ReflectionServiceV1alpha: Grpc_Reflection_V1alpha_ServerReflectionService {
  let index: ReflectionIndex

  func serverReflectionInfo(
    _ requests: RequestStream<Grpc_Reflection_V1alpha_ServerReflectionRequest>,
    responses: ResponseWriter<Grpc_Reflection_V1alpha_ServerReflectionResponse>, context: ServerContext
  ) async throws {
    var sent: Set<String> = []
    for try await request in requests {
      let answer = index.answer(request.question, sent: &sent)
      try await responses.write(Grpc_Reflection_V1alpha_ServerReflectionResponse(answer, to: request))
    }
  }
}

extension Grpc_Reflection_V1alpha_ServerReflectionRequest {
  fileprivate var question: ReflectionIndex.Question {
    switch messageRequest {
    case .fileByFilename(let name): .file(name: name)
    case .fileContainingSymbol(let symbol): .symbol(symbol)
    case .fileContainingExtension(let request): .extension(type: request.containingType, number: request.extensionNumber)
    case .allExtensionNumbersOfType(let type): .extensionNumbers(type: type)
    case .listServices: .services
    case nil: .nothing
    }
  }
}

extension Grpc_Reflection_V1alpha_ServerReflectionResponse {
  fileprivate init(_ answer: ReflectionIndex.Answer, to request: Grpc_Reflection_V1alpha_ServerReflectionRequest) {
    self.init(validHost: request.host, originalRequest: request)
    switch answer {
    case .files(let files):
      messageResponse = .fileDescriptorResponse(Grpc_Reflection_V1alpha_FileDescriptorResponse(fileDescriptorProto: files))
    case .extensionNumbers(let type, let numbers):
      messageResponse = .allExtensionNumbersResponse(
        Grpc_Reflection_V1alpha_ExtensionNumberResponse(baseTypeName: type, extensionNumber: numbers))
    case .services(let names):
      messageResponse = .listServicesResponse(
        Grpc_Reflection_V1alpha_ListServiceResponse(service: names.map { Grpc_Reflection_V1alpha_ServiceResponse(name: $0) }))
    case .error(let error):
      messageResponse = .errorResponse(
        Grpc_Reflection_V1alpha_ErrorResponse(errorCode: Int32(error.code.rawValue), errorMessage: error.message))
    }
  }
}
