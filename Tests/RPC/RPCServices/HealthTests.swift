import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireRPCServices
import Testing

@Suite(.timeLimit(.minutes(15))) struct HealthTests {
  typealias Request = Grpc_Health_V1_HealthCheckRequest

  static func serve() -> (service: HealthService, client: Grpc_Health_V1_HealthClient) {
    let service = HealthService(services: [ServiceDescriptor(fullName: "spanwire.test.Echo", methods: [])])
    return (service, Grpc_Health_V1_HealthClient(InProcessChannel(ServerRouter([service.routes]))))
  }

  @Test("checks the server and each service; strangers are NOT_FOUND")
  func check() async throws {
    let (service, client) = Self.serve()
    for name in ["", "spanwire.test.Echo"] {
      #expect(try await client.check(Request(service: name)).status == .serving)
    }
    let error = await #expect(throws: RPCError.self) { try await client.check(Request(service: "nobody")) }
    #expect(error?.code == .notFound)
    service.set("spanwire.test.Echo", isServing: false)
    #expect(try await client.check(Request(service: "spanwire.test.Echo")).status == .notServing)
    #expect(try await client.check(Request(service: "")).status == .serving)
    let statuses = try await client.list(Grpc_Health_V1_HealthListRequest()).statuses
    #expect(statuses[""]?.status == .serving && statuses["spanwire.test.Echo"]?.status == .notServing)
  }

  @Test("a watcher sees the present status and every change that it has time for")
  func watch() async throws {
    let (service, client) = Self.serve()
    let stream = try await client.watch(Request(service: "spanwire.test.Echo"))
    let unknown = try await client.watch(Request(service: "late"))
    #expect(try await stream.next()?.status == .serving)
    #expect(try await unknown.next()?.status == .serviceUnknown)
    service.set("late", isServing: true)
    #expect(try await unknown.next()?.status == .serving)
    service.drain()
    #expect(try await stream.next()?.status == .notServing)
    #expect(try await unknown.next()?.status == .notServing)
    // Nothing else will come: their calls would only hold the server up.
    for watcher in [stream, unknown] {
      let error = await #expect(throws: RPCError.self) { try await watcher.next() }
      #expect(error?.code == .unavailable)
    }
    let late = try await client.watch(Request(service: ""))
    #expect(try await late.next()?.status == .notServing)
    await #expect(throws: RPCError.self) { try await late.next() }
    service.set("spanwire.test.Echo", isServing: true)
    #expect(try await client.check(Request(service: "spanwire.test.Echo")).status == .notServing)
  }
}
