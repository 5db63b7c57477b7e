/// A targeting rule in JSONLogic, read once and evaluated often.
///
/// An object with one member is an operation, whose name is the member's and whose arguments are its value; everything else stands for
/// itself. The operations are those of jsonlogic.com and flagd's own: `fractional`, `sem_ver`, `starts_with`, `ends_with`.
public indirect enum Logic: Sendable, Hashable {
  case literal(FlagValue)
  case list([Logic])
  case call(Operation, [Logic])
  /// An operation that nobody knows: evaluating it is an error, having it is none.
  case unknown(String)

  public enum Operation: String, Sendable, Hashable {
    case `if`, and, or, filter, reduce, map, all, some, none
    case equal = "==", notEqual = "!=", identical = "===", notIdentical = "!=="
    case less = "<", greater = ">", lessOrEqual = "<=", greaterOrEqual = ">="
    case not = "!", isTrue = "!!"
    case add = "+", multiply = "*", subtract = "-", divide = "/", remainder = "%", min, max
    case `in`, cat, substr, merge, `var`, missing, log
    case missingSome = "missing_some"
    case fractional
    case semVer = "sem_ver", startsWith = "starts_with", endsWith = "ends_with"
  }

  /// Reads a rule.
  ///
  /// - Parameter levels: how many it may go down.
  public init(_ value: FlagValue, levels: Int = FlagLimits.ruleDepth) throws(FlagProblem) {
    guard levels > 0 else { throw FlagProblem("a rule is nested too deep: \(FlagLimits.ruleDepth) levels are enough") }
    func read(_ values: [FlagValue]) throws(FlagProblem) -> [Logic] {
      var rules: [Logic] = []
      for value in values { rules.append(try Logic(value, levels: levels - 1)) }
      return rules
    }
    switch value {
    case .list(let values): self = .list(try read(values))
    case .object(let members):
      guard members.count == 1, let (name, argument) = members.first else {
        self = .literal(value)
        return
      }
      guard let operation = name == "?:" ? .if : Operation(rawValue: name) else {
        self = .unknown(name)
        return
      }
      if case .list(let values) = argument {
        self = .call(operation, try read(values))
      } else {
        self = .call(operation, [try Logic(argument, levels: levels - 1)])
      }
    default: self = .literal(value)
    }
  }

  /// The first operation in it that nobody knows.
  var unknownOperation: String? {
    switch self {
    case .literal: nil
    case .unknown(let name): name
    case .list(let rules), .call(_, let rules): rules.lazy.compactMap(\.unknownOperation).first
    }
  }
}

/// What a rule is evaluated against: who asks, for which flag, and when.
public struct FlagContext: Sendable {
  public var attributes: [String: FlagValue]
  public var targetingKey: String?
  /// Seconds since 1970.
  public var now: Int64

  public init(_ attributes: [String: FlagValue] = [:], targetingKey: String? = nil, now: Int64) {
    self.attributes = attributes
    self.targetingKey = targetingKey
    self.now = now
  }
}

/// Why a rule came to nothing.
struct LogicError: Error {
  let message: String
}

/// One evaluation: counts what it does, so that no rule can do too much.
struct LogicEvaluation {
  let context: FlagContext
  let flagKey: String
  private var steps = 0

  init(_ context: FlagContext, flagKey: String) {
    self.context = context
    self.flagKey = flagKey
  }

  /// The members that rules find: what the caller sent, and what we know.
  private var root: FlagValue {
    var members = context.attributes
    members["$flagd"] = .object(["flagKey": .string(flagKey), "timestamp": .number(Double(context.now))])
    members["targetingKey"] = context.targetingKey.map(FlagValue.string) ?? .null
    return .object(members)
  }

  /// - Parameter item: what `var` looks into instead of the context, inside `map` and its like.
  mutating func evaluate(_ rule: Logic, _ item: FlagValue? = nil) throws(LogicError) -> FlagValue {
    steps += 1
    guard steps <= FlagLimits.ruleSteps else { throw LogicError(message: "the rule takes more than \(FlagLimits.ruleSteps) steps") }
    switch rule {
    case .literal(let value): return value
    case .list(let rules): return .list(try evaluate(rules, item))
    case .unknown(let name): throw LogicError(message: "'\(name)' is no operation")
    case .call(let operation, let arguments):
      switch operation {
      case .if: return try decide(arguments, item)
      case .and, .or: return try junction(arguments, item, endsOn: operation == .or)
      case .filter, .map, .reduce, .all, .some, .none: return try iterate(operation, arguments, item)
      default: return try apply(operation, try evaluate(arguments, item), item)
      }
    }
  }

  private mutating func evaluate(_ rules: [Logic], _ item: FlagValue?) throws(LogicError) -> [FlagValue] {
    var values: [FlagValue] = []
    values.reserveCapacity(rules.count)
    for rule in rules { values.append(try evaluate(rule, item)) }
    return values
  }

  // MARK: Operations that choose what they evaluate

  private mutating func decide(_ arguments: [Logic], _ item: FlagValue?) throws(LogicError) -> FlagValue {
    var index = 0
    while index + 1 < arguments.count {
      if try evaluate(arguments[index], item).isTrue { return try evaluate(arguments[index + 1], item) }
      index += 2
    }
    return index < arguments.count ? try evaluate(arguments[index], item) : .null
  }

  private mutating func junction(_ arguments: [Logic], _ item: FlagValue?, endsOn end: Bool) throws(LogicError) -> FlagValue {
    var current = FlagValue.null
    for argument in arguments {
      current = try evaluate(argument, item)
      if current.isTrue == end { return current }
    }
    return current
  }

  private mutating func iterate(
    _ operation: Logic.Operation, _ arguments: [Logic], _ item: FlagValue?
  ) throws(LogicError) -> FlagValue {
    let rule = arguments.count > 1 ? arguments[1] : .literal(.null)
    if arguments.count < 2, operation != .map, operation != .reduce {
      return operation == .filter ? .list([]) : .bool(operation == .none)
    }
    guard let first = arguments.first else { return operation == .map ? .list([]) : .null }
    let source = try evaluate(first, item)
    let start = operation == .reduce && arguments.count > 2 ? try evaluate(arguments[2], nil, literally: true) : .null
    guard case .list(let items) = source else {
      return switch operation {
      case .filter, .map: .list([])
      case .reduce: start
      default: .bool(operation == .none)
      }
    }
    var (values, accumulator) = ([FlagValue](), start)
    for value in items {
      switch operation {
      case .map: values.append(try evaluate(rule, value))
      case .filter: if try evaluate(rule, value).isTrue { values.append(value) }
      case .reduce: accumulator = try evaluate(rule, .object(["current": value, "accumulator": accumulator]))
      case .all: if try !evaluate(rule, value).isTrue { return .bool(false) }
      default: if try evaluate(rule, value).isTrue { return .bool(operation == .some) }
      }
    }
    return switch operation {
    case .map, .filter: .list(values)
    case .reduce: accumulator
    // That all of nothing is false is JSONLogic's choice.
    case .all: .bool(!items.isEmpty)
    default: .bool(operation == .none)
    }
  }

  /// `reduce` begins with its third argument as it stands there.
  private mutating func evaluate(_ rule: Logic, _ item: FlagValue?, literally: Bool) throws(LogicError) -> FlagValue {
    if case .literal(let value) = rule { return value }
    return try evaluate(rule, item)
  }

  // MARK: The rest

  private func apply(_ operation: Logic.Operation, _ values: [FlagValue], _ item: FlagValue?) throws(LogicError) -> FlagValue {
    func value(_ index: Int) -> FlagValue { index < values.count ? values[index] : .null }
    func ordered(_ byNumber: (Double, Double) -> Bool, _ byText: (_ isLess: Bool, _ isSame: Bool) -> Bool) -> FlagValue {
      let holds = value(0).compare(value(1), byNumber, byText)
      return .bool(holds && (value(2) == .null || value(1).compare(value(2), byNumber, byText)))
    }
    switch operation {
    case .equal: return .bool(value(0).isEqual(to: value(1)))
    case .notEqual: return .bool(!value(0).isEqual(to: value(1)))
    case .identical: return .bool(value(0).isIdentical(to: value(1)))
    case .notIdentical: return .bool(!value(0).isIdentical(to: value(1)))
    case .less: return ordered(<) { less, _ in less }
    case .greater: return ordered(>) { less, same in !less && !same }
    case .lessOrEqual: return ordered(<=) { less, same in less || same }
    case .greaterOrEqual: return ordered(>=) { less, _ in !less }
    case .not: return .bool(!value(0).isTrue)
    case .isTrue: return .bool(value(0).isTrue)
    case .add: return .number(values.reduce(0) { $0 + $1.asNumber })
    case .multiply: return .number(values.reduce(1) { $0 * $1.asNumber })
    case .subtract: return .number(value(1) == .null ? -value(0).asNumber : value(0).asNumber - value(1).asNumber)
    case .divide: return .number(value(0).asNumber / value(1).asNumber)
    case .remainder: return .number(value(0).asNumber.truncatingRemainder(dividingBy: value(1).asNumber))
    case .min: return .number(values.map(\.asNumber).min() ?? .nan)
    case .max: return .number(values.map(\.asNumber).max() ?? .nan)
    case .in:
      switch value(1) {
      case .list(let values): return .bool(values.contains { $0.isIdentical(to: value(0)) })
      case .string(let text): return .bool(Self.contains(text, value(0).asText))
      default: return .bool(false)
      }
    case .cat: return .string(values.map(\.asText).joined())
    case .substr: return .string(Self.part(of: value(0).asText, from: value(1), length: value(2)))
    case .merge:
      return .list(values.flatMap { value -> [FlagValue] in if case .list(let inner) = value { inner } else { [value] } })
    case .var: return variable(value(0), item) ?? value(1)
    case .missing:
      if case .list(let keys)? = values.first { return .list(missing(keys, item)) }
      return .list(missing(values, item))
    case .missingSome:
      guard case .list(let keys) = value(1) else { return .list([]) }
      let missing = missing(keys, item)
      return .list(Double(keys.count - missing.count) >= value(0).asNumber ? [] : missing)
    case .log: return value(0)
    case .fractional:
      return Fractional.variant(values, flagKey: flagKey, targetingKey: variable(.string("targetingKey"), item)) ?? .null
    case .semVer:
      guard values.count == 3, case .string(let relation) = values[1] else { return .null }
      return SemanticVersion.holds(values[0].asText, relation, values[2].asText).map(FlagValue.bool) ?? .null
    case .startsWith, .endsWith:
      guard values.count == 2, case .string(let text) = values[0], case .string(let part) = values[1] else { return .null }
      return .bool(operation == .startsWith ? text.utf8.starts(with: part.utf8) : text.utf8.reversed().starts(with: part.utf8.reversed()))
    case .if, .and, .or, .filter, .reduce, .map, .all, .some, .none: preconditionFailure("\(operation) chooses what it evaluates")
    }
  }

  /// What a path leads to; nil where it leads to nothing.
  private func variable(_ key: FlagValue, _ item: FlagValue?) -> FlagValue? {
    if key == .null || key == .string("") { return item ?? root }
    var path = key.asText.split(separator: ".", omittingEmptySubsequences: false)
    var current: FlagValue
    if let item {
      current = item
    } else {
      let first = String(path.removeFirst())
      switch first {
      case "$flagd": current = .object(["flagKey": .string(flagKey), "timestamp": .number(Double(context.now))])
      case "targetingKey": current = context.targetingKey.map(FlagValue.string) ?? .null
      default: current = context.attributes[first] ?? .null
      }
    }
    for step in path {
      switch current {
      case .object(let members): current = members[String(step)] ?? .null
      case .list(let values):
        if step == "length" { return .number(Double(values.count)) }
        guard let index = Int(step), String(index) == step, values.indices.contains(index) else { return nil }
        current = values[index]
      case .string(let text):
        if step == "length" { return .number(Double(text.unicodeScalars.count)) }
        let scalars = Array(text.unicodeScalars)
        guard let index = Int(step), String(index) == step, scalars.indices.contains(index) else { return nil }
        current = .string(String(scalars[index]))
      default: return nil
      }
    }
    return current == .null ? nil : current
  }

  private func missing(_ keys: [FlagValue], _ item: FlagValue?) -> [FlagValue] {
    keys.filter { key in variable(key, item).map { $0 == .string("") } ?? true }
  }

  private static func contains(_ text: String, _ part: String) -> Bool {
    let (text, part) = (Array(text.utf8), Array(part.utf8))
    guard part.count <= text.count else { return false }
    return (0...text.count - part.count).contains { text[$0..<$0 + part.count].elementsEqual(part) }
  }

  /// From a place, counted from the end if it is negative; as many as told, or up to so many before the end.
  private static func part(of text: String, from: FlagValue, length: FlagValue) -> String {
    let scalars = Array(text.unicodeScalars)
    func whole(_ value: Double) -> Int { Int(max(-1e9, min(value, 1e9))) }
    let from = from.asNumber
    var start = from.isNaN ? 0 : whole(from)
    start = start < 0 ? max(0, scalars.count + start) : min(start, scalars.count)
    var end = scalars.count
    if length != .null {
      let count = length.asNumber.isNaN ? 0 : whole(length.asNumber)
      end = count < 0 ? scalars.count + count : start + count
    }
    end = max(start, min(end, scalars.count))
    return String(String.UnicodeScalarView(scalars[start..<end]))
  }
}
