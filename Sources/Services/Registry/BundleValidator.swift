import SpanwireSchema

/// What the registry cannot judge by itself and Platform hands in from the rooms that can: journeys and opening hours.
public struct BundleChecks: Sendable {
  /// A mistake in a journey document: the field's path in it, and what is wrong.
  public typealias JourneyProblem = (path: String, text: String)

  /// Everything wrong with a journey document by itself.
  public var journeyDocument: @Sendable (JourneyDocument) -> [JourneyProblem]
  /// Why opening hours cannot be read; nil when they can.
  public var openingHours: @Sendable (String) -> String?

  public init(
    journeyDocument: @escaping @Sendable (JourneyDocument) -> [JourneyProblem],
    openingHours: @escaping @Sendable (String) -> String?
  ) {
    self.journeyDocument = journeyDocument
    self.openingHours = openingHours
  }
}

/// Judges a bundle whole, against itself and against what the registry already holds. Pure: definitions in, problems out.
struct BundleValidator {
  let bundle: ReadBundle
  /// The definitions there are, by their key.
  let existing: [DefinitionKey: Definition.Value]
  let checks: BundleChecks

  private(set) var problems: [BundleProblem]
  private(set) var warnings: [BundleProblem] = []
  /// The bundle's definitions by key; of a key given twice, the first.
  private var own: [DefinitionKey: Definition.Value] = [:]
  private var here = LocatedDefinition(path: "", line: nil, value: .vendor(Vendor()))

  init(bundle: ReadBundle, existing: [DefinitionKey: Definition.Value], checks: BundleChecks) {
    self.bundle = bundle
    self.existing = existing
    self.checks = checks
    problems = bundle.problems
  }

  mutating func validate() {
    if bundle.definitions.count > RegistryLimits.definitionsPerBundle {
      problems.append(
        BundleProblem(
          path: "bundle", line: nil,
          text: "\(bundle.definitions.count) definitions in one bundle; the limit is \(RegistryLimits.definitionsPerBundle)"))
      return
    }
    var first: [DefinitionKey: LocatedDefinition] = [:]
    for definition in bundle.definitions {
      here = definition
      if definition.key.id.isEmpty { continue }
      if let other = first[definition.key] {
        let line = other.line.map { " (line \($0))" } ?? ""
        mistake(idField, "\(definition.key.id) is defined twice, first by \(other.path)\(line)")
      } else {
        first[definition.key] = definition
        own[definition.key] = definition.value
      }
    }
    for definition in bundle.definitions {
      here = definition
      id(idField, definition.key.id)
      switch definition.value {
      case .market(let value): check(value)
      case .product(let value): check(value)
      case .productVersion(let value): check(value)
      case .profile(let value): check(value)
      case .journeyDocument(let value): check(value)
      case .servicePoint(let value): check(value)
      case .token(let value): check(value)
      case .vendor(let value): text("name", value.name, required: true)
      case .experiment(let value): check(value)
      case .agent(let value): check(value)
      }
      checkImmutability(definition)
    }
  }

  // MARK: What definitions say of each other

  /// A definition as it will be once the bundle is taken.
  func definition(_ kind: DefinitionKind, _ id: String) -> Definition.Value? {
    let key = DefinitionKey(kind, id)
    return own[key] ?? existing[key]
  }

  mutating func reference(_ field: String, _ kind: DefinitionKind, _ id: String) {
    if id.isEmpty {
      mistake(field, "must name a \(kind.word)")
    } else if definition(kind, id) == nil, !bundle.unread.contains(DefinitionKey(kind, id)) {
      mistake(field, "there is no \(kind.word) \(id)")
    }
  }

  /// Every variant that any version of a product offers.
  func variants(ofProduct productID: String) -> Set<String> {
    var found: Set<String> = []
    for (key, value) in existing where own[key] == nil { collect(value) }
    for value in own.values { collect(value) }
    func collect(_ value: Definition.Value) {
      if case .productVersion(let version) = value, version.productID == productID {
        found.formUnion(version.variants.map(\.variantID))
      }
    }
    return found
  }

  func hasUnread(_ kind: DefinitionKind) -> Bool { bundle.unread.contains { $0.kind == kind } }

  private mutating func checkImmutability(_ definition: LocatedDefinition) {
    guard let published = existing[definition.key] else { return }
    switch (published, definition.value) {
    case (.productVersion(let old), .productVersion(let new)) where old != new:
      mistake(idField, "\(old.productVersionID) is published and immutable: a change is a new version")
    case (.journeyDocument(let old), .journeyDocument(let new)) where old != new && old.version == new.version:
      mistake("version", "\(old.journeyDocID) is published as \(old.version) and immutable: a change needs another version")
    default: break
    }
  }

  // MARK: Telling

  mutating func mistake(_ field: String, _ text: String) {
    problems.append(BundleProblem(path: path(field), line: here.line, text: text))
  }

  mutating func doubt(_ field: String, _ text: String) {
    warnings.append(BundleProblem(path: path(field), line: here.line, text: text))
  }

  private func path(_ field: String) -> String { field.isEmpty ? here.path : "\(here.path).\(field)" }

  private var idField: String {
    switch here.key.kind {
    case .market: "market_code"
    case .product: "product_id"
    case .productVersion: "product_version_id"
    case .profile: "profile_id"
    case .journeyDocument: "journey_doc_id"
    case .servicePoint: "service_point_id"
    case .token: "token_id"
    case .vendor: "vendor_id"
    case .experiment: "experiment_key"
    default: "agent_slug"
    }
  }
}
