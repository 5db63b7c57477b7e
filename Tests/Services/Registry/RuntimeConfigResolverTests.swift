import SpanwireSchema
import Testing

@testable import SpanwireRegistry

@Suite("Resolving what a session runs on")
struct RuntimeConfigResolverTests {
  private func resolve(_ request: ResolveRuntimeConfigRequest) throws -> RuntimeConfig {
    let definitions = Fixture.definitions(try Fixture.sample)
    return try RuntimeConfigResolver.resolve(request) { definitions[$0] }
  }

  private let asked = ResolveRuntimeConfigRequest(
    productID: "PRD-VIEN-COFFEE-PASS", marketCode: "AT-VIE", userID: "USR-1", experimentKeys: ["EXP-PASS-SIZE"])

  @Test("everything is resolved, and the same request gives the same bytes")
  func whole() throws {
    let config = try resolve(asked)
    #expect(config.productVersion?.productVersionID == "PRDV-VIEN-COFFEE-PASS-1.0.0")
    #expect(config.market?.timeZone == "Europe/Vienna")
    #expect(config.profiles.count == 7)
    #expect(config.journeyDocument?.nodes.count == 8)
    #expect(config.tokens.map(\.tokenID) == ["TOK-VIEN-COFFEE"])
    #expect(config.experimentVariants["EXP-PASS-SIZE"] == "VAR-THREE-COFFEES")
    #expect(try resolve(asked).encoded() == config.encoded())
  }

  @Test(
    "what cannot be resolved is refused for its reason",
    arguments: [
      ("PRD-NONE", "", "AT-VIE", [], RuntimeConfigResolver.Refusal.unknown(DefinitionKey(.product, "PRD-NONE"))),
      ("", "PRDV-NONE", "AT-VIE", [], .unknown(DefinitionKey(.productVersion, "PRDV-NONE"))),
      ("PRD-VIEN-COFFEE-PASS", "", "AT-GRZ", [], .unknown(DefinitionKey(.market, "AT-GRZ"))),
      ("PRD-VIEN-COFFEE-PASS", "", "AT-VIE", ["EXP-NONE"], .unknown(DefinitionKey(.experiment, "EXP-NONE"))),
    ])
  func refusals(product: String, version: String, market: String, experiments: [String], refusal: RuntimeConfigResolver.Refusal) throws {
    let request = ResolveRuntimeConfigRequest(
      productID: product, productVersionID: version, marketCode: market, experimentKeys: experiments)
    #expect(throws: refusal) { try resolve(request) }
  }

  @Test(
    "an experiment for some segments assigns nobody else",
    arguments: [([], true), (["tourist"], true), (["local", "tourist"], true), (["local"], false)] as [([String], Bool)])
  func audience(segments: [String], isAssigned: Bool) throws {
    let key = DefinitionKey(.experiment, "EXP-PASS-SIZE")
    var definitions = Fixture.definitions(try Fixture.sample)
    guard case .experiment(var experiment)? = definitions[key] else { preconditionFailure("the sample has the experiment") }
    experiment.segments = segments.isEmpty ? [] : ["tourist"]
    definitions[key] = .experiment(experiment)
    var request = asked
    request.segments = segments
    let known = definitions
    let config = try RuntimeConfigResolver.resolve(request) { known[$0] }
    #expect((config.experimentVariants["EXP-PASS-SIZE"] != nil) == isAssigned)
  }

  @Test("users fall into arms by their weights, and stay there")
  func buckets() {
    let experiment = Experiment(
      experimentKey: "EXP-1",
      arms: [
        ExperimentArm(variantID: "A", weight: 30), ExperimentArm(variantID: "B", weight: 0), ExperimentArm(variantID: "C", weight: 70),
      ])
    var counts: [String: Int] = [:]
    for user in 0..<10_000 {
      let arm = ExperimentBucket.variant(of: experiment, for: "USR-\(user)")
      #expect(arm == ExperimentBucket.variant(of: experiment, for: "USR-\(user)"))
      counts[arm ?? "none", default: 0] += 1
    }
    #expect(counts["B"] == nil && counts["none"] == nil)
    #expect((2_800...3_200).contains(counts["A"] ?? 0), "\(counts)")
  }
}
