import Glibc
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireEntitlements

/// The service on a database of its own, with a clock that stands still.
final class TestLedger: Sendable {
  let environment: ServiceEnvironment
  let server: EntitlementsServer
  let clock: ManualClock
  private let path: String
  private let loops: EventLoopGroup

  static let anna = Principal(kind: .user, id: "anna", tenant: "vienna", roles: ["traveller"], surface: .edge)
  static let olga = Principal(kind: .ops, id: "olga", tenant: "vienna", roles: ["ops_lead"], surface: .ops)

  static func open() async throws -> TestLedger {
    var template = Array("/tmp/spanwire-trutta-XXXXXX".utf8CString)
    let path = String(cString: mkdtemp(&template)!)
    let database = try await SQLiteDatabase.open(
      path: path + "/test.db", durability: .off,
      migrations: [LogStore.migrations, EffectStore.migrations, Idempotency.migrations, EntitlementsServer.migrations])
    return try await TestLedger(database, path)
  }

  private init(_ database: SQLiteDatabase, _ path: String) async throws {
    self.path = path
    clock = ManualClock()
    loops = EventLoopGroup(loops: 1)
    let log = EventLog(database: database, loops: loops)
    try await log.start()
    let effects = EffectDispatcher(database: database, clock: clock)
    environment = ServiceEnvironment(database: database, log: log, effects: effects, clock: clock, ids: IDGenerator(clock: clock))
    server = EntitlementsServer(environment: environment) { id in
      guard id != "VND-NONE" else { return nil }
      return Vendor(vendorID: id, name: "Café \(id)", legalName: "\(id) GmbH", paymentAccount: "AT61 1904 3002 3457 3201")
    }
    effects.onOutcome(of: EntitlementsServer.effectOwner, server.effectOutcome)
  }

  deinit {
    loops.stop()
    for suffix in ["", "-wal", "-shm", ".lock"] { unlink(path + "/test.db" + suffix) }
    rmdir(path)
  }

  // MARK: Callers

  /// A call of a service on somebody's behalf.
  func context(_ subject: Principal, by service: String) -> ServerContext {
    ServerContext(method: Trutta.Methods.settle, peer: .inProcess, principal: .service(service, onBehalfOf: subject))
  }

  func ops() -> ServerContext { ServerContext(method: Trutta.Methods.settle, peer: .inProcess, principal: Self.olga) }

  // MARK: Calls

  func issue(_ quantity: Int64, holder: String, key: String = "issue", lasting: Duration? = nil) async throws -> Entitlement {
    try await server.issue(
      IssueRequest(
        idempotencyKey: key, tenantID: "vienna", productRuntimeSessionID: "PRS-1", holder: holder, tokenID: "TOK-COFFEE",
        quantity: quantity, expiresAt: lasting.map { .init(nanosecondsSinceEpoch: clock.now + $0.nanoseconds) },
        settlementValue: Money(micros: 3_400_000, currency: "EUR"), paymentReference: "PAY-1"), context: context(Self.anna, by: "prg"))
  }

  func redeem(
    _ id: String, key: String, at place: String = "SP-1", vendor: String = "VND-1", quantity: Int64 = 0, by caller: Principal = anna
  ) async throws -> Redemption {
    try await server.redeem(
      RedeemRequest(
        idempotencyKey: key, entitlementID: id, quantity: quantity, servicePointID: place, vendorID: vendor, journeyInstanceID: "JRN-1"),
      context: context(caller, by: "tjm"))
  }

  func get(_ id: String) async throws -> Entitlement {
    try await server.getEntitlement(GetEntitlementRequest(entitlementID: id), context: ops())
  }

  func settle(key: String) async throws -> SettleResponse {
    try await server.settle(SettleRequest(idempotencyKey: key), context: ops())
  }

  // MARK: What is there

  func eventTypes() async throws -> [String] {
    try await environment.log.list(LogFilter(tenant: "vienna"), after: .beginning, limit: 1_000).events.map(\.header.type)
  }

  /// Every row that a refusal must leave as it is.
  func rows() async throws -> [String] {
    try await environment.database.scan { reader in
      try reader.query("SELECT entitlement_id, remaining, phase, revision FROM trutta_entitlements ORDER BY 1") {
        "\($0.get(0, as: String.self)) \($0.get(1, as: Int64.self)) \($0.get(2, as: String.self)) \($0.get(3, as: Int64.self))"
      }
        + reader.query("SELECT ledger_transaction_id, line, quantity FROM trutta_ledger ORDER BY 1, 2") {
          "\($0.get(0, as: String.self)) \($0.get(1, as: Int64.self)) \($0.get(2, as: Int64.self))"
        }
        + reader.query("SELECT redemption_id, settlement_id FROM trutta_redemptions ORDER BY 1") {
          "\($0.get(0, as: String.self)) \($0.get(1, as: String?.self) ?? "-")"
        }
        + reader.query("SELECT settlement_id, total_micros FROM trutta_settlements ORDER BY 1") {
          "\($0.get(0, as: String.self)) \($0.get(1, as: Int64.self))"
        }
    }
  }

  func expectSound() async throws {
    for check in try await server.verify() {
      #expect(check.isSound, "\(check.name)")
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

extension RPCError {
  /// The field paths of a google.rpc.BadRequest.
  var violatedFields: [String] {
    details.lazy.compactMap { try? $0.unpack(as: Google_Rpc_BadRequest.self) }.first?.fieldViolations.map(\.field) ?? []
  }
}
