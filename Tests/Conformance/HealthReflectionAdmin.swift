import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCServices
import SpanwireRPCTestSupport
import SpanwireWellKnown
import Testing

/// What a server tells of itself: rows 36 to 38.
extension Checklist {
  static let healthReflectionAdmin: [Case] = health + reflection + channelz

  private static let codes = ServiceDescriptor(fullName: "spanwire.test.Echo", methods: [])

  /// A server of these routes and a channel to it.
  private static func served(
    _ routes: [ServiceRoutes], _ check: (HTTP2Server, HTTP2Channel) async throws -> Void
  ) async throws {
    let server = try HTTP2Server(ServerRouter(routes), ServerConfiguration(port: 0))
    let port = try await server.start()[0].port!
    let channel = try HTTP2Channel(.host("127.0.0.1", port: port))
    do { try await check(server, channel) } catch { Issue.record(error) }
    await channel.close()
    await server.shutDown(grace: .zero)
  }

  private static func health(_ name: String, _ check: @escaping @Sendable (HealthService, Grpc_Health_V1_HealthClient) async throws -> Void)
    -> Case
  {
    Case(row: 36, side: .server, name: name) {
      let service = HealthService(services: [codes])
      try await served([service.routes]) { _, channel in try await check(service, Grpc_Health_V1_HealthClient(channel)) }
    }
  }

  private static func ask(_ service: String) -> Grpc_Health_V1_HealthCheckRequest { Grpc_Health_V1_HealthCheckRequest(service: service) }

  // MARK: 36

  private static let health: [Case] = [
    health("Check of an unknown service is NOT_FOUND") { (_, client) async throws in
      #expect(await failure { try await client.check(ask("nobody")) }?.code == .notFound)
    },
    health("the empty name is the whole server") { (service, client) async throws in
      #expect(try await client.check(ask("")).status == .serving)
      service.set("spanwire.test.Echo", isServing: false)
      #expect(try await client.check(ask("")).status == .serving)
      #expect(try await client.check(ask("spanwire.test.Echo")).status == .notServing)
    },
    health("Watch of an unknown service says SERVICE_UNKNOWN and goes on") { (service, client) async throws in
      let stream = try await client.watch(ask("late"))
      #expect(try await stream.next()?.status == .serviceUnknown)
      service.set("late", isServing: true)
      #expect(try await stream.next()?.status == .serving)
    },
    health("List says how all are") { (service, client) async throws in
      service.set("spanwire.test.Echo", isServing: false)
      let statuses = try await client.list(Grpc_Health_V1_HealthListRequest()).statuses
      #expect(statuses[""]?.status == .serving && statuses["spanwire.test.Echo"]?.status == .notServing)
    },
    Case(row: 36, side: .server, name: "a draining server says NOT_SERVING before GOAWAY") {
      let service = HealthService(services: [codes])
      try await served([service.routes]) { (server, channel) async throws in
        let client = Grpc_Health_V1_HealthClient(channel)
        let stream = try await client.watch(ask(""))
        #expect(try await stream.next()?.status == .serving)
        service.drain()
        #expect(try await stream.next()?.status == .notServing)
        // The connection still serves.
        #expect(try await client.check(ask("spanwire.test.Echo")).status == .notServing)
      }
    },
  ]

  // MARK: 37

  private typealias Question = Grpc_Reflection_V1_ServerReflectionRequest.MessageRequest
  private typealias Reply = Grpc_Reflection_V1_ServerReflectionResponse.MessageResponse

  /// Reflection of health, and of a type whose file imports another.
  private static let reflecting = ReflectionService.routes(
    services: [Grpc_Health_V1_Health.descriptor], files: [Grpc_Health_V1_Health.file, Google_Rpc_Status.file])

  private static func reflection(
    _ name: String, _ questions: [Question], _ check: @escaping @Sendable ([Grpc_Reflection_V1_ServerReflectionResponse]) throws -> Void
  ) -> Case {
    Case(row: 37, side: .server, name: name) {
      try await served(reflecting) { (_, channel) async throws in
        let call = try await Grpc_Reflection_V1_ServerReflectionClient(channel).serverReflectionInfo()
        for question in questions { try await call.requests.write(.init(messageRequest: question)) }
        call.requests.finish()
        var answers: [Grpc_Reflection_V1_ServerReflectionResponse] = []
        for try await answer in call.responses { answers.append(answer) }
        #expect(answers.count == questions.count)
        try check(answers)
      }
    }
  }

  private static func files(_ answer: Grpc_Reflection_V1_ServerReflectionResponse?) -> [[UInt8]] {
    if case .fileDescriptorResponse(let files)? = answer?.messageResponse { files.fileDescriptorProto } else { [] }
  }

  private static func errorCode(_ answer: Grpc_Reflection_V1_ServerReflectionResponse?) -> Int32? {
    if case .errorResponse(let error)? = answer?.messageResponse { error.errorCode } else { nil }
  }

  private static let reflection: [Case] = [
    reflection("services are listed", [.listServices("*")]) { answers in
      guard case .listServicesResponse(let list)? = answers.first?.messageResponse else {
        Issue.record("\(answers)")
        return
      }
      #expect(Set(list.service.map(\.name)).isSuperset(of: ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]))
    },
    reflection(
      "a file is found by a symbol and by its name",
      [.fileContainingSymbol("grpc.health.v1.Health.Check"), .fileByFilename("grpc/health/v1/health.proto")]
    ) { answers in
      #expect(files(answers.first).first == Grpc_Health_V1_Health.file.descriptorBytes)
    },
    reflection("a file brings what it imports", [.fileContainingSymbol("google.rpc.Status")]) { answers in
      #expect(files(answers.first) == [Google_Rpc_Status.file.descriptorBytes, Google_Protobuf_Any.file.descriptorBytes])
    },
    reflection(
      "what is unknown is a code in the answer, and the stream goes on",
      [
        .fileContainingSymbol("nobody.Nothing"), .fileByFilename("nothing.proto"), .allExtensionNumbersOfType("a.B"),
        .fileContainingExtension(.init(containingType: "a.B", extensionNumber: 5)), .listServices(""),
      ]
    ) { answers in
      #expect(answers.prefix(4).map { errorCode($0) } == [5, 5, 5, 5] && errorCode(answers.last) == nil)
    },
    reflection("extensions of a type that has none", [.allExtensionNumbersOfType("google.rpc.Status")]) { answers in
      guard case .allExtensionNumbersResponse(let numbers)? = answers.first?.messageResponse else {
        Issue.record("\(answers)")
        return
      }
      #expect(numbers.baseTypeName == "google.rpc.Status" && numbers.extensionNumber.isEmpty)
    },
    Case(row: 37, side: .server, name: "the older version is there, and says the same") {
      try await served(reflecting) { (_, channel) async throws in
        let call = try await Grpc_Reflection_V1alpha_ServerReflectionClient(channel).serverReflectionInfo()
        try await call.requests.write(.init(messageRequest: .fileContainingSymbol("google.rpc.Status")))
        try await call.requests.write(.init(messageRequest: .fileByFilename("nothing.proto")))
        call.requests.finish()
        guard case .fileDescriptorResponse(let files)? = try await call.responses.next()?.messageResponse else {
          Issue.record("no files")
          return
        }
        #expect(files.fileDescriptorProto.count == 2)
        guard case .errorResponse(let error)? = try await call.responses.next()?.messageResponse else {
          Issue.record("no error")
          return
        }
        #expect(error.errorCode == 5)
      }
    },
  ]

  // MARK: 38

  private static let channelz: [Case] = [
    Case(row: 38, side: .server, name: "servers, their sockets and our channels are seen while they live, with their counts") {
      let inspection = ChannelzService()
      let echo = Echo.routes(CustomEcho())
      try await served([echo, inspection.routes()]) { (server, channel) async throws in
        inspection.add(server)
        inspection.add(channel)
        for _ in 0..<3 { _ = try await EchoClient(channel).get(Text(value: "x")) }
        let client = Grpc_Channelz_V1_ChannelzClient(channel)
        let servers = try await client.getServers(.init()).server
        let seen = try #require(servers.first { $0.data?.callsSucceeded ?? 0 >= 3 }, "\(servers)")
        let id = try #require(seen.ref?.serverID)
        let sockets = try await client.getServerSockets(.init(serverID: id))
        #expect(sockets.socketRef.count == 1 && sockets.end)
        let socket = try await client.getSocket(.init(socketID: try #require(sockets.socketRef.first?.socketID)))
        #expect(socket.socket?.data?.streamsStarted ?? 0 >= 3)
        let channels = try await client.getTopChannels(.init()).channel
        #expect(channels.contains { $0.data?.callsStarted ?? 0 >= 3 }, "\(channels)")
      }
    },
    Case(row: 38, side: .server, name: "what is not there is NOT_FOUND") {
      try await served([ChannelzService().routes()]) { (_, channel) async throws in
        let client = Grpc_Channelz_V1_ChannelzClient(channel)
        #expect(await failure { try await client.getServer(.init(serverID: 999_999)) }?.code == .notFound)
        #expect(await failure { try await client.getSocket(.init(socketID: 999_999)) }?.code == .notFound)
        #expect(await failure { try await client.getChannel(.init(channelID: 999_999)) }?.code == .notFound)
      }
    },
  ]
}
