/// Every bound of this room, with its reason.
public enum FlagLimits {
  /// Levels of a rule that somebody wrote: JSON that is nested deeper is nobody's, and the evaluator goes down by calling itself.
  public static let ruleDepth = 64
  /// Flags that a flag depends on, by whatever way: the registry's bound. One with more serves its default.
  static let dependencies = 16
  /// Levels of a compiled rule: such a one at the end of the longest chain of dependencies, each of which is some levels deep.
  static let compiledRuleDepth = ruleDepth + dependencies * 6
  /// Operations of one evaluation: a hundred times what the longest rule of flagd's test bed takes; some milliseconds.
  public static let ruleSteps = 20_000
  /// Flags of one set: what a provider takes in one message of under 4 MiB.
  public static let flags = 5_000
  /// Bytes of a flag's or a variant's name.
  public static let keyBytes = 256
  /// Bytes of a configuration: it must fit into a message of gRPC's 4 MiB with room for the rest.
  public static let configurationBytes = 3_500_000
  /// Tenants whose flags are kept read; when there are more, all are read anew.
  public static let tenantsInMemory = 256
  /// How old the flags that are served may be, where another node changed them.
  static let lifetime = Duration.seconds(10)
  /// Flags that are asked of the registry at once: as many as it gives.
  static let page: UInt32 = 1_000
  /// Letters of the reason for a transition: what an audit record shows whole.
  static let reasonCharacters = 500
  /// Approvals that one request names: more than a row of an approval matrix could ask for.
  static let approvals = 32
  /// A page of transitions when the caller does not say, and at most.
  static let defaultHistoryPage = 50
  static let historyPage = 500
  /// Variants of a flag.
  public static let variants = 100
}

/// What is wrong with a flag's definition.
public struct FlagProblem: Error, Sendable, Hashable, CustomStringConvertible {
  public let path: String
  public let reason: String

  init(_ reason: String, path: String = "") {
    self.reason = reason
    self.path = path
  }

  public var description: String { path.isEmpty ? reason : "\(path): \(reason)" }
}
