import SpanwireDatabase
import SpanwirePlatform
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTestChance
import Synchronization

/// The platform in a simulated process, on a database that outlives it.
final class World: @unchecked Sendable {
  // Sendable: the simulation's thread alone touches it.

  let simulator: Simulator
  private let path: String
  private let ids: Mutex<Chance>
  private var services: PlatformServices!
  private var router: ServerRouter!
  private(set) var store: SimulatedStore!
  /// What every store is told when it is opened: a planted bug.
  let prepare: (SimulatedStore) -> Void
  /// Crashes so far.
  private(set) var crashes = 0

  /// Two who know nothing of each other, with the same product and the same keys.
  static let tenants = ["sim-a", "sim-b"]

  /// Opens the platform on a file, which is made when it isn't there.
  init(_ simulator: Simulator, path: String, seed: UInt64, prepare: @escaping (SimulatedStore) -> Void = { _ in }) throws {
    self.simulator = simulator
    self.path = path
    self.prepare = prepare
    ids = Mutex(Chance(seed: ~seed))
    try open()
  }

  private func open() throws {
    let path = path
    let engine = try SimulatedStore.now {
      try await SQLiteDatabase.open(path: path, durability: .off, migrations: PlatformServices.migrations)
    }.get()
    let store = SimulatedStore(engine)
    prepare(store)
    self.store = store
    simulator.store = store
    let loops = simulator.loops
    let ids: @Sendable () -> UInt64 = { [unowned self] in self.ids.withLock { $0.next() } }
    // No spans: the store of the services stands in for theirs, and is never asked.
    services = try simulator.await {
      try await PlatformServices(database: store, spans: store, clock: SystemClock(), loops: loops, random: ids)
    }
    router = services.connect()
    let services = services!
    try simulator.await { try await services.start() }
  }

  /// The process is gone at this very commit, or already was when the store died; after a while another begins on what is in the file.
  func restart() throws {
    crashes += 1
    try end()
    simulator.skip(.milliseconds(simulator.chance.pick([0, 20, 2_000, 60_000])!))
    try open()
  }

  /// Ends the process as it is; what it was about to do it does no more.
  func end() throws {
    guard let services else { return }
    store.crash()
    try simulator.await {
      await services.endSubscriptions()
      await services.stop()
    }
    simulator.settle()
    store.close()
    (self.services, router, store, simulator.store) = (nil, nil, nil, nil)
    // The loops let go of what they read with.
    simulator.settle()
  }

  // MARK: Calls

  /// Begins a call as somebody from outside.
  func begin<R: Sendable>(
    as principal: Principal, within limit: Duration? = nil, _ body: @escaping @Sendable (any Channel) async throws -> R
  ) -> Pending<R> {
    let channel = InProcessChannel(router)
    return simulator.begin {
      try await CallContext.with(deadline: limit.map { .after($0) } ?? .never, principal: principal) { try await body(channel) }
    }
  }

  /// A channel of one of the services, for calls that only services may make.
  func channel(of service: String) -> any Channel { InProcessChannel(router, service: service) }

  /// A call whose answer is waited for.
  func call<R: Sendable>(as principal: Principal, _ body: @escaping @Sendable (any Channel) async throws -> R) throws -> R {
    let pending = begin(as: principal, body)
    guard simulator.run(patience: .seconds(3_600), until: { pending.result != nil }) else { throw Hang() }
    return try pending.result!.get()
  }

  // MARK: Who there is

  static func operatorOlga(of tenant: String) -> Principal {
    Principal(kind: .ops, id: "olga", tenant: tenant, roles: ["ops_lead"], surface: .ops)
  }

  static func traveller(_ id: String, of tenant: String) -> Principal {
    Principal(kind: .user, id: id, tenant: tenant, roles: ["traveller"], surface: .edge)
  }
}
