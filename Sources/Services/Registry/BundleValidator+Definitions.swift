import SpanwireSchema
import SpanwireServiceKit

/// What must hold for each kind of definition.
extension BundleValidator {
  mutating func check(_ market: Market) {
    text("name", market.name, required: true)
    text("city_code", market.cityCode, required: true)
    if !checks.timeZone(market.timeZone) { mistake("time_zone", "\"\(market.timeZone)\" is no IANA time zone") }
    // Other tenants' places are kept by it, and they are not told.
    if content.tenant == Caller.platformTenant, case .market(let old)? = content.own[DefinitionKey(.market, market.marketCode)],
      old.timeZone != market.timeZone
    {
      mistake("time_zone", "a shared market keeps its time zone, \(old.timeZone): another is a market of another code")
    }
    currency("currency", market.currency)
    if !isUpperCase(market.country, count: 2) { mistake("country", "must be a code of ISO 3166-1, such as AT") }
  }

  mutating func check(_ product: Product) {
    text("title", product.title, required: true)
    if case .productVersion(let version)? = definition(.productVersion, product.currentVersionID), version.productID != product.productID {
      mistake("current_version_id", "\(version.productVersionID) is a version of \(version.productID)")
    }
  }

  mutating func check(_ version: ProductVersion) {
    text("title", version.title, required: true)
    text("version", version.version, required: true)
    if version.marketCodes.isEmpty { mistake("market_codes", "must name at least one market") }
    unique("market_codes", version.marketCodes)
    for (index, segment) in version.segments.enumerated() { id("segments[\(index)]", segment) }
    checkProfiles(of: version)
    unique("variants", version.variants.map(\.variantID))
    for (index, variant) in version.variants.enumerated() { check(variant, at: "variants[\(index)]") }
  }

  private mutating func checkProfiles(of version: ProductVersion) {
    var kinds: [String: String] = [:]
    for (index, profileID) in version.profileIds.enumerated() {
      let field = "profile_ids[\(index)]"
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
    case .pricing(let pricing): money("pricing.ceiling", pricing.ceiling)
    case .safety(let safety):
      if !(safety.maxWalkingMetres >= 0 && safety.maxWalkingMetres <= 1_000_000) {
        mistake("safety.max_walking_metres", "must be from 0 to 1000000")
      }
      if !safety.latestEndLocal.isEmpty, TimeOfDay(safety.latestEndLocal) == nil {
        mistake("safety.latest_end_local", "must be a time such as \"22:00\"")
      }
    case .quality(let quality):
      if !(0...1).contains(quality.minExperienceScore) { mistake("quality.min_experience_score", "must be from 0 to 1") }
    case .ui(let ui): text("ui.theme", ui.theme)
    case .token, .ops, .loyalty: break
    case nil: mistake("", "must be one of token, loyalty, pricing, safety, ui, ops, quality")
    }
  }

  mutating func check(_ document: JourneyDocument) {
    text("title", document.title)
    text("version", document.version, required: true)
    for problem in checks.journeyDocument(document) { mistake(problem.path, problem.text) }
  }

  mutating func check(_ place: ServicePoint) {
    text("name", place.name, required: true)
    text("street", place.street)
    text("website", place.website)
    text("attribution", place.attribution)
    if let position = place.position {
      if !(-90...90).contains(position.latitude) { mistake("position.latitude", "must be from -90 to 90") }
      if !(-180...180).contains(position.longitude) { mistake("position.longitude", "must be from -180 to 180") }
    } else {
      mistake("position", "must be given")
    }
    for (index, tag) in place.tags.enumerated() { id("tags[\(index)]", tag) }
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
    for (index, segment) in experiment.segments.enumerated() { id("segments[\(index)]", segment) }
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
    text("description", agent.description)
    text("changelog", agent.changelog)
    let types = ["trip_planner", "journey_guide", "support", "pricing", "safety", "growth", "ops_analyst"]
    let intents = [
      "suggest_next_stop", "build_initial_route", "explain_limits", "offer_upsell", "explain_incident", "suggest_mitigation",
    ]
    if !types.contains(agent.agentType) { mistake("agent_type", "must be one of \(types.joined(separator: ", "))") }
    if agent.intents.isEmpty { mistake("intents", "must name at least one intent") }
    for (index, intent) in agent.intents.enumerated() where !intents.contains(intent) {
      mistake("intents[\(index)]", "must be one of \(intents.joined(separator: ", "))")
    }
    tiers("capability_tiers", agent.capabilityTiers)
    unique("capabilities", agent.capabilities.map(\.tool))
    for (index, capability) in agent.capabilities.enumerated() {
      text("capabilities[\(index)].tool", capability.tool, required: true)
      if !agent.capabilityTiers.contains(capability.permissionTier) {
        mistake("capabilities[\(index)].permission_tier", "must be one of the agent's capability_tiers")
      }
    }
    if agent.byModel, agent.byWorkers { mistake("by_model", "is for agents whose tasks no workers do: by_workers is set") }
    if agent.instructions.utf8.count > RegistryLimits.instructionBytes {
      mistake("instructions", "must have at most \(RegistryLimits.instructionBytes) bytes")
    }
    for (index, namespace) in agent.memoryRead.enumerated() { id("memory_read[\(index)]", namespace) }
    for (index, namespace) in agent.memoryWrite.enumerated() { id("memory_write[\(index)]", namespace) }
    if let policy = agent.modelPolicy {
      text("model_policy.default_model", policy.defaultModel, required: true)
      unique("model_policy.fallback_models", [policy.defaultModel] + policy.fallbackModels)
      if let cost = policy.maxCost { money("model_policy.max_cost", cost) }
      if let price = policy.price {
        money("model_policy.price", price)
        if let cost = policy.maxCost, cost.currency != price.currency || cost.micros < price.micros {
          mistake("model_policy.price", "must be at most max_cost, in its currency")
        }
      }
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

  mutating func money(_ field: String, _ value: Money?) {
    guard let value else { return mistake(field, "must be given") }
    if value.micros < 0 { mistake("\(field).micros", "must not be negative") }
    currency("\(field).currency", value.currency)
  }

  mutating func tiers(_ field: String, _ values: [String]) {
    for (index, tier) in values.enumerated() where !ToolTier.all.contains(tier) {
      mistake("\(field)[\(index)]", "must be one of \(ToolTier.all.joined(separator: ", "))")
    }
  }

  private mutating func currency(_ field: String, _ value: String) {
    if !isUpperCase(value, count: 3) { mistake(field, "must be a code of ISO 4217, such as EUR") }
  }

  mutating func unique(_ field: String, _ values: [String]) {
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
