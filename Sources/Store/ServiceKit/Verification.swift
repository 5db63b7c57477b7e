/// What one check of `spanwire verify` found: that a service's rows agree with the log, that a ledger balances.
public struct Verification: Sendable, Hashable {
  /// Findings that are spelled out; more are only counted.
  public static let maxFindings = 100

  /// Whose a finding is, and so who may read it.
  public enum Concern: Sendable, Hashable {
    /// It names nothing of any tenant's: a position in the log, the number of a page or of an audit record.
    case everyone
    /// It names something of this tenant's.
    case tenant(String)
    /// It names what may be any tenant's.
    case platform
  }

  private struct Finding: Sendable, Hashable {
    let text: String
    let concern: Concern
  }

  /// `tjm: journeys agree with the log`
  public let name: String
  /// How many things were looked at.
  public private(set) var examined: Int
  /// How many findings there were, spelled out or not.
  public private(set) var findingsTotal = 0
  private var kept: [Finding] = []

  public init(_ name: String, examined: Int = 0) {
    self.name = name
    self.examined = examined
  }

  /// What does not hold, a sentence each; empty is what one hopes for. For the platform's own people: it names what is of any tenant.
  public var findings: [String] { kept.map(\.text) }

  public var isSound: Bool { findingsTotal == 0 }

  public mutating func examine(_ count: Int = 1) { examined += count }

  /// Takes a finding, and of whom it tells; where that is not said, it may name anything.
  public mutating func found(_ finding: @autoclosure () -> String, of concern: Concern = .platform) {
    findingsTotal += 1
    if kept.count < Self.maxFindings { kept.append(Finding(text: finding(), concern: concern)) }
  }

  /// The findings as a caller may read them: those that name another tenant's are only counted.
  public func findings(for caller: Caller) -> [String] {
    if caller.isOfPlatform { return findings }
    let own = kept.filter { $0.concern == .everyone || $0.concern == .tenant(caller.tenant) }
    let others = kept.count - own.count
    return own.map(\.text) + (others > 0 ? ["\(others) more are about what is not tenant \(caller.tenant)'s"] : [])
  }
}
