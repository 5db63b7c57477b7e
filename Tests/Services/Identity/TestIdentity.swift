import Glibc
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireIdentity

/// The service and its authenticator on a database of their own, with a clock that stands still.
final class TestIdentity: Sendable {
  let environment: ServiceEnvironment
  let server: IdentityServer
  let authenticator: Authenticator
  let issuer = TestIssuer()
  let clock = ManualClock()
  private let path: String
  private let loops = EventLoopGroup(loops: 1)

  static func ops(_ id: String, _ roles: String..., tenant: String = "platform") -> Principal {
    Principal(kind: .ops, id: id, tenant: tenant, roles: roles, surface: .ops)
  }
  /// Of the platform itself, and of one of its tenants.
  static let root = ops("root", "platform_admin")
  static let otto = ops("otto", "ops_lead", tenant: "vienna")

  init(isDevelopment: Bool = false) async throws {
    var template = Array("/tmp/spanwire-identity-XXXXXX".utf8CString)
    path = String(cString: mkdtemp(&template)!)
    let database = try await SQLiteDatabase.open(
      path: path + "/test.db", durability: .off, migrations: ServiceEnvironment.migrations + [IdentityServer.migrations])
    let log = EventLog(database: database, loops: loops)
    try await log.start()
    environment = ServiceEnvironment(
      database: database, log: log, effects: EffectDispatcher(database: database, clock: clock), clock: clock,
      ids: IDGenerator(clock: clock))
    server = IdentityServer(environment: environment)
    authenticator = Authenticator(
      environment: environment, acceptsDevelopmentTokens: isDevelopment, tokens: try await issuer.verifier(),
      monotonic: { [clock] in Deadline(nanoseconds: UInt64(clock.now)) })
  }

  deinit {
    loops.stop()
    for suffix in ["", "-wal", "-shm", ".lock"] { unlink(path + "/test.db" + suffix) }
    rmdir(path)
  }

  func context(_ principal: Principal = root) -> ServerContext {
    ServerContext(method: Identity.Methods.createTenant, peer: .inProcess, principal: principal)
  }

  func addTenant(_ id: String = "vienna") async throws {
    _ = try await server.createTenant(
      CreateTenantRequest(idempotencyKey: "add-\(id)", tenantID: id, displayName: id), context: context())
  }

  func set(_ state: TenantState, _ id: String = "vienna") async throws {
    _ = try await server.setTenantState(
      SetTenantStateRequest(idempotencyKey: "\(id)-\(state)", tenantID: id, state: state, reason: "for the test"), context: context())
  }

  /// Whom a call with these credentials would be by.
  func caller(
    _ token: String? = nil, certificate: PeerCertificate? = nil, forwarded: [UInt8]? = nil, from peer: String? = nil
  ) async throws -> Principal {
    var metadata = Metadata()
    if let token { metadata.set("authorization", "Bearer \(token)") }
    if let forwarded { metadata.add(ForwardedPrincipal.metadataName, bytes: forwarded) }
    let context = ServerContext(
      method: Identity.Methods.whoAmI, metadata: metadata,
      peer: Peer(address: "ipv4:192.0.2.1:5000", isSecure: certificate != nil, certificate: certificate))
    return try await authenticator.principal(of: context, from: peer.map { Peer(address: $0 + ":5000") })
  }

  /// A stream that somebody with a token holds open until it is ended; returns what it was ended with, after `change`.
  func stream(_ token: String, ends change: () async throws -> Void) async throws -> RPCError? {
    var metadata = Metadata()
    metadata.set("authorization", "Bearer \(token)")
    let call = HeldStream(
      ServerContext(method: Events.Methods.subscribe, metadata: metadata, peer: Peer(address: "ipv4:192.0.2.1:5000")))
    let route = MethodRoute(Events.Methods.subscribe) { call in
      guard let held = call as? HeldStream else { preconditionFailure("made here") }
      held.hold.begin()
      await held.hold.ended()
      try call.context.checkCancellation()
    }
    let router = ServerRouter([ServiceRoutes(Events.descriptor, [route])], interceptors: [authenticator])
    let intercepted = router.route(of: Events.Methods.subscribe.path)!
    async let outcome = router.serve(intercepted, call)
    await call.hold.begun()
    try await change()
    return await outcome
  }

  func audited() async throws -> [String] {
    try await environment.log.list(LogFilter(tenant: nil), after: .beginning, limit: 1_000).events.map {
      let record = try $0.payload(AuditRecorded.self)
      return "\(record?.action ?? "?") \(record?.actor ?? "?")"
    }
  }

  func expect(_ code: RPCError.Code, _ reason: Reason, _ body: () async throws -> Void) async {
    do {
      try await body()
      Issue.record("nothing was refused")
    } catch {
      let error = RPCError.outcome(of: error, in: nil)
      #expect(error.code == code, "\(error)")
      #expect(error.reason == reason, "\(error)")
    }
  }
}

/// A call whose handler waits until the call is ended.
final class HeldStream: ServerCall {
  let context: ServerContext
  let hold = Hold()
  var traffic: CallTraffic { CallTraffic() }

  /// Two moments that others wait for.
  final class Hold: Sendable {
    private let (begins, begin_) = AsyncStream<Void>.makeStream()
    private let (ends, end_) = AsyncStream<Void>.makeStream()

    func begin() { begin_.finish() }
    func end() { end_.finish() }
    func begun() async { for await _ in begins {} }
    func ended() async { for await _ in ends {} }
  }

  init(_ context: ServerContext) { self.context = context }

  func takeRequest<M: IncomingMessage>(_ type: M.Type) throws -> M { throw RPCError.internal("it has none") }
  func receive<M: IncomingMessage>(_ type: M.Type) async throws -> M? { nil }
  func send<M: Message>(_ message: M) throws -> Bool { true }
  func send(encoded message: [UInt8]) throws -> Bool { true }
  func drained() async throws {}
  func sendResponseMetadata() {}

  func end(_ context: ServerContext, with error: RPCError) {
    context.cancel(error.code)
    hold.end()
  }
}
