import SpanwireSchema

/// GatewayStep two of proposal → action: does what an agent proposed still fit the session's frozen profiles?
///
/// Pure. Route proposals are not judged here: the journey runtime alone judges and applies those.
enum ProposalCheck {
  /// What policy calls a proposal of this kind, and events too.
  static func actionType(of proposal: Proposal) -> String {
    switch proposal.kind {
    case .route: "route_change"
    case .product: "product"
    case .recommendation: "recommendation"
    case .explanation: "explanation"
    case .requestedAction(let wish): wish.action
    case nil: ""
    }
  }

  enum Verdict: Equatable, Sendable {
    /// It fits; what it changes, in words.
    case apply(String)
    case refuse(String)
  }

  static func judge(_ proposal: Proposal, for session: ProductRuntimeSession, under config: RuntimeConfig) -> Verdict {
    switch proposal.kind {
    case .product(let wish):
      guard wish.productID.isEmpty || wish.productID == session.productID else {
        return .refuse("it is for product \(wish.productID), the session is on \(session.productID)")
      }
      guard let variant = config.productVersion?.variants.first(where: { $0.variantID == wish.variantID }) else {
        return .refuse("\(wish.variantID) is not a variant of \(session.productVersionID)")
      }
      for case .pricing(let profile) in config.profiles.compactMap(\.kind) {
        guard let ceiling = profile.ceiling, let price = variant.price else { continue }
        if ceiling.currency != price.currency { return .refuse("its price is in \(price.currency), the ceiling in \(ceiling.currency)") }
        if price.micros > ceiling.micros { return .refuse("\(variant.variantID) costs more than the pricing profile's ceiling") }
      }
      return .apply("variant \(variant.variantID) chosen for the next purchase")
    case .recommendation(let wish):
      for case .ops(let profile) in config.profiles.compactMap(\.kind) where profile.blockedServicePointIds.contains(wish.servicePointID) {
        return .refuse("\(wish.servicePointID) is blocked by the operations profile")
      }
      return .apply(wish.servicePointID.isEmpty ? "noted" : "noted \(wish.servicePointID)")
    case .explanation: return .apply("read")
    case .route: return .refuse("a route is the journey runtime's to judge")
    case .requestedAction(let wish): return .refuse("no agent may \(wish.action)")
    case nil: return .refuse("the proposal says nothing")
    }
  }
}
