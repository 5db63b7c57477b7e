import SpanwireSchema
import Testing

@testable import SpanwireGateway

@Suite("Proposals against the session's profiles")
struct ProposalCheckTests {
  static let session = ProductRuntimeSession(
    productRuntimeSessionID: "PRS-1", productID: "PRD-PASS", productVersionID: "PRDV-PASS-1", state: .active)

  static let config = RuntimeConfig(
    productVersion: ProductVersion(
      productVersionID: "PRDV-PASS-1",
      variants: [
        Variant(variantID: "VAR-THREE", price: Money(micros: 12_900_000, currency: "EUR")),
        Variant(variantID: "VAR-DEAR", price: Money(micros: 99_000_000, currency: "EUR")),
        Variant(variantID: "VAR-DOLLAR", price: Money(micros: 1, currency: "USD")),
      ]),
    profiles: [
      Profile(profileID: "P", kind: .pricing(PricingProfile(ceiling: Money(micros: 25_000_000, currency: "EUR")))),
      Profile(profileID: "O", kind: .ops(OpsProfile(blockedServicePointIds: ["SP-CLOSED"]))),
    ])

  @Test(
    "Each kind is applied or refused by what the profiles say",
    arguments: [
      (Proposal.Kind.product(ProductProposal(variantID: "VAR-THREE")), true),
      (.product(ProductProposal(productID: "PRD-PASS", variantID: "VAR-THREE")), true),
      (.product(ProductProposal(productID: "PRD-OTHER", variantID: "VAR-THREE")), false),
      (.product(ProductProposal(variantID: "VAR-NONE")), false),
      (.product(ProductProposal(variantID: "VAR-DEAR")), false),
      (.product(ProductProposal(variantID: "VAR-DOLLAR")), false),
      (.recommendation(Recommendation(servicePointID: "SP-OPEN")), true),
      (.recommendation(Recommendation(servicePointID: "SP-CLOSED")), false),
      (.explanation(Explanation(text: "so it is")), true),
      (.route(RouteProposal(servicePointIds: ["SP-OPEN"])), false),
      (.requestedAction(RequestedAction(action: "redeem")), false),
    ])
  func judge(_ kind: Proposal.Kind, isApplied: Bool) {
    let verdict = ProposalCheck.judge(Proposal(proposalID: "PRP-1", kind: kind), for: Self.session, under: Self.config)
    switch verdict {
    case .apply(let change): #expect(isApplied && !change.isEmpty)
    case .refuse(let reason): #expect(!isApplied && !reason.isEmpty)
    }
  }

  @Test("A proposal that says nothing is refused")
  func empty() {
    #expect(ProposalCheck.judge(Proposal(), for: Self.session, under: Self.config) == .refuse("the proposal says nothing"))
  }

  @Test("A buyer who names nothing gets what she accepted, else what an experiment assigned, else the first")
  func variants() {
    var config = Self.config
    #expect(config.defaultVariant(preferring: "")?.variantID == "VAR-THREE")
    config.experimentVariants["EXP"] = "VAR-DEAR"
    #expect(config.defaultVariant(preferring: "")?.variantID == "VAR-DEAR")
    #expect(config.defaultVariant(preferring: "VAR-DOLLAR")?.variantID == "VAR-DOLLAR")
    #expect(RuntimeConfig().defaultVariant(preferring: "VAR-THREE") == nil)
  }
}
