import SpanwireSchema
import SpanwireServiceKit

/// A plan as it is frozen: its canonical bytes and their SHA-256. Nothing can change it any more.
///
/// The bytes are the plan's protobuf encoding, which is canonical since ours writes fields in the order of their numbers and leaves out what
/// is empty, and the message has no map.
public struct FrozenPlan: Sendable, Hashable {
  /// How plans are made today; a change of meaning counts it up, so that an old plan is never read by new rules.
  public static let rules: UInt32 = 1

  public let bytes: [UInt8]
  public let hash: [UInt8]

  /// Freezes a plan.
  public init(_ plan: TurnPlan) {
    var plan = plan
    plan.rules = Self.rules
    bytes = plan.encoded()
    hash = SHA256.hash(bytes)
  }

  /// The determinism seed of a turn under this plan.
  public func seed(of key: TurnKey) -> UInt64 { Self.seed(of: key, under: hash) }

  /// The first eight bytes of SHA-256 over the plan's hash and the turn's key, so that a replay makes the same.
  public static func seed(of key: TurnKey, under planHash: [UInt8]) -> UInt64 {
    var hash = SHA256()
    hash.update(planHash)
    hash.update("\(key.tenant)\n\(key.task)\n\(key.epoch)")
    return hash.finish().prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
  }
}
