import SpanwireSchema
import Testing

@testable import SpanwireRegistry

@Suite("Judging bundles")
struct BundleValidatorTests {
  @Test("the sample bundle has no mistakes, and a doubt for each place without hours")
  func sample() throws {
    let validator = Fixture.validated(try Fixture.sample)
    #expect(validator.problems.isEmpty, "\(validator.problems)")
    #expect(validator.warnings.count == 11)
  }

  /// A piece of YAML changed in the sample, and the paths of what is then wrong.
  struct Mutation: Sendable, CustomTestStringConvertible {
    var find: String
    var replace: String
    var paths: [String]
    var testDescription: String { replace }
  }

  @Test(
    "each mistake in the sample is told with its path",
    arguments: [
      Mutation(
        find: "current_version_id: PRDV-VIEN-COFFEE-PASS-1.0.0", replace: "current_version_id: PRDV-NONE",
        paths: ["products[0].current_version_id"]),
      Mutation(find: "time_zone: Europe/Vienna", replace: "time_zone: Europe/Wien", paths: ["markets[0].time_zone"]),
      Mutation(
        find: "market_codes: [AT-VIE]", replace: "market_codes: [AT-GRZ, AT-GRZ]",
        paths: ["product_versions[0].market_codes[0]", "product_versions[0].market_codes[1]", "product_versions[0].market_codes"]),
      Mutation(
        find: "journey_doc_id: TJM-VIEN-COFFEE-PASS-BASE\n    profile_ids", replace: "journey_doc_id: TJM-NONE\n    profile_ids",
        paths: ["product_versions[0].journey_doc_id"]),
      Mutation(find: "quantity: 3", replace: "quantity: 0", paths: ["product_versions[0].variants[0].grants[0].quantity"]),
      Mutation(
        find: "price: {micros: 12900000, currency: EUR}", replace: "price: {micros: -1, currency: eur}",
        paths: ["product_versions[0].variants[0].price.micros", "product_versions[0].variants[0].price.currency"]),
      Mutation(find: "latest_end_local: \"22:00\"", replace: "latest_end_local: \"25:00\"", paths: ["profiles[3].safety.latest_end_local"]),
      Mutation(
        find: "blocked_service_point_ids: []", replace: "blocked_service_point_ids: [SP-NONE]",
        paths: ["profiles[5].ops.blocked_service_point_ids[0]"]),
      Mutation(find: "min_experience_score: 0.3", replace: "min_experience_score: 3", paths: ["profiles[6].quality.min_experience_score"]),
      Mutation(
        find: "variant_id: VAR-THREE-COFFEES, weight: 100", replace: "variant_id: VAR-NINE, weight: 0",
        paths: ["experiments[0].arms[0].variant_id", "experiments[0].arms"]),
      Mutation(find: "agent_type: trip_planner, title", replace: "agent_type: planner, title", paths: ["agents[0].agent_type"]),
      Mutation(find: "title: A day of coffee", replace: "title: faulty", paths: ["journey_documents[0].nodes[0].node_id"]),
      Mutation(
        find: "redeem: {token_id: TOK-VIEN-COFFEE", replace: "redeem: {token_id: TOK-NONE",
        paths: ["journey_documents[0].nodes[3].redeem.token_id"]),
      Mutation(
        find: "visit: {service_point_id: SP-VIE-SIGHT-MICHAELERKIRCHE}", replace: "visit: {service_point_id: SP-NONE}",
        paths: ["journey_documents[0].nodes[5].visit.service_point_id"]),
      Mutation(
        find: "position: {latitude: 48.210367, longitude: 16.365387}", replace: "position: {latitude: 98, longitude: 16}",
        paths: ["service_points[0].position.latitude"]),
      Mutation(find: "vendor_id: VND-CENTRAL, name", replace: "vendor_id: VND-ZENTRAL, name", paths: ["service_points[0].vendor_id"]),
      Mutation(
        find: "vendor_id: VND-TIROLERHOF, name", replace: "vendor_id: VND-CENTRAL, name",
        paths: ["vendors[1].vendor_id", "service_points[1].vendor_id"]),
      Mutation(find: "title: One coffee", replace: "title: \"One\\tcoffee\"", paths: ["tokens[0].title"]),
      Mutation(
        find: "{token_id: TOK-VIEN-COFFEE, quantity: 3", replace: "{token_id: \"TOK VIEN\", quantity: 3",
        paths: ["product_versions[0].variants[0].grants[0].token_id"]),
    ])
  func mistakes(_ mutation: Mutation) throws {
    let sample = try Fixture.sample
    let range = try #require(sample.range(of: mutation.find))
    let validator = Fixture.validated(sample.replacingCharacters(in: range, with: mutation.replace))
    #expect(validator.problems.map(\.path) == mutation.paths, "\(validator.problems)")
    #expect(validator.problems.allSatisfy { $0.line != nil })
  }

  @Test("a reference to a definition that could not be read is not called unknown besides")
  func unread() throws {
    let sample = try Fixture.sample
    let broken = sample.replacingOccurrences(of: "redeemable_tags: [cafe]", with: "redeemable_tags: {cafe: 1}")
    let validator = Fixture.validated(broken)
    #expect(validator.problems.map(\.path) == ["tokens[0].redeemable_tags"])
  }

  @Test("hours that cannot be read are a doubt, not a mistake")
  func hours() throws {
    let sample = try Fixture.sample.replacingOccurrences(of: "\"Mo-Sa 08:00-21:00; PH,Su 10:00-21:00\"", with: "sometimes")
    let validator = Fixture.validated(sample)
    #expect(validator.problems.isEmpty)
    #expect(validator.warnings.count == 12)
    #expect(validator.warnings[0].text.contains("no such rule"))
  }

  @Test("what is published stays as it is: a change is a new version")
  func immutability() throws {
    let sample = try Fixture.sample
    let existing = Fixture.existing(sample)
    #expect(Fixture.validated(sample, existing: existing).problems.isEmpty)
    let cheaper = sample.replacingOccurrences(of: "micros: 12900000", with: "micros: 9900000")
    #expect(Fixture.validated(cheaper, existing: existing).problems.map(\.path) == ["product_versions[0].product_version_id"])
    let longer = sample.replacingOccurrences(of: "title: A day of coffee", with: "title: A long day of coffee")
    #expect(Fixture.validated(longer, existing: existing).problems.map(\.path) == ["journey_documents[0].version"])
    let renamed = sample.replacingOccurrences(of: "name: \"Café Central\"", with: "name: Central")
    #expect(Fixture.validated(renamed, existing: existing).problems.isEmpty)
  }

  @Test("a bundle may speak of what is already there")
  func existingReferences() throws {
    let existing = Fixture.existing(try Fixture.sample)
    let addition = "products: [{product_id: PRD-2, title: Two, current_version_id: PRDV-VIEN-COFFEE-PASS-1.0.0}]"
    let validator = Fixture.validated(addition, existing: existing)
    #expect(validator.problems.map(\.path) == ["products[0].current_version_id"])
    #expect(validator.problems.first?.text.contains("a version of PRD-VIEN-COFFEE-PASS") == true)
  }
}
