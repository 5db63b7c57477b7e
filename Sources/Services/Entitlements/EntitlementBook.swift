/// A whole ledger in memory: entitlements, balances, and each outcome under its idempotency key.
///
/// What the stored ledger must do, said in a screenful: the simulation runs against it, and an embedded use without a database can
/// keep it. It grows with every command and forgets nothing.
public struct EntitlementBook: Sendable {
  public enum Command: Sendable, Hashable {
    case issue(id: String, tokenID: String, holder: String, sessionID: String, quantity: Int64, unitValue: Amount, expiresAt: Int64?)
    case redeem(entitlementID: String, quantity: Int64, redemptionID: String, servicePointID: String, vendorID: String)
    case expire(entitlementID: String)
    case withdraw(entitlementID: String)
    case compensate(entitlementID: String, quantity: Int64, newID: String, expiresAt: Int64?)
    case settle(vendorID: String)
  }

  public enum Outcome: Sendable, Hashable {
    case entitlement(HeldEntitlement)
    case redemption(RedeemedTokens, remaining: Int64)
    case settlements([VendorSettlement])
    case refused(EntitlementRefusal)
    case unknownEntitlement(String)
    /// The key was used for another command.
    case keyReused
  }

  public private(set) var entitlements: [String: HeldEntitlement] = [:]
  public private(set) var unsettled: [RedeemedTokens] = []
  public private(set) var postings: [LedgerPosting] = []
  public private(set) var balances = LedgerBalances()
  private var outcomes: [String: (command: Command, outcome: Outcome)] = [:]
  private var compensated: [String: Int64] = [:]

  public init() {}

  /// Performs a command once: the same key with the same command answers with the first outcome.
  public mutating func perform(_ command: Command, key: String, now: Int64) -> Outcome {
    if let known = outcomes[key] { return known.command == command ? known.outcome : .keyReused }
    var outcome: Outcome
    do throws(EntitlementRefusal) { outcome = try perform(command, now: now) } catch { outcome = .refused(error) }
    // A refusal is no outcome: the same key may succeed later.
    switch outcome {
    case .entitlement, .redemption, .settlements: outcomes[key] = (command, outcome)
    case .refused, .unknownEntitlement, .keyReused: break
    }
    return outcome
  }

  private mutating func perform(_ command: Command, now: Int64) throws(EntitlementRefusal) -> Outcome {
    switch command {
    case .issue(let id, let token, let holder, let session, let quantity, let value, let expiresAt):
      let (entitlement, posting) = try EntitlementStateMachine.issue(
        id: id, tokenID: token, holder: holder, sessionID: session, quantity: quantity, unitValue: value, expiresAt: expiresAt, now: now)
      return keep(entitlement, posting)
    case .redeem(let id, let quantity, let redemptionID, let place, let vendor):
      guard let entitlement = entitlements[id] else { return .unknownEntitlement(id) }
      let (next, redemption, posting) = try EntitlementStateMachine.redeem(
        entitlement, quantity: quantity, redemptionID: redemptionID, servicePointID: place, vendorID: vendor, now: now)
      unsettled.append(redemption)
      _ = keep(next, posting)
      return .redemption(redemption, remaining: next.remaining)
    case .expire(let id):
      guard let entitlement = entitlements[id] else { return .unknownEntitlement(id) }
      guard let (next, _, posting) = try EntitlementStateMachine.expire(entitlement, now: now) else { return .entitlement(entitlement) }
      return keep(next, posting)
    case .withdraw(let id):
      guard let entitlement = entitlements[id] else { return .unknownEntitlement(id) }
      guard let (next, _, posting) = EntitlementStateMachine.withdraw(entitlement) else { return .entitlement(entitlement) }
      return keep(next, posting)
    case .compensate(let id, let quantity, let newID, let expiresAt):
      guard let original = entitlements[id] else { return .unknownEntitlement(id) }
      let (entitlement, posting) = try EntitlementStateMachine.compensate(
        original, quantity: quantity, compensatedBefore: compensated[id] ?? 0, newID: newID, expiresAt: expiresAt, now: now)
      compensated[id, default: 0] += quantity
      return keep(entitlement, posting)
    case .settle(let vendor):
      let settlements = try EntitlementStateMachine.settle(vendorID: vendor, unsettled.filter { $0.vendorID == vendor })
      unsettled.removeAll { $0.vendorID == vendor }
      settlements.forEach { post($0.posting) }
      return .settlements(settlements)
    }
  }

  private mutating func keep(_ entitlement: HeldEntitlement, _ posting: LedgerPosting) -> Outcome {
    entitlements[entitlement.id] = entitlement
    post(posting)
    return .entitlement(entitlement)
  }

  private mutating func post(_ posting: LedgerPosting) {
    do { try balances.post(posting) } catch { preconditionFailure("the machine let \(error.key.account) become negative") }
    postings.append(posting)
  }
}
