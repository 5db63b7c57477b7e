import SpanwireSchema
import SpanwireTestChance
import SpanwireWellKnown
import Testing

@testable import SpanwireFlags

@Suite("Flags, by their sources")
struct FlagEvaluatorTests {
  private static func rule(_ json: String) -> Google_Protobuf_Struct {
    (try? Google_Protobuf_Struct(jsonString: json)) ?? Google_Protobuf_Struct()
  }

  private static func flag(_ key: String, _ change: (inout FlagDefinition) -> Void = { _ in }) -> FlagDefinition {
    FlagsServerTests.flag(key, change)
  }

  private func evaluator(_ flags: FlagDefinition...) -> FlagEvaluator {
    FlagEvaluator(Dictionary(uniqueKeysWithValues: flags.map { ($0.flagKey, FlagRollout($0)) }))
  }

  private let anna = FlagAsker(userID: "anna", tenantID: "vienna", tier: "staff", now: 100)

  /// What each source asks for, in order, and what takes it away so that the next one decides.
  private static let peeled: [(source: String, variant: String, away: @Sendable (inout FlagDefinition) -> Void)] = [
    ("error", "off", { $0.dependsOn = ["missing"] }),
    ("default", "off", { $0.enabled = true }),
    ("rolled_back", "off", { $0.rolloutStage = .paused }),
    ("paused", "off", { $0.rolloutStage = .full }),
    ("default", "off", { $0.expiresAt = nil }),
    ("approval_missing", "off", { $0.requiresApproval = false }),
    ("dep_unsatisfied", "off", { $0.dependsOn = [] }),
    ("user_override", "third", { $0.userOverrides = [:] }),
    ("user_override", "on", { $0.targetIds = [] }),
    ("tenant_override", "third", { $0.tenantOverrides = [:] }),
    ("stage-full", "on", { $0.rolloutStage = .pilot }),
    ("stage-pilot", "on", { $0.rolloutStage = .internal }),
    ("stage-internal", "on", { $0.rolloutStage = .draft }),
    ("targeting", "third", { $0.targeting = nil }),
    ("rollout_pct", "on", { $0.rolloutPct = 0 }),
    ("default", "off", { _ in }),
  ]

  @Test("the sources are asked in their order: with each that is taken away, the next decides")
  func order() {
    var flag = Self.flag("f") {
      $0.variants["third"] = Google_Protobuf_Value(kind: .boolValue(true))
      $0.enabled = false
      $0.rolloutStage = .rolledBack
      $0.dependsOn = ["f"]
      $0.expiresAt = .init(nanosecondsSinceEpoch: 100)
      $0.requiresApproval = true
      $0.userOverrides = ["anna": "third"]
      $0.targetIds = ["anna"]
      $0.tenantOverrides = ["vienna": "third"]
      $0.pilotTenants = ["vienna"]
      $0.targeting = Self.rule(#"{"if": [{"==": [{"var": "tier"}, "staff"]}, "third"]}"#)
      $0.rolloutPct = 100
    }
    var seen: Set<String> = []
    for (source, variant, away) in Self.peeled {
      let answer = evaluator(flag).evaluate("f", for: anna)
      #expect(answer.source == source && answer.variant == variant, "\(answer.trace)")
      #expect((answer.bucket != nil) == (source == "rollout_pct"))
      #expect(answer.trace.last?.hasPrefix("\(source): matched") == true && !answer.cached)
      seen.insert(answer.source)
      away(&flag)
    }
    let unknown = evaluator(flag).evaluate("g", for: anna)
    #expect(unknown.source == "unknown_flag" && unknown.value == nil && unknown.stage == "")
    seen.insert(unknown.source)
    #expect(seen == Set(FlagSource.allCases.map(\.rawValue)) && seen.count == 14)
  }

  @Test("dependencies are evaluated for the same asker, and told as deep as they go")
  func dependencies() {
    let flags = evaluator(
      Self.flag("top") {
        $0.rolloutStage = .full
        $0.dependsOn = ["middle", "open"]
      },
      Self.flag("middle") {
        $0.rolloutStage = .full
        $0.dependsOn = ["bottom"]
      },
      Self.flag("bottom") { $0.userOverrides = ["anna": "on"] }, Self.flag("open") { $0.rolloutStage = .full })
    let hers = flags.evaluate("top", for: anna)
    #expect(hers.source == "stage-full" && hers.depsEvaluated.map(\.flagKey) == ["middle", "open"])
    #expect(hers.depsEvaluated[0].depsEvaluated.map(\.source) == ["user_override"])
    let his = flags.evaluate("top", for: FlagAsker(userID: "bert", tenantID: "vienna", now: 100))
    #expect(his.source == "dep_unsatisfied" && his.variant == "off")
    #expect(his.depsEvaluated.map(\.satisfied) == [false, true] && his.depsEvaluated[0].source == "dep_unsatisfied")
    #expect(his.depsEvaluated[0].depsEvaluated.map(\.satisfied) == [false])
    #expect(his.trace.contains("dep_unsatisfied: matched (middle)"))
  }

  @Test("a circle is an error, for who leads into it too")
  func circle() {
    let flags = evaluator(
      Self.flag("a") { $0.dependsOn = ["b"] }, Self.flag("b") { $0.dependsOn = ["c"] }, Self.flag("c") { $0.dependsOn = ["b"] })
    for key in ["a", "b", "c"] {
      let answer = flags.evaluate(key, for: anna)
      #expect(answer.source == "error" && answer.variant == "off")
      #expect(answer.trace.last?.contains("in a circle") == true, "\(answer.trace)")
    }
    #expect(flags.evaluate("a", for: anna).trace.last?.contains("b → c → b") == true)
  }

  @Test("a rule that can't be evaluated, or yields no variant, is an error without a value")
  func rules() {
    for json in [#"{"if": [true, "none"]}"#, #"{"no_such": [1]}"#] {
      let answer = evaluator(Self.flag("f") { $0.targeting = Self.rule(json) }).evaluate("f", for: anna)
      #expect(answer.source == "error" && answer.value == nil && answer.variant == "")
    }
  }

  @Test("users fall into a hundred buckets evenly, for each flag others, and always the same")
  func buckets() {
    var counts = [Int](repeating: 0, count: 100)
    for user in 0..<100_000 { counts[Int(FlagEvaluator.bucket(of: "user-\(user)", in: "f"))] += 1 }
    #expect(counts.allSatisfy { (850...1_150).contains($0) }, "\(counts.min() ?? 0) to \(counts.max() ?? 0)")
    #expect(FlagEvaluator.bucket(of: "anna", in: "f") == FlagEvaluator.bucket(of: "anna", in: "f"))
    #expect((0..<100).contains { FlagEvaluator.bucket(of: "user-\($0)", in: "f") != FlagEvaluator.bucket(of: "user-\($0)", in: "g") })
  }

  @Test("a value that is on is true, or where it is no boolean other than the default")
  func enabled() {
    let flags = evaluator(
      Self.flag("on") { $0.rolloutStage = .full }, Self.flag("off"), Self.flag("inverse") { $0.defaultVariant = "on" },
      Self.flag("text") {
        $0.variants = ["a": Google_Protobuf_Value(kind: .stringValue("a")), "b": Google_Protobuf_Value(kind: .stringValue(""))]
        ($0.defaultVariant, $0.rolloutVariant, $0.rolloutStage) = ("a", "b", .full)
      })
    let expected = ["on": true, "off": false, "inverse": true, "text": true, "none": false]
    for (key, isOn) in expected { #expect(flags.isEnabled(flags.evaluate(key, for: anna)) == isOn, "\(key)") }
  }

  @Test("what we say a flag serves is what every client that evaluates by itself comes to")
  func agreement() throws {
    var chance = Chance(seed: 42)
    for round in 0..<150 {
      let flags = Self.randomFlags(&chance)
      let rollouts = Dictionary(uniqueKeysWithValues: flags.map { ($0.flagKey, FlagRollout($0)) })
      let (ours, clients) = (FlagEvaluator(rollouts), try CompiledFlags(rollouts, for: "vienna").set())
      for _ in 0..<10 {
        let user = chance.choose(["anna", "bert", "carl", ""])
        let asker = FlagAsker(
          userID: user, tenantID: "vienna", tier: chance.choose(["staff", "gold"]), now: Int64(chance.below(3)) * 1_000_000_000)
        let context = FlagContext(
          ["tier": .string(asker.tier)], targetingKey: user.isEmpty ? nil : user, now: asker.now / 1_000_000_000)
        for flag in flags where flag.enabled {
          let (mine, theirs) = (ours.evaluate(flag.flagKey, for: asker), try clients.resolve(flag.flagKey, for: context))
          #expect(mine.variant == theirs.variant ?? "", "round \(round), \(flag.flagKey) for \(user): \(mine.trace)")
        }
      }
    }
  }

  private static func randomFlags(_ chance: inout Chance) -> [FlagDefinition] {
    let keys = ["a", "b", "c", "d", "e"]
    return keys.enumerated().map { index, key in
      Self.flag(key) {
        $0.variants["third"] = Google_Protobuf_Value(kind: .boolValue(true))
        $0.enabled = chance.below(8) > 0
        $0.rolloutStage = chance.choose([.draft, .internal, .pilot, .full, .paused, .rolledBack])
        $0.rolloutPct = UInt32(chance.below(101))
        $0.requiresApproval = chance.below(6) == 0
        if chance.below(4) == 0 { $0.expiresAt = .init(nanosecondsSinceEpoch: Int64(chance.below(3)) * 1_000_000_000) }
        if chance.below(4) == 0 { $0.userOverrides = ["anna": chance.choose(["on", "off", "third"])] }
        if chance.below(4) == 0 { $0.targetIds = ["bert"] }
        if chance.below(6) == 0 { $0.tenantOverrides = [chance.choose(["vienna", "rome"]): chance.choose(["on", "off", "third"])] }
        if chance.below(2) == 0 { $0.pilotTenants = ["vienna"] }
        if chance.below(3) == 0 { $0.targeting = Self.rule(#"{"if": [{"==": [{"var": "tier"}, "gold"]}, "third"]}"#) }
        $0.dependsOn = keys[(index + 1)...].filter { _ in chance.below(5) == 0 }
      }
    }
  }
}
