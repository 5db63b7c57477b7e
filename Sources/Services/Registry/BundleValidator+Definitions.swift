import Foundation
import SpanwireSchema
import SpanwireServiceKit

/// What must hold for each kind of definition.
extension BundleValidator {
  mutating func check(_ market: Market) {
    text("name", market.name, required: true)
    text("city_code", market.cityCode, required: true)
    if market.timeZone.isEmpty || TimeZone(identifier: market.timeZone) == nil {
      mistake("time_zone", "\"\(market.timeZone)\" is no IANA time zone")
    }
    currency("currency", market.currency)
    if !isUpperCase(market.country, count: 2) { mistake("country", "must be a code of ISO 3166-1, such as AT") }
  }

  mutating func check(_ product: Product) {
    text("title", product.title, required: true)
    reference("current_version_id", .productVersion, product.currentVersionID)
    if case .productVersion(let version)? = definition(.productVersion, product.currentVersionID), version.productID != product.productID {
      mistake("current_version_id", "\(version.productVersionID) is a version of \(version.productID)")
    }
  }

  mutating func check(_ version: ProductVersion) {
    text("title", version.title, required: true)
    text("version", version.version, required: true)
    reference("product_id", .product, version.productID)
    if version.marketCodes.isEmpty { mistake("market_codes", "must name at least one market") }
    for (index, code) in version.marketCodes.enumerated() { reference("market_codes[\(index)]", .market, code) }
    unique("market_codes", version.marketCodes)
    for (index, segment) in version.segments.enumerated() { id("segments[\(index)]", segment) }
    reference("journey_doc_id", .journeyDocument, version.journeyDocID)
    checkProfiles(of: version)
    unique("variants", version.variants.map(\.variantID))
    for (index, variant) in version.variants.enumerated() { check(variant, at: "variants[\(index)]") }
  }

  private mutating func checkProfiles(of version: ProductVersion) {
    var kinds: [String: String] = [:]
    for (index, profileID) in version.profileIds.enumerated() {
      let field = "profile_ids[\(index)]"
      reference(field, .profile, profileID)
      guard case .profile(let profile)? = definition(.profile, profileID), let word = profile.kind?.word else { continue }
      if let other = kinds[word] {
        mistake(field, "a second \(word) profile beside \(other)")
      } else {
        kinds[word] = profileID
      }
    }
  }

  private mutating func check(_ variant: Variant, at path: String) {
    id("\(path).variant_id", variant.variantID)
    text("\(path).title", variant.title, required: true)
    money("\(path).price", variant.price)
    for (index, grant) in variant.grants.enumerated() {
      let field = "\(path).grants[\(index)]"
      reference("\(field).token_id", .token, grant.tokenID)
      if !(1...RegistryLimits.grantQuantity).contains(grant.quantity) {
        mistake("\(field).quantity", "must be from 1 to \(RegistryLimits.grantQuantity)")
      }
      let seconds = grant.validFor?.seconds ?? 0
      if !(1...RegistryLimits.grantSeconds).contains(seconds) { mistake("\(field).valid_for", "must be from one second to ten years") }
    }
  }

  mutating func check(_ profile: Profile) {
    text("title", profile.title)
    switch profile.kind {
    case .token(let token):
      for (index, tokenID) in token.tokenIds.enumerated() { reference("token.token_ids[\(index)]", .token, tokenID) }
    case .pricing(let pricing): money("pricing.ceiling", pricing.ceiling)
    case .safety(let safety):
      if !(safety.maxWalkingMetres >= 0 && safety.maxWalkingMetres <= 1_000_000) {
        mistake("safety.max_walking_metres", "must be from 0 to 1000000")
      }
      if !safety.latestEndLocal.isEmpty, TimeOfDay(safety.latestEndLocal) == nil {
        mistake("safety.latest_end_local", "must be a time such as \"22:00\"")
      }
    case .ops(let ops):
      for (index, place) in ops.blockedServicePointIds.enumerated() {
        reference("ops.blocked_service_point_ids[\(index)]", .servicePoint, place)
      }
    case .quality(let quality):
      if !(0...1).contains(quality.minExperienceScore) { mistake("quality.min_experience_score", "must be from 0 to 1") }
    case .ui(let ui): text("ui.theme", ui.theme)
    case .loyalty: break
    case nil: mistake("", "must be one of token, loyalty, pricing, safety, ui, ops, quality")
    }
  }

  mutating func check(_ document: JourneyDocument) {
    text("title", document.title)
    text("version", document.version, required: true)
    for problem in checks.journeyDocument(document) { mistake(problem.path, problem.text) }
    for (index, node) in document.nodes.enumerated() {
      switch node.kind {
      case .redeem(let redeem): reference("nodes[\(index)].redeem.token_id", .token, redeem.tokenID)
      case .visit(let visit) where !visit.servicePointID.isEmpty:
        reference("nodes[\(index)].visit.service_point_id", .servicePoint, visit.servicePointID)
      default: break
      }
    }
  }

  mutating func check(_ place: ServicePoint) {
    text("name", place.name, required: true)
    text("street", place.street)
    text("website", place.website)
    text("attribution", place.attribution)
    reference("market_code", .market, place.marketCode)
    if let position = place.position {
      if !(-90...90).contains(position.latitude) { mistake("position.latitude", "must be from -90 to 90") }
      if !(-180...180).contains(position.longitude) { mistake("position.longitude", "must be from -180 to 180") }
    } else {
      mistake("position", "must be given")
    }
    for (index, tag) in place.tags.enumerated() { id("tags[\(index)]", tag) }
    if !place.vendorID.isEmpty { reference("vendor_id", .vendor, place.vendorID) }
    if !place.clusterID.isEmpty { id("cluster_id", place.clusterID) }
    if !(0...1).contains(place.experienceScore) { mistake("experience_score", "must be from 0 to 1") }
    if let dwell = place.dwell, !(0...RegistryLimits.dwellSeconds).contains(dwell.seconds) { mistake("dwell", "must be from 0 to a day") }
    if place.openingHours.isEmpty {
      doubt("opening_hours", "\(place.servicePointID) has no opening hours: it is never taken for open")
    } else if let problem = checks.openingHours(place.openingHours) {
      doubt("opening_hours", "\(place.servicePointID): \"\(place.openingHours)\" cannot be read (\(problem)): it is never taken for open")
    }
  }

  mutating func check(_ token: Token) {
    text("title", token.title, required: true)
    money("settlement_value", token.settlementValue)
    for (index, tag) in token.redeemableTags.enumerated() { id("redeemable_tags[\(index)]", tag) }
  }

  mutating func check(_ experiment: Experiment) {
    reference("product_id", .product, experiment.productID)
    if experiment.arms.isEmpty { mistake("arms", "must have at least one arm") }
    unique("arms", experiment.arms.map(\.variantID))
    let offered = variants(ofProduct: experiment.productID)
    var total: UInt64 = 0
    for (index, arm) in experiment.arms.enumerated() {
      if !offered.contains(arm.variantID), !hasUnread(.productVersion) {
        mistake("arms[\(index)].variant_id", "no version of \(experiment.productID) offers \(arm.variantID)")
      }
      if arm.weight > RegistryLimits.armWeight { mistake("arms[\(index)].weight", "must be at most \(RegistryLimits.armWeight)") }
      total += UInt64(arm.weight)
    }
    if !experiment.arms.isEmpty, total == 0 { mistake("arms", "the weights must not all be 0") }
  }

  mutating func check(_ agent: AgentDefinition) {
    text("title", agent.title)
    let types = ["trip_planner", "journey_guide", "support", "pricing", "safety", "growth", "ops_analyst"]
    let intents = [
      "suggest_next_stop", "build_initial_route", "explain_limits", "offer_upsell", "explain_incident", "suggest_mitigation",
    ]
    let tiers = ["read", "network_read", "network_write", "money", "system_admin"]
    if !types.contains(agent.agentType) { mistake("agent_type", "must be one of \(types.joined(separator: ", "))") }
    if agent.intents.isEmpty { mistake("intents", "must name at least one intent") }
    for (index, intent) in agent.intents.enumerated() where !intents.contains(intent) {
      mistake("intents[\(index)]", "must be one of \(intents.joined(separator: ", "))")
    }
    for (index, tier) in agent.capabilityTiers.enumerated() where !tiers.contains(tier) {
      mistake("capability_tiers[\(index)]", "must be one of \(tiers.joined(separator: ", "))")
    }
  }

  // MARK: Values

  mutating func id(_ field: String, _ value: String) {
    guard !Identifier.isValid(value) else { return }
    mistake(field, "\"\(value.prefix(40))\" is no id: 1 to 128 letters, digits, dots, dashes, underscores")
  }

  mutating func text(_ field: String, _ value: String, required: Bool = false) {
    if required, value.isEmpty { mistake(field, "must not be empty") }
    if value.utf8.count > RegistryLimits.titleLetters { mistake(field, "must have at most \(RegistryLimits.titleLetters) bytes") }
    if value.unicodeScalars.contains(where: { $0.value < 0x20 }) { mistake(field, "must not contain control characters") }
  }

  private mutating func money(_ field: String, _ value: Money?) {
    guard let value else { return mistake(field, "must be given") }
    if value.micros < 0 { mistake("\(field).micros", "must not be negative") }
    currency("\(field).currency", value.currency)
  }

  private mutating func currency(_ field: String, _ value: String) {
    if !isUpperCase(value, count: 3) { mistake(field, "must be a code of ISO 4217, such as EUR") }
  }

  private mutating func unique(_ field: String, _ values: [String]) {
    var seen: Set<String> = []
    for value in values where !seen.insert(value).inserted { mistake(field, "\(value) stands there twice") }
  }

  private func isUpperCase(_ value: String, count: Int) -> Bool {
    value.utf8.count == count && value.utf8.allSatisfy { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
  }
}

extension Profile.Kind {
  /// The field of `Profile` it stands in.
  var word: String {
    switch self {
    case .token: "token"
    case .loyalty: "loyalty"
    case .pricing: "pricing"
    case .safety: "safety"
    case .ui: "ui"
    case .ops: "ops"
    case .quality: "quality"
    }
  }
}
