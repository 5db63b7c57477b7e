import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCServices
import SpanwireWellKnown

/// What a server tells of itself by reflection: its services, and the types of their methods.
struct ReflectedServer {
  let channel: any Channel

  /// Full names of the services.
  func services() async throws -> [String] {
    let answer = try await ask([.init(messageRequest: .listServices(""))])[0]
    guard case .listServicesResponse(let list)? = answer.messageResponse else { throw unexpected }
    return list.service.map(\.name).sorted()
  }

  /// A pool with the file of a symbol and everything it imports.
  func pool(for symbol: String) async throws -> DescriptorPool {
    let pool = DescriptorPool()
    var files: [String: [UInt8]] = [:]
    var wanted: [Grpc_Reflection_V1_ServerReflectionRequest] = [.init(messageRequest: .fileContainingSymbol(symbol))]
    var missing: Set<String> = []
    while !wanted.isEmpty {
      for answer in try await ask(wanted) {
        switch answer.messageResponse {
        case .fileDescriptorResponse(let response)?:
          for bytes in response.fileDescriptorProto {
            let file = try Google_Protobuf_FileDescriptorProto(decoding: bytes)
            files[file.name ?? ""] = bytes
          }
        case .errorResponse(let error)?:
          throw RPCError(RPCError.Code(rawValue: UInt8(clamping: error.errorCode)) ?? .unknown, "reflection: \(error.errorMessage)")
        default:
          throw unexpected
        }
      }
      // A server may send a file's imports along, or wait to be asked for them.
      missing = Set(try files.values.flatMap { try Google_Protobuf_FileDescriptorProto(decoding: $0).dependency }).subtracting(files.keys)
      wanted = missing.sorted().map { .init(messageRequest: .fileByFilename($0)) }
      if files.count > 1_000 { throw RPCError(.internal, "reflection: the symbol \(symbol) leads to more than 1000 files") }
    }
    var added: Set<String> = []
    func add(_ name: String) throws {
      guard added.insert(name).inserted, let bytes = files[name] else { return }
      for dependency in try Google_Protobuf_FileDescriptorProto(decoding: bytes).dependency { try add(dependency) }
      _ = try pool.add(fileDescriptor: bytes)
    }
    for name in files.keys.sorted() { try add(name) }
    return pool
  }

  private func ask(
    _ requests: [Grpc_Reflection_V1_ServerReflectionRequest]
  ) async throws -> [Grpc_Reflection_V1_ServerReflectionResponse] {
    let call = try await Grpc_Reflection_V1_ServerReflectionClient(channel).serverReflectionInfo()
    var answers: [Grpc_Reflection_V1_ServerReflectionResponse] = []
    for request in requests {
      try await call.requests.write(request)
      guard let answer = try await call.responses.next() else { throw unexpected }
      answers.append(answer)
    }
    call.requests.finish()
    return answers
  }

  private var unexpected: RPCError { RPCError(.internal, "the server's reflection answered something else than it was asked") }
}
