import Glibc
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireCityGraph

/// The service on a database of its own, with a clock that stands still: on Monday 2026-05-04, at 11:00 in Vienna.
final class TestCity: Sendable {
  let environment: ServiceEnvironment
  let server: CityGraphServer
  let clock: ManualClock
  private let path: String
  private let loops: EventLoopGroup

  static let olga = Principal(kind: .ops, id: "olga", tenant: "vienna", roles: ["ops_lead"], surface: .ops)

  static func open() async throws -> TestCity {
    var template = Array("/tmp/spanwire-lem-XXXXXX".utf8CString)
    let path = String(cString: mkdtemp(&template)!)
    let database = try await SQLiteDatabase.open(
      path: path + "/test.db", durability: .off,
      migrations: [LogStore.migrations, EffectStore.migrations, Idempotency.migrations, CityGraphServer.migrations])
    return try await TestCity(database, path)
  }

  private init(_ database: SQLiteDatabase, _ path: String) async throws {
    self.path = path
    clock = ManualClock()
    loops = EventLoopGroup(loops: 1)
    let log = EventLog(database: database, loops: loops)
    try await log.start()
    let effects = EffectDispatcher(database: database, clock: clock)
    environment = ServiceEnvironment(database: database, log: log, effects: effects, clock: clock, ids: IDGenerator(clock: clock))
    server = CityGraphServer(environment: environment)
  }

  deinit {
    loops.stop()
    for suffix in ["", "-wal", "-shm", ".lock"] { unlink(path + "/test.db" + suffix) }
    rmdir(path)
  }

  // MARK: Callers

  func ops(tenant: String = "vienna") -> ServerContext {
    ServerContext(
      method: Lem.Methods.getServicePoint, peer: .inProcess,
      principal: Principal(kind: .ops, id: "olga", tenant: tenant, roles: ["ops_lead"], surface: .ops))
  }

  func service(_ name: String) -> ServerContext {
    ServerContext(method: Lem.Methods.syncServicePoints, peer: .inProcess, principal: .service(name, onBehalfOf: Self.olga))
  }

  // MARK: Calls

  /// A row of cafés, one every 111 metres northwards, that the hours of which are given.
  static func cafe(_ id: String, north: Int = 0, hours: String = "Mo-Su 08:00-22:00", score: Double = 0.5, tags: [String] = ["cafe"])
    -> ServicePoint
  {
    ServicePoint(
      servicePointID: id, name: "Café \(id)", marketCode: "AT-VIE",
      position: GeoPoint(latitude: 48.2 + Double(north) * 0.001, longitude: 16.37), openingHours: hours, tags: tags,
      vendorID: "VND-\(id)", experienceScore: score)
  }

  @discardableResult
  func sync(
    _ points: [ServicePoint], revision: UInt64 = 1, key: String? = nil, zones: ProtoMap<String, String> = ["AT-VIE": "Europe/Vienna"]
  ) async throws -> SyncServicePointsResponse {
    try await server.syncServicePoints(
      SyncServicePointsRequest(
        idempotencyKey: key ?? "sync-\(revision)", registryRevision: revision, servicePoints: points, marketTimeZones: zones),
      context: service("registry"))
  }

  func status(_ id: String, tenant: String = "vienna") async throws -> ServicePointStatus {
    try await server.getServicePoint(GetServicePointRequest(servicePointID: id), context: ops(tenant: tenant))
  }

  func block(_ id: String = "", cluster: String = "", key: String = "block", until: Int64? = nil) async throws -> BlockChange {
    try await server.blockServicePoint(
      BlockServicePointRequest(
        idempotencyKey: key, servicePointID: id, reason: "broken glass", actor: "ops:olga",
        until: until.map { .init(nanosecondsSinceEpoch: $0) }, clusterID: cluster), context: service("prg"))
  }

  func unblock(_ id: String = "", cluster: String = "", key: String = "unblock") async throws -> BlockChange {
    try await server.unblockServicePoint(
      UnblockServicePointRequest(
        idempotencyKey: key, servicePointID: id, reason: "swept", actor: "ops:olga", clusterID: cluster), context: service("prg"))
  }

  func list(_ request: ListServicePointsRequest) async throws -> ListServicePointsResponse {
    try await server.listServicePoints(request, context: ops())
  }

  func route(_ request: ComputeRouteRequest) async throws -> ComputeRouteResponse {
    try await server.computeRoute(request, context: ops())
  }

  // MARK: What is there

  func eventTypes() async throws -> [String] {
    try await environment.log.list(LogFilter(tenant: "vienna"), after: .beginning, limit: 1_000).events.map(\.header.type)
  }

  func expectSound() async throws {
    for check in try await server.verify() { #expect(check.isSound, "\(check.name)") }
  }

  func expect(_ code: RPCError.Code, _ reason: Reason?, _ body: () async throws -> Void) async {
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

extension RPCError {
  /// The field paths of a google.rpc.BadRequest.
  var violatedFields: [String] {
    details.lazy.compactMap { try? $0.unpack(as: Google_Rpc_BadRequest.self) }.first?.fieldViolations.map(\.field) ?? []
  }
}
