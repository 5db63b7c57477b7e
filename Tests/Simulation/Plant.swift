import Foundation
import SpanwireDatabase

/// A bug put in from outside the product, to see whether the simulation finds it: a store that does something wrong, or a product that
/// is not what the simulation believes it to be.
enum Plant: String, CaseIterable {
  /// The store loses a timer that was set.
  case lostTimer = "lost-timer"
  /// The store forgets under which key tokens were redeemed.
  case doubleRedeem = "double-redeem"
  /// The store skips a number of a stream.
  case gapInSequence = "gap-in-sequence"
  /// An applied configuration is acknowledged and does not come into force.
  case staleConfig = "stale-config"
  /// The journey takes another way than its document says.
  case wrongBranch = "wrong-branch"

  /// The invariant that has to find it.
  var rules: Set<String> {
    switch self {
    case .lostTimer: ["timer"]
    case .doubleRedeem: ["answer", "redemption"]
    // The platform's own verification may be the first to look.
    case .gapInSequence: ["sequence", "verify"]
    case .staleConfig: ["config"]
    case .wrongBranch: ["branch"]
    }
  }

  func prepare(_ store: SimulatedStore) {
    switch self {
    case .lostTimer:
      store.tamper = { _, transaction in
        try transaction.execute("DELETE FROM effect WHERE state = 0 AND method = 'timer' AND number % 3 = 0")
      }
    case .doubleRedeem:
      store.tamper = { name, transaction in
        guard name == "trutta.redeem" else { return }
        try transaction.execute("UPDATE trutta_redemptions SET idempotency_key = redemption_id WHERE idempotency_key <> redemption_id")
      }
    case .gapInSequence:
      store.tamper = { _, transaction in
        try transaction.execute("UPDATE event_stream SET last_sequence = 8 WHERE last_sequence = 7")
      }
    case .staleConfig:
      store.tamper = { name, transaction in
        guard name == "registry.apply" else { return }
        try transaction.execute(
          """
          UPDATE registry_definition SET definition = (
            SELECT h.definition FROM registry_history AS h
            WHERE h.tenant_id = registry_definition.tenant_id AND h.kind = registry_definition.kind AND h.id = registry_definition.id
            ORDER BY h.revision LIMIT 1)
          WHERE id = 'PRD-SIM'
          """)
        // The past says so too, lest the registry's own proof find it before anybody is served by it.
        try transaction.execute(
          """
          UPDATE registry_history SET definition = (
            SELECT d.definition FROM registry_definition AS d
            WHERE d.tenant_id = registry_history.tenant_id AND d.kind = registry_history.kind AND d.id = registry_history.id)
          WHERE id = 'PRD-SIM'
          """)
      }
    case .wrongBranch: break
    }
  }

  /// What it makes of the product.
  func change(_ bundle: String) -> String {
    guard self == .wrongBranch else { return bundle }
    return
      bundle
      .replacingOccurrences(of: "to: visit, on: left", with: "to: right, on: left")
      .replacingOccurrences(of: "to: right, on: right", with: "to: visit, on: right")
  }
}
