/// Every bound of this room, with its reason.
public enum FlagLimits {
  /// Levels of a rule: JSON that is nested deeper is nobody's rule, and the evaluator goes down by calling itself.
  public static let ruleDepth = 64
  /// Operations of one evaluation: a hundred times what the longest rule of flagd's test bed takes; some milliseconds.
  public static let ruleSteps = 20_000
  /// Flags of one set: what a provider takes in one message of under 4 MiB.
  public static let flags = 5_000
  /// Bytes of a flag's or a variant's name.
  public static let keyBytes = 256
  /// Bytes of a configuration: it must fit into a message of gRPC's 4 MiB with room for the rest.
  public static let configurationBytes = 3_500_000
  /// Letters of a reason that an operator gives: what an audit record shows whole.
  public static let reasonCharacters = 500
  /// Tenants whose flags are kept read; when there are more, all are read anew.
  public static let tenantsInMemory = 256
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
