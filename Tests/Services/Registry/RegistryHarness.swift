import Foundation
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwirePolicy
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

@testable import SpanwireRegistry

/// A registry on a temporary database, with the real policy beside it and a city that only remembers what it was told.
final class RegistryHarness: Sendable {
  let folder: URL
  let database: SQLiteDatabase
  let loops: EventLoopGroup
  let environment: ServiceEnvironment
  let city: RememberingCity
  let server: RegistryServer
  let registry: RegistryClient

  init() async throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "spanwire-registry-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    database = try await SQLiteDatabase.open(
      path: folder.appending(path: "test.db").path, durability: .off,
      migrations: ServiceEnvironment.migrations + [RegistryServer.migrations])
    loops = EventLoopGroup(loops: 1)
    let clock = ManualClock()
    let log = EventLog(database: database, loops: loops)
    let city = RememberingCity()
    let lem = LemClient(InProcessChannel(ServerRouter([Lem.routes(city)]), service: "registry"))
    let effects = EffectDispatcher(
      database: database, clock: clock,
      perform: { effect in
        try await CallContext.with(principal: effect.subject ?? .service("registry"), trace: effect.trace) {
          try await lem.syncServicePoints(SyncServicePointsRequest(decoding: effect.request)).encoded()
        }
      })
    environment = ServiceEnvironment(database: database, log: log, effects: effects, clock: clock, ids: IDGenerator(clock: clock))
    // Policy reads the roles of this registry; who only reads is not judged.
    let nobody = PolicyClient(InProcessChannel(ServerRouter([])))
    let reading = RegistryServer(environment: environment, lem: lem, policy: nobody, checks: Fixture.checks)
    let judge = PolicyServer(
      environment: environment, registry: RegistryClient(InProcessChannel(ServerRouter([Registry.routes(reading)]), service: "policy")))
    let policy = PolicyClient(InProcessChannel(ServerRouter([Policy.routes(judge)]), service: "registry"))
    server = RegistryServer(environment: environment, lem: lem, policy: policy, checks: Fixture.checks)
    registry = RegistryClient(InProcessChannel(ServerRouter([Registry.routes(server)], interceptors: [ExposureInterceptor()])))
    self.city = city
    try await log.start()
    effects.start()
  }

  func end() async {
    environment.effects.stop()
    await environment.log.stop()
    await database.close()
    loops.stop()
    try? FileManager.default.removeItem(at: folder)
  }

  /// Calls as an operator of a tenant.
  func asOperator<R>(_ role: String = "ops_lead", tenant: String = "vienna", _ call: (RegistryClient) async throws -> R) async throws -> R {
    let principal = Principal(kind: .ops, id: "OPS-1", tenant: tenant, roles: [role], surface: .ops)
    return try await CallContext.with(principal: principal, trace: .root()) { try await call(registry) }
  }

  /// Calls as the gateway does, for a traveller.
  func asGateway<R>(tenant: String = "vienna", _ call: (RegistryClient) async throws -> R) async throws -> R {
    let traveller = Principal(kind: .user, id: "USR-1", tenant: tenant, roles: ["traveller"], surface: .edge)
    return try await CallContext.with(principal: .service("prg", onBehalfOf: traveller)) { try await call(registry) }
  }

  /// Calls as a service for itself.
  func asService<R>(_ call: (RegistryClient) async throws -> R) async throws -> R {
    try await CallContext.with(principal: .service("prg")) { try await call(registry) }
  }

  /// The events of a tenant, by type.
  func events(tenant: String = "vienna") async throws -> [EventEnvelope] {
    try await environment.log.list(ListEventsRequest(pageSize: 1_000), tenant: tenant).events
  }
}

/// A city graph that takes what it is told.
final class RememberingCity: LemService {
  let synced = Mutex<[SyncServicePointsRequest]>([])

  func syncServicePoints(_ request: SyncServicePointsRequest, context: ServerContext) async throws -> SyncServicePointsResponse {
    synced.withLock { $0.append(request) }
    return SyncServicePointsResponse(stored: UInt32(request.servicePoints.count))
  }

  func getServicePoint(_ request: GetServicePointRequest, context: ServerContext) async throws -> ServicePointStatus { throw none }
  func listServicePoints(_ request: ListServicePointsRequest, context: ServerContext) async throws -> ListServicePointsResponse {
    throw none
  }
  func checkCoverage(_ request: CheckCoverageRequest, context: ServerContext) async throws -> CheckCoverageResponse { throw none }
  func computeRoute(_ request: ComputeRouteRequest, context: ServerContext) async throws -> ComputeRouteResponse { throw none }
  func listClusters(_ request: ListClustersRequest, context: ServerContext) async throws -> ListClustersResponse { throw none }
  func explainHours(_ request: ExplainHoursRequest, context: ServerContext) async throws -> ExplainHoursResponse { throw none }
  func reserveCapacity(_ request: ReserveCapacityRequest, context: ServerContext) async throws -> ReserveCapacityResponse { throw none }
  func releaseCapacity(_ request: ReleaseCapacityRequest, context: ServerContext) async throws -> CapacityReservation { throw none }
  func listReservations(_ request: ListReservationsRequest, context: ServerContext) async throws -> ListReservationsResponse { throw none }
  func blockServicePoint(_ request: BlockServicePointRequest, context: ServerContext) async throws -> BlockChange { throw none }
  func unblockServicePoint(_ request: UnblockServicePointRequest, context: ServerContext) async throws -> BlockChange { throw none }

  private var none: RPCError { .unimplemented("not in this test") }
}
