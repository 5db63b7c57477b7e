import SpanwireSchema

/// Resolves what a session runs on. Pure: the same definitions and the same request give the same bytes.
enum RuntimeConfigResolver {
  /// Why there is no configuration for a request.
  enum Refusal: Error, Hashable {
    case unknown(DefinitionKey)
    case marketNotAdmitted(market: String, admitted: [String])
    /// An experiment of another product.
    case foreignExperiment(key: String, product: String)
  }

  /// The configuration without the revisions it is of, its hash and its reference.
  static func resolve(
    _ request: ResolveRuntimeConfigRequest, lookup: (DefinitionKey) throws -> Definition.Value?
  ) throws -> RuntimeConfig {
    func required(_ kind: DefinitionKind, _ id: String) throws -> Definition.Value {
      let key = DefinitionKey(kind, id)
      guard let value = try lookup(key) else { throw Refusal.unknown(key) }
      return value
    }
    var versionID = request.productVersionID
    if versionID.isEmpty {
      guard case .product(let product) = try required(.product, request.productID) else { preconditionFailure("kind and value disagree") }
      versionID = product.currentVersionID
    }
    guard case .productVersion(let version) = try required(.productVersion, versionID) else {
      preconditionFailure("kind and value disagree")
    }
    guard case .market(let market) = try required(.market, request.marketCode) else { preconditionFailure("kind and value disagree") }
    guard version.marketCodes.contains(market.marketCode) else {
      throw Refusal.marketNotAdmitted(market: market.marketCode, admitted: version.marketCodes)
    }
    var config = RuntimeConfig()
    config.productID = version.productID
    config.productVersion = version
    config.market = market
    for profileID in version.profileIds {
      if case .profile(let profile) = try required(.profile, profileID) { config.profiles.append(profile) }
    }
    if case .journeyDocument(let document) = try required(.journeyDocument, version.journeyDocID) { config.journeyDocument = document }
    for tokenID in tokenIDs(of: version, config.profiles, config.journeyDocument) {
      if case .token(let token) = try required(.token, tokenID) { config.tokens.append(token) }
    }
    let subject = request.userID.isEmpty ? request.avatarID : request.userID
    for key in Set(request.experimentKeys).sorted() {
      guard case .experiment(let experiment) = try required(.experiment, key) else { preconditionFailure("kind and value disagree") }
      guard experiment.productID == version.productID else {
        throw Refusal.foreignExperiment(key: key, product: experiment.productID)
      }
      guard experiment.segments.isEmpty || request.segments.contains(where: experiment.segments.contains) else { continue }
      if let variant = ExperimentBucket.variant(of: experiment, for: subject) { config.experimentVariants[key] = variant }
    }
    return config
  }

  /// Every token the version can bring a traveller to hold or to redeem, each once, sorted.
  private static func tokenIDs(of version: ProductVersion, _ profiles: [Profile], _ document: JourneyDocument?) -> [String] {
    var ids: Set<String> = []
    for variant in version.variants { ids.formUnion(variant.grants.map(\.tokenID)) }
    for profile in profiles {
      if case .token(let tokens)? = profile.kind { ids.formUnion(tokens.tokenIds) }
    }
    for node in document?.nodes ?? [] {
      if case .redeem(let redeem)? = node.kind { ids.insert(redeem.tokenID) }
    }
    return ids.sorted()
  }
}

/// Stable assignment of users to the arms of an experiment.
enum ExperimentBucket {
  /// The arm a user falls into, by a hash of experiment and user: it changes only when the weights do.
  static func variant(of experiment: Experiment, for subject: String) -> String? {
    let total = experiment.arms.reduce(UInt64(0)) { $0 + UInt64($1.weight) }
    guard total > 0 else { return nil }
    var point = hash("\(experiment.experimentKey)\u{1F}\(subject)") % total
    for arm in experiment.arms {
      if point < UInt64(arm.weight) { return arm.variantID }
      point -= UInt64(arm.weight)
    }
    return nil
  }

  /// FNV-1a of 64 bits, then the splitmix64 finaliser, because the low bits of FNV alone are not even enough for a modulus.
  static func hash(_ text: String) -> UInt64 {
    var value: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in text.utf8 { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}
