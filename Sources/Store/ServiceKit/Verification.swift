/// What one check of `spanwire verify` found: that a service's rows agree with the log, that a ledger balances.
public struct Verification: Sendable, Hashable {
  /// `tjm: journeys agree with the log`
  public let name: String
  /// How many things were looked at.
  public let examined: Int
  /// What does not hold, a sentence each; empty is what one hopes for.
  public let findings: [String]

  public init(_ name: String, examined: Int, findings: [String] = []) {
    self.name = name
    self.examined = examined
    self.findings = findings
  }
}
