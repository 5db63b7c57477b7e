import SpanwireSchema

/// Offers a larger variant of the product, if there is one under the price ceiling: a choice, never a purchase.
enum UpsellAdvisor {
  static func offer(_ run: AgentRun) async throws -> AgentAnswer {
    try await run.progress("variants", 30, "Looks at what is on offer")
    guard let config = try await run.config(), let version = config.productVersion else {
      return AgentAnswer(text: "Without a session I do not know which product you use.")
    }
    let held = try await run.entitlements()
    let bought = held.reduce(Int64(0)) { $0 + $1.issued }
    let remaining = held.reduce(Int64(0)) { $0 + $1.remaining }
    let ceiling = ProfileLimits(config).priceCeiling
    let offers = version.variants
      .filter { variant in
        guard let price = variant.price else { return false }
        let withinCeiling = ceiling.map { $0.currency == price.currency && price.micros <= $0.micros } ?? true
        return withinCeiling && quantity(variant) > bought
      }
      .sorted { pricePerToken($0) == pricePerToken($1) ? $0.variantID < $1.variantID : pricePerToken($0) < pricePerToken($1) }
    // Growth asks only those who have nearly used up what they hold; pricing is asked by somebody who wants to know.
    if run.task.agentType == "growth", remaining > 1 {
      return AgentAnswer(text: "You have \(remaining) left; there is no reason to buy more.")
    }
    guard !offers.isEmpty else { return AgentAnswer(text: "There is nothing larger on offer than what you have.") }
    let drafts = offers.prefix(run.maxSuggestions).map { variant in
      AgentAnswer.Draft(
        summary: "\(variant.title) for \(display(variant.price))",
        rationale: "\(quantity(variant)) for \(display(variant.price)), \(display(pricePerToken(variant), variant.price)) each.",
        confidence: 0.7, kind: .product(ProductProposal(productID: version.productID, variantID: variant.variantID)))
    }
    let text = "You could take \(drafts[0].summary)."
    try await run.partial(text)
    return AgentAnswer(text: text, drafts: drafts)
  }

  private static func quantity(_ variant: Variant) -> Int64 { variant.grants.reduce(0) { $0 + $1.quantity } }

  private static func pricePerToken(_ variant: Variant) -> Int64 { (variant.price?.micros ?? 0) / max(1, quantity(variant)) }

  private static func display(_ money: Money?) -> String { money.map { display($0.micros, $0) } ?? "nothing" }

  private static func display(_ micros: Int64, _ money: Money?) -> String {
    let cents = (micros + 5_000) / 10_000
    return "\(cents / 100).\(cents % 100 < 10 ? "0" : "")\(cents % 100) \(money?.currency ?? "")"
  }
}
