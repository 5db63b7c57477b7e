import Foundation
import SpanwireProtobuf
import SpanwireWellKnown
import Testing

@testable import SpanwireFlags

@Suite("Rules of flags")
struct LogicTests {
  static let cases: [(rule: String, data: String, result: String)] = [
    (#"{"==": [1, "1"]}"#, "{}", "true"),
    (#"{"===": [1, "1"]}"#, "{}", "false"),
    (#"{"var": "a.b.1"}"#, #"{"a": {"b": [1, 2]}}"#, "2"),
    (#"{"var": ["a.c", 7]}"#, #"{"a": {}}"#, "7"),
    (#"{"var": "name.length"}"#, #"{"name": "Grüße"}"#, "5"),
    (#"{"if": [false, 1, true, 2, 3]}"#, "{}", "2"),
    (#"{"if": [false, 1]}"#, "{}", "null"),
    (#"{"?:": [true, 1, 2]}"#, "{}", "1"),
    (#"{"and": [1, "", 2]}"#, "{}", "\"\""),
    (#"{"or": [0, "", 2]}"#, "{}", "2"),
    (#"{"map": [[1, 2], {"*": [{"var": ""}, 2]}]}"#, "{}", "[2,4]"),
    (#"{"filter": [[1, 2, 3], {">": [{"var": ""}, 1]}]}"#, "{}", "[2,3]"),
    (#"{"reduce": [[1, 2, 3], {"+": [{"var": "current"}, {"var": "accumulator"}]}, 10]}"#, "{}", "16"),
    (#"{"all": [[], true]}"#, "{}", "false"),
    (#"{"missing": ["a", "b"]}"#, #"{"a": 1}"#, #"["b"]"#),
    (#"{"missing_some": [1, ["a", "b"]]}"#, #"{"a": 1}"#, "[]"),
    (#"{"merge": [1, [2, [3]]]}"#, "{}", "[1,2,[3]]"),
    (#"{"cat": ["a", 1, 2.5]}"#, "{}", #""a12.5""#),
    (#"{"substr": ["jsonlogic", -5, -2]}"#, "{}", #""log""#),
    (#"{"<": [1, 2, 3]}"#, "{}", "true"),
    (#"{"%": [7, 3]}"#, "{}", "1"),
    (#"{"-": [3]}"#, "{}", "-3"),
    (#"{"in": ["ring", "spring"]}"#, "{}", "true"),
    (#"{"sem_ver": ["1.2.3-rc.1", "<", "1.2.3"]}"#, "{}", "true"),
    (#"{"sem_ver": ["v1.4", "~", "1.4.9"]}"#, "{}", "true"),
    (#"{"sem_ver": ["1.2.03", "=", "1.2.3"]}"#, "{}", "null"),
    (#"{"starts_with": ["Spanwire", "Span"]}"#, "{}", "true"),
    (#"{"ends_with": [1, "1"]}"#, "{}", "null"),
    (#"{"var": "$flagd.flagKey"}"#, "{}", #""flag""#),
    (#"[1, {"+": [1, 1]}]"#, "{}", "[1,2]"),
    (#"{"a": 1, "b": 2}"#, "{}", #"{"a":1,"b":2}"#),
  ]

  static func value(_ json: String) throws -> FlagValue { FlagValue(try Google_Protobuf_Value(jsonString: json)) }

  @Test("A rule has its result", arguments: cases)
  func evaluates(_ c: (rule: String, data: String, result: String)) throws {
    guard case .object(let data) = try Self.value(c.data) else { return }
    var evaluation = LogicEvaluation(FlagContext(data, now: 0), flagKey: "flag")
    let result = try evaluation.evaluate(try Logic(try Self.value(c.rule)))
    #expect(result == (try Self.value(c.result)))
  }

  @Test("A rule that is too deep or goes on too long is refused, and an unknown operation when it is reached")
  func bounds() throws {
    var deep = FlagValue.bool(true)
    for _ in 0...FlagLimits.ruleDepth { deep = .object(["!": .list([deep])]) }
    #expect(throws: FlagProblem.self) { try Logic(deep) }
    let many = FlagValue.list(Array(repeating: .number(1), count: 200))
    let rule = try Logic(.object(["map": .list([many, .object(["map": .list([many, .number(1)])])])]))
    var evaluation = LogicEvaluation(FlagContext(now: 0), flagKey: "flag")
    #expect(throws: LogicError.self) { try evaluation.evaluate(rule) }
    var other = LogicEvaluation(FlagContext(now: 0), flagKey: "flag")
    let unknown = try Logic(try Self.value(#"{"if": [true, 1, {"no_such_thing": 1}]}"#))
    let result = try other.evaluate(unknown)
    #expect(result == .number(1))
  }

  /// From the reference implementation of MurmurHash3 (x86, 32 bit).
  @Test(
    "Hashes are MurmurHash3's", arguments: [("", UInt32(0)), ("a", 0x3c25_69b2), ("hello", 0x248b_fa47), ("hello, world", 0x149b_bb7f)])
  func hash(_ text: String, _ hash: UInt32) { #expect(Murmur3.hash(Array(text.utf8)) == hash) }

  /// From RFC 7049, appendix A.
  @Test(
    "Values have their canonical CBOR",
    arguments: [
      ("0", "00"), ("23", "17"), ("24", "1818"), ("1000000", "1a000f4240"), ("-1", "20"), ("-1000", "3903e7"), ("1.5", "f93e00"),
      ("5.960464477539063e-8", "f90001"), ("100000.5", "fa47c35040"), ("1.1", "fb3ff199999999999a"), ("true", "f5"), ("null", "f6"),
      (#""IETF""#, "6449455446"), ("[1,[2,3]]", "8201820203"), (#"{"b":[2,3],"a":1}"#, "a26161016162820203"), ("2.0", "02"),
    ])
  func cbor(_ json: String, _ hex: String) throws {
    let digits = CanonicalCBOR.encode(try Self.value(json)).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    #expect(digits == hex)
  }

  @Test("A configuration is read whole, or everything that is wrong with it is told")
  func problems() throws {
    let json = #"""
      {"flags": {"a": {"state": "ON", "variants": {}}, "b": {"state": "ENABLED", "variants": {"on": 1}, "defaultVariant": 3,
       "targeting": [], "metadata": {"x": []}}}, "metadata": 1}
      """#
    guard case .object(let members) = try Self.value(json) else { return }
    do throws(FlagProblems) {
      _ = try FlagSet(members)
      Issue.record("nothing was refused")
    } catch {
      let paths = error.problems.map(\.path)
      #expect(
        paths == ["metadata", "flags.a.state", "flags.a.variants", "flags.b.defaultVariant", "flags.b.targeting", "flags.b.metadata.x"])
    }
  }

  @Test("A share of all callers goes to each variant, and everybody stays where they are")
  func shares() throws {
    let rule = try Logic(try Self.value(#"{"fractional": [["red", 50], ["green", 30], ["blue", 20]]}"#))
    var counts: [FlagValue: Int] = [:]
    for number in 0..<10_000 {
      var one = LogicEvaluation(FlagContext(targetingKey: "user-\(number)", now: 0), flagKey: "colour")
      let colour = try one.evaluate(rule)
      counts[colour, default: 0] += 1
    }
    let (red, green, blue) = (counts[.string("red")] ?? 0, counts[.string("green")] ?? 0, counts[.string("blue")] ?? 0)
    #expect(abs(red - 5_000) < 200 && abs(green - 3_000) < 200 && abs(blue - 2_000) < 200)
  }
}
