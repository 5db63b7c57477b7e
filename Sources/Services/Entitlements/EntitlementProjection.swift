import SpanwireProtobuf
import SpanwireSchema

/// What the events of the log say that there should be: entitlements, and what vendors were paid.
///
/// It keeps numbers only, a hundred bytes an entitlement, and is compared with the rows that the same log must have made.
struct EntitlementProjection {
  struct Held: Hashable {
    var issued: Int64
    var remaining: Int64
    var isExpired = false
  }

  /// A tenant's object.
  struct Key: Hashable, Comparable {
    var tenant: String
    var id: String

    static func < (a: Self, b: Self) -> Bool { (a.tenant, a.id) < (b.tenant, b.id) }
  }

  private(set) var held: [Key: Held] = [:]
  /// Totals of settlements, with corrections.
  private(set) var settled: [Key: Int64] = [:]
  /// Tokens that vendors redeemed, less those they were settled for.
  private(set) var unsettled: [Key: Int64] = [:]
  /// What can't be, whatever the rows say: a redemption of what was never issued.
  private(set) var contradictions: [(tenant: String, text: String)] = []

  mutating func take(_ event: EventEnvelope) throws {
    guard let payload = event.payload, let type = EventType(rawValue: event.type) else { return }
    let tenant = event.tenantID
    switch type {
    case .entitlementIssued:
      let it = try payload.unpack(as: EntitlementIssued.self)
      held[Key(tenant: tenant, id: it.entitlementID)] = Held(issued: it.quantity, remaining: it.quantity)
    case .entitlementCompensated:
      let it = try payload.unpack(as: EntitlementCompensated.self)
      held[Key(tenant: tenant, id: it.entitlementID)] = Held(issued: it.quantity, remaining: it.quantity)
    case .entitlementRedeemed:
      let it = try payload.unpack(as: EntitlementRedeemed.self)
      change(Key(tenant: tenant, id: it.entitlementID), by: event.eventID) { $0.remaining -= it.quantity }
      unsettled[Key(tenant: tenant, id: it.vendorID), default: 0] += it.quantity
    case .entitlementExpired:
      let it = try payload.unpack(as: EntitlementExpired.self)
      change(Key(tenant: tenant, id: it.entitlementID), by: event.eventID) { held in
        held.remaining -= it.quantity
        held.isExpired = true
      }
    case .entitlementSettled:
      let it = try payload.unpack(as: EntitlementSettled.self)
      settled[Key(tenant: tenant, id: it.settlementID), default: 0] += it.amount?.micros ?? 0
      unsettled[Key(tenant: tenant, id: it.vendorID), default: 0] -= it.quantity
    case .entitlementSettlementCorrected:
      let it = try payload.unpack(as: SettlementCorrected.self)
      settled[Key(tenant: tenant, id: it.settlementID), default: 0] += it.amount?.micros ?? 0
    default: break
    }
  }

  private mutating func change(_ key: Key, by eventID: String, _ body: (inout Held) -> Void) {
    guard var one = held[key] else {
      contradictions.append((key.tenant, "\(eventID) tells of entitlement \(key.id), which no event before it issued"))
      return
    }
    body(&one)
    held[key] = one
    if one.remaining < 0 { contradictions.append((key.tenant, "\(eventID) leaves entitlement \(key.id) at \(one.remaining)")) }
  }
}
