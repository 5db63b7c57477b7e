import CSQLite
import Foundation
import SpanwireDatabase
import SpanwireObservability
import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

@testable import SpanwirePlatform

/// The platform with two tenants: one that owns something, and one that would like to have it.
final class TwoTenants: Sendable {
  static let owner = "graz"
  static let other = "linz"

  let services: PlatformServices
  private let router: ServerRouter
  private let databases: [SQLiteDatabase]
  private let folder: URL

  init() async throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "isolation-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let database = try await SQLiteDatabase.open(
      path: folder.path + "/spanwire.db", durability: .off, migrations: PlatformServices.migrations)
    let spans = try await SQLiteDatabase.open(
      path: folder.path + "/spans.db", durability: .off, migrations: [CollectorServer.migrations])
    databases = [database, spans]
    // A Tuesday morning: cafés are open.
    let clock = OffsetClock(startingAt: RFC3339.parse("2026-05-19T09:00:00+02:00")!)
    services = try await PlatformServices(
      database: database, spans: spans, files: [("spanwire.db", database), ("spans.db", spans)], folder: folder.path, clock: clock,
      isSandbox: true,
      flagsTenant: Self.other)
    router = services.connect(observer: services.recorder)
    try await services.start()
    services.keepHouse()
  }

  func stop() async {
    await services.endSubscriptions()
    await services.stop()
    for database in databases { await database.close() }
    try? FileManager.default.removeItem(at: folder)
  }

  // MARK: Who there is

  /// Everything that an operator of a tenant can be.
  private static let roles = [
    "ops_lead", "ops_operator", "support_agent", "product_owner", "market_manager", "finance_settlement",
  ]

  /// The tenants' people bear the same names, so that nothing but the tenant tells them apart.
  static func principal(_ kind: Principal.Kind, of tenant: String) -> Principal {
    switch kind {
    case .anonymous: .anonymous
    case .user: Principal(kind: .user, id: "anna", tenant: tenant, roles: ["traveller"], surface: .edge)
    case .ops: Principal(kind: .ops, id: "otto", tenant: tenant, roles: roles, surface: .ops)
    case .agent, .worker:
      Principal(kind: kind, id: "planner", tenant: tenant, roles: ["external_agent"], scopes: [Belongings.agent], surface: .worker)
    case .service: .service("prg", onBehalfOf: principal(.ops, of: tenant))
    }
  }

  /// Everybody of a tenant to whom a method is open, services on behalf of its people.
  static func callers(of method: MethodDescriptor, from tenant: String) -> [Principal] {
    guard let exposure = method.exposure else { return [] }
    var callers: [Principal] = []
    for kind in Principal.Kind.allCases where exposure.principals.rawValue & (1 << kind.rawValue) != 0 {
      guard kind == .service else {
        callers.append(principal(kind, of: tenant))
        continue
      }
      for service in exposure.services.isEmpty ? ["prg"] : exposure.services {
        callers += [.ops, .user].map { .service(service, onBehalfOf: principal($0, of: tenant)) }
      }
    }
    return callers.filter(exposure.admits)
  }

  // MARK: Calls

  /// Calls as somebody, with typed clients.
  func `as`<R: Sendable>(
    _ principal: Principal, _ body: (InProcessChannel) async throws -> R
  ) async throws -> R {
    let service = principal.kind == .service ? principal.id : nil
    let channel = InProcessChannel(router, service: service, crossing: .bytes)
    return try await CallContext.with(principal: service == nil ? principal : principal.subject) { try await body(channel) }
  }

  /// What came of a call: its code, what was said, and the bytes of every answer.
  struct Outcome {
    var code: RPCError.Code?
    var message = ""
    var answers: [[UInt8]] = []
  }

  /// Answers of a stream that are looked at.
  private static let mostAnswers = 200

  func call(_ method: MethodDescriptor, _ request: [UInt8], as principal: Principal) async -> Outcome {
    var outcome = Outcome()
    do {
      outcome.answers = try await self.as(principal) { channel in
        // A stream that nobody ends is left after a moment; everything else ends by itself.
        let call = try await channel.start(method, CallOptions(timeout: method.kind.serverStreams ? .milliseconds(200) : .seconds(60)))
        _ = try call.send(encoded: request)
        call.finishSending()
        var answers: [[UInt8]] = []
        do {
          // Every field is unknown to Empty, so it keeps the bytes as they came.
          while answers.count < Self.mostAnswers, let answer = try await call.receive(Google_Protobuf_Empty.self) {
            answers.append(answer.unknownFields.bytes)
          }
        } catch let error as RPCError where error.code == .deadlineExceeded && method.kind.serverStreams {}
        call.cancel()
        return answers
      }
    } catch {
      let error = RPCError.outcome(of: error, in: nil)
      (outcome.code, outcome.message) = (error.code, error.message)
    }
    return outcome
  }

  /// Waits until the services have done what they have to do for a tenant by now.
  func settle(_ tenant: String) async throws {
    let events = Self.principal(.ops, of: tenant)
    let clock = services.environment.clock
    while true {
      let pending = try await self.as(events) { try await EventsClient($0).listEffects(ListEffectsRequest(state: .pending, pageSize: 100)) }
      if !pending.effects.contains(where: { ($0.dueAt?.nanosecondsSinceEpoch ?? 0) <= clock.now }) { return }
    }
  }

  // MARK: Rows

  /// Every row of a tenant in every table, as text with the table's name; how each was at a moment.
  func rows(of tenant: String) throws -> Set<String> {
    var rows: Set<String> = []
    for name in ["spanwire.db", "spans.db"] {
      var connection: OpaquePointer?
      guard sqlite3_open_v2(folder.path + "/" + name, &connection, SQLITE_OPEN_READONLY, nil) == SQLITE_OK else {
        throw PlatformError("\(name) cannot be read")
      }
      defer { sqlite3_close(connection) }
      let tables = try query(connection, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").map { $0[0] }
      for table in tables {
        let columns = try query(connection, "SELECT name FROM pragma_table_info('\(table)')").map { $0[0] }
        let tenants = columns.filter { ["tenant", "tenant_id", "policy_tenant"].contains($0) }
        if tenants.isEmpty { continue }
        // Bytes may be kept as they are or compressed: that they change is all there is to see of them.
        let condition = tenants.map { "\($0) = '\(tenant)'" }.joined(separator: " OR ")
        for row in try query(
          connection, "SELECT \(columns.map { "quote(\($0))" }.joined(separator: ", ")) FROM \(table) WHERE \(condition)")
        {
          rows.insert("\(name) \(table): \(row.joined(separator: " | "))")
        }
      }
    }
    return rows
  }

  private func query(_ connection: OpaquePointer?, _ sql: String) throws -> [[String]] {
    var statement: OpaquePointer?
    guard sqlite3_prepare_v2(connection, sql, -1, &statement, nil) == SQLITE_OK else {
      throw PlatformError("\(sql): \(String(cString: sqlite3_errmsg(connection)))")
    }
    defer { sqlite3_finalize(statement) }
    var rows: [[String]] = []
    while sqlite3_step(statement) == SQLITE_ROW {
      rows.append((0..<sqlite3_column_count(statement)).map { sqlite3_column_text(statement, $0).map { String(cString: $0) } ?? "" })
    }
    return rows
  }
}
