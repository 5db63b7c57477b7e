import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema

/// One control action as it was decided.
struct ControlRow: Sendable {
  var id: String
  var request: ApplyControlRequest
  var actor: String
  /// The rule of policy that allows it.
  var rule: String
  var incidentID: String
}

enum ControlState: Int, Sendable {
  case underWay = 0
  case applied = 1
  case refused = 2
}

enum ControlResult: Sendable {
  case underWay
  case applied(ApplyControlResponse)
  case refused(RPCError)
}

/// Control actions while and after other services do their part.
enum ControlStore {
  static func insert(_ control: ControlRow, tenant: String, in tx: borrowing Transaction) throws {
    let answer = ApplyControlResponse(incidentID: control.incidentID, policyRule: control.rule)
    try tx.execute(
      "INSERT INTO prg_controls (tenant_id, control_id, request, actor, response, state) VALUES (?1, ?2, ?3, ?4, ?5, 0)", tenant,
      control.id, control.request.encoded(), control.actor, answer.encoded())
  }

  static func find(
    _ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> (control: ControlRow, state: ControlState, response: ApplyControlResponse)? {
    try reader.first("SELECT request, actor, response, state FROM prg_controls WHERE tenant_id = ?1 AND control_id = ?2", tenant, id) {
      row in
      let answer = try ApplyControlResponse(decoding: row.get(2, as: [UInt8].self))
      let control = ControlRow(
        id: id, request: try ApplyControlRequest(decoding: row.get(0, as: [UInt8].self)), actor: row[1], rule: answer.policyRule,
        incidentID: answer.incidentID)
      return (control, ControlState(rawValue: row[3]) ?? .underWay, answer)
    }
  }

  static func keep(_ answer: ApplyControlResponse, of id: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE prg_controls SET response = ?3 WHERE tenant_id = ?1 AND control_id = ?2", tenant, id, answer.encoded(), expecting: .rows(1))
  }

  static func conclude(_ answer: ApplyControlResponse, of id: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE prg_controls SET response = ?3, state = 1 WHERE tenant_id = ?1 AND control_id = ?2", tenant, id, answer.encoded(),
      expecting: .rows(1))
  }

  static func refuse(_ id: String, _ error: RPCError, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE prg_controls SET failure = ?3, state = 2 WHERE tenant_id = ?1 AND control_id = ?2", tenant, id, error.stored,
      expecting: .rows(1))
  }

  static func result(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> ControlResult {
    let found = try reader.first(
      "SELECT response, state, failure FROM prg_controls WHERE tenant_id = ?1 AND control_id = ?2", tenant, id
    ) { row -> ControlResult in
      switch ControlState(rawValue: row[1]) {
      case .applied: return .applied(try ApplyControlResponse(decoding: row.get(0, as: [UInt8].self)))
      case .refused: return .refused(RPCError(stored: row.get(2, as: [UInt8]?.self) ?? []))
      case .underWay, nil: return .underWay
      }
    }
    return found ?? .underWay
  }
}
