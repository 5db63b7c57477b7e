import Foundation
import SpanwireProtobuf
import SpanwireWellKnown
import Testing

@testable import SpanwireFlags

/// The reference evaluator of flagd, PyPI's openfeature-flagd-core, on flags and contexts made at random.
///
/// What is left out is where Python shows through: the remainder of negative numbers, booleans within texts, numbers as texts whose
/// fraction is zero, divisions by zero, comparing a list with itself, and booleans taken for numbers where a number is asked for.
@Suite("Flags, against flagd's own evaluator")
struct FlagOracleTests {
  @Test("Ten thousand flags and contexts resolve alike", arguments: [UInt64(1), 2, 3, 4])
  func agrees(_ seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    var questions: [Question] = []
    while questions.count < 2_500 {
      let flag = FlagGrammar.flag(&random)
      for _ in 0..<5 { questions.append(Question(flags: flag, context: FlagGrammar.context(&random), type: FlagGrammar.type(&random))) }
    }
    let answers = try judge(questions)
    try #require(answers.count == questions.count)
    var reasons: [String: Int] = [:]
    for (question, answer) in zip(questions, answers) {
      let ours = question.answer(as: question.type)
      if question.type == .float, case .bool = question.answer(as: nil).value { continue }
      reasons[ours.reason, default: 0] += 1
      #expect(ours == answer, "\(question.line)")
    }
    // The generator reaches everything that there is to be reached.
    #expect(reasons.count >= 6, "\(reasons)")
  }

  struct Answer: Equatable {
    var value: FlagValue
    var variant: FlagValue
    var reason: String
  }

  struct Question {
    var flags: FlagValue
    var context: [String: FlagValue]
    var type: FlagType

    var line: String {
      let question = FlagValue.object(["flags": flags, "key": .string("flag"), "context": .object(context), "type": .string(type.rawValue)])
      return (try? question.contract.jsonString()) ?? ""
    }

    /// - Parameter type: nil takes any.
    func answer(as type: FlagType?) -> Answer {
      var attributes = context
      var key: String?
      if case .string(let text)? = attributes.removeValue(forKey: "targetingKey") { key = text }
      let defaults: [FlagType: FlagValue] = [
        .boolean: .bool(false), .string: .string("mine"), .integer: .number(-1), .float: .number(-1.5),
        .object: .object(["mine": .bool(true)]),
      ]
      func failure(_ reason: String) -> Answer { Answer(value: .null, variant: .null, reason: reason) }
      guard case .object(let members) = flags, let set = try? FlagSet(members) else { return failure("PARSE_ERROR") }
      do throws(FlagError) {
        let found = try set.resolve("flag", as: type, for: FlagContext(attributes, targetingKey: key, now: 1_777_885_200))
        return Answer(
          value: found.value ?? type.flatMap { defaults[$0] } ?? .null, variant: found.variant.map(FlagValue.string) ?? .null,
          reason: found.reason.rawValue)
      } catch {
        switch error {
        case .notFound: return failure("FLAG_NOT_FOUND")
        case .typeMismatch: return failure("TYPE_MISMATCH")
        case .targeting: return failure("PARSE_ERROR")
        case .variantMissing: return failure("GENERAL")
        }
      }
    }
  }

  private func judge(_ questions: [Question]) throws -> [Answer] {
    let folder = FileManager.default.temporaryDirectory.appending(path: "flags-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let input = folder.appending(path: "questions")
    try Data((questions.map(\.line).joined(separator: "\n") + "\n").utf8).write(to: input)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "flagd_oracle.py").path
    process.arguments = [ProcessInfo.processInfo.environment["SPANWIRE_PYTHON"] ?? "python3", script]
    process.standardInput = try FileHandle(forReadingFrom: input)
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let lines = try #require(try output.fileHandleForReading.readToEnd()).split(separator: UInt8(ascii: "\n"))
    process.waitUntilExit()
    return try lines.map { line in
      let members = FlagValue.members(try Google_Protobuf_Struct(jsonString: String(decoding: line, as: UTF8.self)))
      if case .string(let error)? = members["error"] { return Answer(value: .null, variant: .null, reason: error) }
      guard case .string(let reason)? = members["reason"] else { throw FlagProblem("the judge answered \(members)") }
      return Answer(value: members["value"] ?? .null, variant: members["variant"] ?? .null, reason: reason)
    }
  }
}

/// SplitMix64: the same sequence for the same seed, on every machine.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

/// Makes flags and contexts at random.
private enum FlagGrammar {
  typealias Random = SeededGenerator

  static func type(_ random: inout Random) -> FlagType { FlagType.allCases.randomElement(using: &random)! }

  static func context(_ random: inout Random) -> [String: FlagValue] {
    var context: [String: FlagValue] = [:]
    func maybe(_ key: String, _ values: [FlagValue], _ random: inout Random) {
      if Int.random(in: 0..<5, using: &random) > 0 { context[key] = values.randomElement(using: &random)! }
    }
    maybe("targetingKey", (0..<50).map { .string("user-\($0)") } + [.string("")], &random)
    maybe("email", ["ada@ptt.example", "bob@else.where", "Ärger@ptt.example", ""].map(FlagValue.string), &random)
    maybe("age", [.number(17), .number(18), .number(42.5), .string("30"), .string(" 7 "), .null, .bool(true)], &random)
    maybe("tier", ["member", "gold", "staff", "admin"].map(FlagValue.string), &random)
    maybe(
      "version", ["1.2.3", "v1.2", "2.0.0-beta.2", "2.0.0-beta.11", "2.0.0+build", "1.02.3", "x"].map(FlagValue.string) + [.number(2)],
      &random)
    maybe("roles", [.list([]), .list([.string("ops")]), .list([.string("ops"), .string("agent"), .number(1)])], &random)
    maybe("place", [.object(["city": .string("Wien"), "district": .number(1)]), .object([:]), .string("Wien")], &random)
    maybe("premium", [.bool(true), .bool(false)], &random)
    return context
  }

  static func flag(_ random: inout Random) -> FlagValue {
    let variants: [String: FlagValue] =
      switch Int.random(in: 0..<5, using: &random) {
      case 0: ["on": .bool(true), "off": .bool(false), "true": .bool(true), "false": .bool(false)]
      case 1: ["on": .string("a"), "off": .string("b"), "1": .string("one")]
      case 2: ["on": .number(3), "off": .number(-7)]
      case 3: ["on": .number(3.5), "off": .number(0.25), "true": .number(1.5)]
      default: ["on": .object(["limit": .number(3), "tags": .list([.string("x")])]), "off": .object([:]), "true": .null]
      }
    var members: [String: FlagValue] = ["variants": .object(variants)]
    members["state"] = .string(Int.random(in: 0..<12, using: &random) == 0 ? "DISABLED" : "ENABLED")
    members["defaultVariant"] = [.string("on"), .string("off"), .string("off"), .string("neither"), .string(""), nil, .bool(false)]
      .randomElement(using: &random)!
    if Int.random(in: 0..<6, using: &random) > 0 { members["targeting"] = targeting(&random, depth: 0) }
    let key = Int.random(in: 0..<40, using: &random) == 0 ? "other" : "flag"
    return .object(["flags": .object([key: .object(members)])])
  }

  private static func call(_ name: String, _ arguments: [FlagValue]) -> FlagValue { .object([name: .list(arguments)]) }
  private static func variable(_ name: String) -> FlagValue { .object(["var": .string(name)]) }

  private static func variant(_ random: inout Random) -> FlagValue {
    [.string("on"), .string("off"), .string("on"), .string("off"), .null, .string("gone"), .bool(true), .number(1)].randomElement(
      using: &random)!
  }

  private static func targeting(_ random: inout Random, depth: Int) -> FlagValue {
    switch Int.random(in: 0..<8, using: &random) {
    case 0: return condition(&random, depth: depth)
    case 1, 2: return fractional(&random)
    case 3 where depth < 2:
      return call(
        "if",
        [
          condition(&random, depth: depth), targeting(&random, depth: depth + 1), condition(&random, depth: depth), variant(&random),
          targeting(&random, depth: depth + 1),
        ])
    case 4: return call(["and", "or"].randomElement(using: &random)!, [condition(&random, depth: depth), variant(&random)])
    case 5: return call("if", [condition(&random, depth: depth), variant(&random)])
    case 6 where Int.random(in: 0..<8, using: &random) == 0: return call("no_such_thing", [.number(1)])
    default: return call("if", [condition(&random, depth: depth), variant(&random), variant(&random)])
    }
  }

  private static func fractional(_ random: inout Random) -> FlagValue {
    var arguments: [FlagValue] = []
    switch Int.random(in: 0..<6, using: &random) {
    case 0: arguments.append(variable("email"))
    case 1: arguments.append(call("cat", [.object(["var": .string("$flagd.flagKey")]), variable("tier")]))
    case 2: arguments.append(variable("age"))
    case 3: arguments.append(variable("place"))
    default: break
    }
    for name in ["on", "off", "gone", "on"].prefix(Int.random(in: 1...4, using: &random)) {
      switch Int.random(in: 0..<6, using: &random) {
      case 0: arguments.append(.list([.string(name)]))
      case 1: arguments.append(.list([.string(name), .number(Double(Int.random(in: -5...5, using: &random)))]))
      case 2: arguments.append(.list([.string(name), call("if", [variable("premium"), .number(90), .number(10)])]))
      default: arguments.append(.list([.string(name), .number(Double(Int.random(in: 0...1000, using: &random)))]))
      }
    }
    return call("fractional", arguments)
  }

  private static func number(_ random: inout Random) -> FlagValue {
    [.number(17), .number(18), .number(42.5), .number(0), .string("30")].randomElement(using: &random)!
  }

  private static func text(_ random: inout Random) -> FlagValue {
    [variable("email"), variable("tier"), variable("place.city"), variable("nothing"), .string("ptt"), .string("gold")].randomElement(
      using: &random)!
  }

  private static func condition(_ random: inout Random, depth: Int) -> FlagValue {
    let compare = ["<", ">", "<=", ">=", "==", "!=", "===", "!=="]
    switch Int.random(in: 0..<17, using: &random) {
    case 0, 1: return call(compare.randomElement(using: &random)!, [variable("age"), number(&random)])
    case 2: return call(compare.randomElement(using: &random)!, [text(&random), text(&random)])
    case 3:
      return call(
        "in",
        [
          text(&random),
          [variable("roles"), .list([.string("gold"), .string("staff")]), variable("email")].randomElement(using: &random)!,
        ])
    case 4: return call("ends_with", [variable("email"), .string("@ptt.example")])
    case 5: return call("starts_with", [text(&random), .string(["a", "", "g", "Ä"].randomElement(using: &random)!)])
    case 6:
      return call(
        "sem_ver",
        [
          variable("version"), .string(["=", "!=", "<", "<=", ">", ">=", "^", "~", "?"].randomElement(using: &random)!),
          .string(["1.2.3", "2.0.0-beta.2", "2.0.0", "v2", "1.2.0"].randomElement(using: &random)!),
        ])
    case 7 where depth < 3: return call("!", [condition(&random, depth: depth + 1)])
    case 8 where depth < 3:
      return call(
        ["and", "or"].randomElement(using: &random)!, [condition(&random, depth: depth + 1), condition(&random, depth: depth + 1)])
    case 9:
      return call(
        ["some", "all", "none"].randomElement(using: &random)!, [variable("roles"), call("==", [variable(""), .string("ops")])])
    case 10: return call("<", [number(&random), variable("age"), .number(60)])
    case 11:
      return call(
        "!!",
        [
          [variable("premium"), variable("roles"), variable("place"), call("missing", [.string("email"), .string("tier")])].randomElement(
            using: &random)!
        ])
    case 12:
      return call(">", [call(["+", "*", "-", "max", "min"].randomElement(using: &random)!, [variable("age"), .number(2)]), .number(30)])
    case 13: return call("in", [variable("tier"), .list([.string("staff"), .string("admin")])])
    case 14:
      return call(
        "==", [call("reduce", [variable("roles"), call("+", [variable("accumulator"), .number(1)]), .number(0)]), .number(1)])
    case 15:
      return call("==", [call("substr", [variable("email"), .number(Double(Int.random(in: -4...4, using: &random)))]), .string("mple")])
    default: return call("===", [call("%", [.number(Double(Int.random(in: 0...9, using: &random))), .number(3)]), .number(0)])
    }
  }
}
