/// What one check of `spanwire verify` found: that a service's rows agree with the log, that a ledger balances.
public struct Verification: Sendable, Hashable {
  /// Findings that are spelled out; more are only counted.
  public static let maxFindings = 100

  /// `tjm: journeys agree with the log`
  public let name: String
  /// How many things were looked at.
  public private(set) var examined: Int
  /// What does not hold, a sentence each; empty is what one hopes for.
  public private(set) var findings: [String]
  /// How many there were, spelled out or not.
  public private(set) var findingsTotal: Int

  public init(_ name: String, examined: Int = 0, findings: [String] = []) {
    self.name = name
    self.examined = examined
    self.findings = Array(findings.prefix(Self.maxFindings))
    findingsTotal = findings.count
  }

  public var isSound: Bool { findingsTotal == 0 }

  public mutating func examine(_ count: Int = 1) { examined += count }

  public mutating func found(_ finding: @autoclosure () -> String) {
    findingsTotal += 1
    if findings.count < Self.maxFindings { findings.append(finding()) }
  }
}
