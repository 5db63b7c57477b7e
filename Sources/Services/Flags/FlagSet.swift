import SpanwireProtobuf
import SpanwireWellKnown

/// A flag as flagd defines it: variants, the one that holds by default, and a rule that may choose another.
public struct Flag: Sendable, Hashable {
  public var key: String
  public var isEnabled: Bool
  public var variants: [String: FlagValue]
  /// Nil: the caller's own default holds.
  public var defaultVariant: String?
  public var targeting: Logic?
  public var metadata: [String: FlagValue]

  public init(
    key: String, isEnabled: Bool = true, variants: [String: FlagValue], defaultVariant: String? = nil, targeting: Logic? = nil,
    metadata: [String: FlagValue] = [:]
  ) {
    self.key = key
    self.isEnabled = isEnabled
    self.variants = variants
    self.defaultVariant = defaultVariant
    self.targeting = targeting
    self.metadata = metadata
  }
}

/// How a flag was resolved, in OpenFeature's words.
public struct FlagResolution: Sendable, Hashable {
  public enum Reason: String, Sendable, Hashable {
    case `static` = "STATIC", `default` = "DEFAULT", targetingMatch = "TARGETING_MATCH", disabled = "DISABLED"
  }

  /// Nil: the caller's own default holds.
  public var value: FlagValue?
  public var variant: String?
  public var reason: Reason
  public var metadata: [String: FlagValue]
}

/// Why a flag could not be resolved.
public enum FlagError: Error, Sendable, Hashable {
  case notFound(String)
  case typeMismatch(expected: FlagType, found: String)
  /// The rule can't be evaluated.
  case targeting(String)
  /// The rule chose, or the default is, a variant that there is not.
  case variantMissing(String)
}

/// What a caller expects a flag to be.
public enum FlagType: String, Sendable, Hashable, CaseIterable {
  case boolean, string, integer, float, object

  func admits(_ value: FlagValue) -> Bool {
    switch (self, value) {
    case (.boolean, .bool), (.string, .string), (.float, .number), (.object, .object), (.object, .list): true
    case (.integer, .number(let number)): Int64(exactly: number) != nil
    default: false
    }
  }
}

/// All flags that a caller can ask for, in the form that flagd's evaluators exchange.
public struct FlagSet: Sendable, Hashable {
  public var flags: [String: Flag]
  public var metadata: [String: FlagValue]

  public init(_ flags: [Flag] = [], metadata: [String: FlagValue] = [:]) {
    self.flags = Dictionary(flags.map { ($0.key, $0) }) { _, last in last }
    self.metadata = metadata
  }

  /// Resolves a flag for somebody.
  ///
  /// - Parameter type: what the caller expects; nil takes any.
  public func resolve(_ key: String, as type: FlagType? = nil, for context: FlagContext) throws(FlagError) -> FlagResolution {
    guard let flag = flags[key] else { throw .notFound(key) }
    var resolution = FlagResolution(value: nil, variant: nil, reason: .disabled, metadata: metadata)
    resolution.metadata.merge(flag.metadata) { _, own in own }
    guard flag.isEnabled else { return resolution }
    resolution.reason = .static
    resolution.variant = flag.defaultVariant
    if let targeting = flag.targeting {
      resolution.reason = .default
      if let chosen = try variant(targeting, of: key, for: context) {
        resolution.reason = .targetingMatch
        resolution.variant = chosen
      }
    }
    guard let variant = resolution.variant else {
      resolution.reason = .default
      return resolution
    }
    guard let value = flag.variants[variant], value != .null || resolution.reason != .targetingMatch else { throw .variantMissing(variant) }
    if let type, !type.admits(value) { throw .typeMismatch(expected: type, found: value.kind) }
    resolution.value = value
    return resolution
  }

  private func variant(_ rule: Logic, of key: String, for context: FlagContext) throws(FlagError) -> String? {
    var evaluation = LogicEvaluation(context, flagKey: key)
    do throws(LogicError) {
      let value = try evaluation.evaluate(rule)
      return value == .null ? nil : value.asText
    } catch {
      throw .targeting(error.message)
    }
  }
}

extension FlagValue {
  /// What kind of value it is, for a message.
  var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .number: "a number"
    case .string: "a string"
    case .list: "a list"
    case .object: "an object"
    }
  }
}

// MARK: flagd's JSON

extension FlagSet {
  /// Reads a flag configuration of flagd (flagd.dev/schema/v0/flags.json): all of it, or every problem it has.
  init(_ members: [String: FlagValue]) throws(FlagProblems) {
    var problems: [FlagProblem] = []
    var set = FlagSet()
    set.metadata = Self.metadata(members["metadata"], "metadata", &problems)
    switch members["flags"] {
    case .object(let flags)?:
      if flags.count > FlagLimits.flags { problems.append(FlagProblem("more than \(FlagLimits.flags) flags", path: "flags")) }
      for (key, value) in flags.sorted(by: { $0.key < $1.key }).prefix(FlagLimits.flags) {
        if let flag = Self.flag(key, value, &problems) { set.flags[key] = flag }
      }
    case nil: break
    case .some: problems.append(FlagProblem("must be an object", path: "flags"))
    }
    guard problems.isEmpty else { throw FlagProblems(problems) }
    self = set
  }

  private static func flag(_ key: String, _ value: FlagValue, _ problems: inout [FlagProblem]) -> Flag? {
    let path = "flags.\(key)"
    func refuse(_ reason: String, _ member: String) { problems.append(FlagProblem(reason, path: "\(path).\(member)")) }
    guard case .object(let members) = value else {
      problems.append(FlagProblem("must be an object", path: path))
      return nil
    }
    var flag = Flag(key: key, variants: [:])
    if key.isEmpty || key.utf8.count > FlagLimits.keyBytes { problems.append(FlagProblem("is no name for a flag", path: path)) }
    switch members["state"] {
    case .string("ENABLED")?: break
    case .string("DISABLED")?: flag.isEnabled = false
    default: refuse("must be ENABLED or DISABLED", "state")
    }
    if case .object(let variants)? = members["variants"], (1...FlagLimits.variants).contains(variants.count) {
      flag.variants = variants
    } else {
      refuse("must be an object of 1 to \(FlagLimits.variants) variants", "variants")
    }
    switch members["defaultVariant"] {
    case nil, .null?, .string("")?: break
    case .string(let name)?: flag.defaultVariant = name
    case .bool(let value)?: flag.defaultVariant = value ? "true" : "false"
    default: refuse("must be the name of a variant", "defaultVariant")
    }
    switch members["targeting"] {
    case nil, .null?: break
    case .object(let rule)? where rule.isEmpty: break
    case .object?:
      do throws(FlagProblem) {
        flag.targeting = try Logic(members["targeting"] ?? .null, levels: FlagLimits.compiledRuleDepth)
      } catch {
        refuse(error.reason, "targeting")
      }
    default: refuse("must be a rule", "targeting")
    }
    flag.metadata = metadata(members["metadata"], "\(path).metadata", &problems)
    return flag
  }

  private static func metadata(_ value: FlagValue?, _ path: String, _ problems: inout [FlagProblem]) -> [String: FlagValue] {
    switch value {
    case nil, .null?: return [:]
    case .object(let members)?:
      for (key, value) in members.sorted(by: { $0.key < $1.key }) {
        switch value {
        case .bool, .number, .string: if !key.isEmpty { continue }
        default: break
        }
        problems.append(FlagProblem("must be a named text, number or boolean", path: "\(path).\(key)"))
      }
      return members
    default:
      problems.append(FlagProblem("must be an object", path: path))
      return [:]
    }
  }
}

/// Everything that is wrong with a set of flags.
public struct FlagProblems: Error, Sendable, Hashable, CustomStringConvertible {
  public let problems: [FlagProblem]
  init(_ problems: [FlagProblem]) { self.problems = problems }
  public var description: String { problems.map(\.description).joined(separator: "\n") }
}
