import SpanwireSchema
import Testing

@testable import SpanwireRegistry

@Suite("Reading bundles")
struct BundleReaderTests {
  @Test("the sample bundle reads whole")
  func sample() throws {
    let read = BundleReader.read(yaml: try Fixture.sample)
    #expect(read.problems.isEmpty)
    #expect(read.bundleID == "BND-VIEN-COFFEE-PASS")
    #expect(read.definitions.count { $0.key.kind == .servicePoint } == 33)
    let document = read.definitions.first { $0.key == DefinitionKey(.journeyDocument, "TJM-VIEN-COFFEE-PASS-BASE") }
    guard case .journeyDocument(let journey)? = document?.value else {
      Issue.record("no journey document")
      return
    }
    #expect(journey.edges.map(\.on) == ["", "accepted", "", "completed", "", "", "next_stop", "", "", ""])
    #expect(journey.version == "1.0.0")
  }

  @Test("text stays text and numbers stay exact, however YAML would read them")
  func scalars() throws {
    let read = BundleReader.read(
      yaml: """
        tokens:
          - {token_id: T-1, title: 2024, settlement_value: {micros: 9007199254740993, currency: EUR}, redeemable_tags: ["true"]}
        profiles:
          - {profile_id: P-1, title: "on", quality: {min_experience_score: 0.3}}
        """)
    #expect(read.problems.isEmpty)
    guard case .token(let token) = read.definitions[0].value, case .profile(let profile) = read.definitions[1].value else {
      Issue.record("not a token and a profile")
      return
    }
    #expect(token.title == "2024")
    #expect(token.settlementValue?.micros == 9_007_199_254_740_993)
    #expect(token.redeemableTags == ["true"])
    #expect(profile.kind == .quality(QualityProfile(minExperienceScore: 0.3)))
  }

  @Test("where JSON is free, in a flag's values and targeting, a plain number is a number and a quoted one a text")
  func freeJSON() throws {
    let read = BundleReader.read(
      yaml: """
        flags:
          - flag_key: size
            variants: {small: 1, big: 2.5e3, zip: "1010", code: 007, version: 1.2.3, "on": true}
            default_variant: "1"
            targeting: {if: [{">=": [{var: age}, 18]}, big, small]}
        """)
    #expect(read.problems.isEmpty)
    guard case .flag(let flag) = read.definitions[0].value else {
      Issue.record("not a flag")
      return
    }
    let kinds = Dictionary(flag.variants.map { ($0.key, $0.value.kind) }) { first, _ in first }
    #expect(kinds["small"] == .numberValue(1) && kinds["big"] == .numberValue(2_500))
    #expect(kinds["zip"] == .stringValue("1010") && kinds["code"] == .stringValue("007") && kinds["version"] == .stringValue("1.2.3"))
    #expect(kinds["on"] == .boolValue(true) && flag.defaultVariant == "1")
    #expect(try flag.targeting?.jsonString() == #"{"if":[{">=":[{"var":"age"},18]},"big","small"]}"#)
  }

  @Test(
    "what is to be removed is named by kind and id",
    arguments: [
      ("removals: [{kind: vendor, id: V-1}]", []), ("removals: ", []), ("removals: all", ["removals"]),
      (
        "removals: [V-1, {kind: vendor, id: V-1, why: old}, {id: V-1}, {kind: vendors, id: V-1}]",
        ["removals[0]", "removals[1]", "removals[2].kind", "removals[3].kind"]
      ),
    ])
  func removals(yaml: String, mistakes: [String]) {
    #expect(BundleReader.read(yaml: yaml).problems.map(\.path) == mistakes)
  }

  @Test("every mistake is told with its path and line, and none hides another")
  func mistakes() {
    let read = BundleReader.read(
      yaml: """
        bundle_id: B-1
        colour: red
        vendors:
          - vendor_id: V-1
            name: {first: x}
            colour: blue
          - {vendor_id: V-2, name: Two}
          - just text
        markets: many
        """)
    #expect(read.problems.map(\.path) == ["colour", "vendors[0].name", "vendors[0].colour", "vendors[2]", "markets"])
    #expect(read.problems.map(\.line) == [2, 5, 6, 8, 9])
    #expect(read.definitions.map(\.key) == [DefinitionKey(.vendor, "V-2")])
    #expect(read.unread == [DefinitionKey(.vendor, "V-1")])
  }

  @Test(
    "what is no bundle is refused in one sentence",
    arguments: [
      ("", "empty"), ("- a", "mapping"), ("a: [", "YAML"), ("a: 1\na: 2", "twice"), ("a: 1\n---\nb: 2", "YAML"),
      ("vendors: [&v {vendor_id: V-1}, *v]", "aliases"),
      ("# '\na: &a x\nb: *a", "aliases"),
      (#"{"a":&a 1,"b":*a}"#, "aliases"),
      ("a: " + String(repeating: "[", count: 20_000), "YAML"),
    ])
  func refusals(text: String, word: String) {
    let read = BundleReader.read(yaml: text)
    #expect(read.problems.count == 1)
    #expect(read.problems.first?.text.contains(word) == true, "\(read.problems)")
  }

  @Test("nesting is bounded")
  func depth() {
    let deep = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
    let read = BundleReader.read(yaml: "vendors: [{vendor_id: V-1, name: \(deep)}]")
    #expect(read.problems.contains { $0.text.contains("nested deeper") })
  }
}
