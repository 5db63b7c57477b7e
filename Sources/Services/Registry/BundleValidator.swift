import SpanwireSchema
import SpanwireWellKnown

/// What the registry cannot judge by itself and Platform hands in from the rooms that can: journeys, opening hours, clocks, and the
/// rules of flags.
public struct BundleChecks: Sendable {
  /// A mistake in a journey document: the field's path in it, and what is wrong.
  public typealias JourneyProblem = (path: String, text: String)

  /// Everything wrong with a journey document by itself.
  public var journeyDocument: @Sendable (JourneyDocument) -> [JourneyProblem]
  /// Why opening hours cannot be read; nil when they can.
  public var openingHours: @Sendable (String) -> String?
  /// Whether the city graph keeps this time zone's time.
  public var timeZone: @Sendable (String) -> Bool
  /// Why a flag's rule cannot be evaluated; nil when it can.
  public var targeting: @Sendable (Google_Protobuf_Struct) -> String?

  public init(
    journeyDocument: @escaping @Sendable (JourneyDocument) -> [JourneyProblem],
    openingHours: @escaping @Sendable (String) -> String?,
    timeZone: @escaping @Sendable (String) -> Bool,
    targeting: @escaping @Sendable (Google_Protobuf_Struct) -> String?
  ) {
    self.journeyDocument = journeyDocument
    self.openingHours = openingHours
    self.timeZone = timeZone
    self.targeting = targeting
  }
}

/// What a bundle is judged against.
struct RegistryContent: Sendable {
  var tenant = ""
  /// The tenant's definitions.
  var own: [DefinitionKey: Definition.Value] = [:]
  /// Those that tenant `platform` shares with it.
  var shared: [DefinitionKey: Definition.Value] = [:]
  /// The content hashes of versions that were ever published, removed ones too.
  var published: [PublishedVersion: String] = [:]
}

/// A version of a definition that cannot change any more.
struct PublishedVersion: Hashable, Sendable {
  var key: DefinitionKey
  var version: String
}

/// Judges a bundle whole, against itself and against what the registry already holds. Pure: definitions in, problems out.
struct BundleValidator {
  let bundle: ReadBundle
  let content: RegistryContent
  let checks: BundleChecks

  private(set) var problems: [BundleProblem]
  private(set) var warnings: [BundleProblem] = []
  /// The bundle's definitions by key; of a key given twice, the first.
  private var brought: [DefinitionKey: Definition.Value] = [:]
  private var removed: Set<DefinitionKey> = []
  private var here = LocatedDefinition(path: "", line: nil, value: .vendor(Vendor()))

  init(bundle: ReadBundle, content: RegistryContent, checks: BundleChecks) {
    self.bundle = bundle
    self.content = content
    self.checks = checks
    problems = bundle.problems
  }

  mutating func validate() {
    let count = bundle.definitions.count + bundle.removals.count
    if count > RegistryLimits.definitionsPerBundle {
      problems.append(
        BundleProblem(
          path: "bundle", line: nil, text: "\(count) definitions in one bundle; the limit is \(RegistryLimits.definitionsPerBundle)"))
      return
    }
    checkNames()
    for definition in bundle.definitions {
      here = definition
      id(idField, definition.key.id)
      for reference in definition.value.references { check(reference) }
      check(definition.value)
      checkImmutability(definition)
    }
    checkRemovals()
    let known = problems.count
    checkCycles(.flag, "depends_on", "flags depend on each other in a circle")
    if problems.count == known { checkDependencies() }
    checkCycles(.modelRoute, "fallback_route_ids", "routes fall back on each other in a circle")
  }

  private mutating func check(_ value: Definition.Value) {
    switch value {
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
    case .modelRoute(let value): check(value)
    case .flag(let value): check(value)
    case .policy(let value): check(value)
    case .role(let value): check(value)
    case .approvalRow(let value): check(value)
    case .accessPolicy(let value): check(value)
    case .slaTarget(let value): check(value)
    }
  }

  // MARK: What definitions say of each other

  /// A definition as it will be once the bundle is taken.
  func definition(_ kind: DefinitionKind, _ id: String) -> Definition.Value? {
    let key = DefinitionKey(kind, id)
    if let value = brought[key] { return value }
    if !removed.contains(key), let value = content.own[key] { return value }
    return content.shared[key]
  }

  private mutating func check(_ reference: DefinitionReference) {
    let key = reference.key
    if key.id.isEmpty {
      mistake(reference.field, "must name a \(key.kind.word)")
    } else if definition(key.kind, key.id) == nil, !bundle.unread.contains(key) {
      mistake(reference.field, "there is no \(key.kind.word) \(key.id)")
    }
  }

  /// Every variant that any version of a product will offer.
  func variants(ofProduct productID: String) -> Set<String> {
    var found: Set<String> = []
    let kept = content.own.filter { brought[$0.key] == nil && !removed.contains($0.key) }
    for value in [content.shared, kept, brought].flatMap(\.values) {
      if case .productVersion(let version) = value, version.productID == productID {
        found.formUnion(version.variants.map(\.variantID))
      }
    }
    return found
  }

  /// The names of the tenant's own definitions of a kind, as they will be once the bundle is taken.
  func definitions(_ kind: DefinitionKind) -> [String] {
    let kept = content.own.keys.filter { !removed.contains($0) }
    return Set(kept).union(brought.keys).filter { $0.kind == kind }.map(\.id).sorted()
  }

  func hasUnread(_ kind: DefinitionKind) -> Bool { bundle.unread.contains { $0.kind == kind } }

  /// Each name stands in a bundle once, to bring or to take out.
  private mutating func checkNames() {
    var first: [DefinitionKey: (path: String, line: Int?)] = [:]
    for definition in bundle.definitions {
      here = definition
      if definition.key.id.isEmpty { continue }
      if let other = first[definition.key] {
        mistake(idField, "\(definition.key.id) is defined twice, first by \(other.path)\(other.line.map { " (line \($0))" } ?? "")")
      } else {
        first[definition.key] = (definition.path, definition.line)
        brought[definition.key] = definition.value
      }
    }
    for removal in bundle.removals {
      let name = "\(removal.key.kind.word) \(removal.key.id)"
      if let other = first[removal.key] {
        problems.append(
          BundleProblem(path: removal.path, line: removal.line, text: "\(name) stands in the bundle already, as \(other.path)"))
      } else if content.own[removal.key] == nil {
        problems.append(BundleProblem(path: removal.path, line: removal.line, text: "there is no \(name) to remove"))
      } else {
        first[removal.key] = (removal.path, removal.line)
        removed.insert(removal.key)
      }
    }
  }

  /// What stays must not name what goes.
  private mutating func checkRemovals() {
    let gone = bundle.removals.filter { removed.contains($0.key) && definition($0.key.kind, $0.key.id) == nil }
    guard !removed.isEmpty else { return }
    let places = Dictionary(gone.map { ($0.key, $0) }) { first, _ in first }
    for (key, value) in content.own.sorted(by: { $0.key < $1.key }) where brought[key] == nil && !removed.contains(key) {
      for reference in value.references {
        guard let removal = places[reference.key] else { continue }
        problems.append(
          BundleProblem(
            path: removal.path, line: removal.line, text: "\(key.kind.word) \(key.id) still names it, in \(reference.field)"))
      }
      // An experiment names variants, which are no definitions of their own.
      if case .experiment(let experiment) = value, removed.contains(where: { $0.kind == .productVersion }) {
        let offered = variants(ofProduct: experiment.productID)
        for arm in experiment.arms where !offered.contains(arm.variantID) {
          problems.append(
            BundleProblem(
              path: "removals", line: nil, text: "experiment \(key.id) still assigns \(arm.variantID), which no version would offer"))
        }
      }
    }
  }

  /// Looks for circles among definitions of one kind, and tells each of them once, at the first definition of the bundle in it.
  private mutating func checkCycles(_ kind: DefinitionKind, _ field: String, _ text: String) {
    var finished: Set<String> = []
    for located in bundle.definitions where located.key.kind == kind && !finished.contains(located.key.id) {
      var path: [(id: String, next: [String])] = [(located.key.id, successors(kind, located.key.id))]
      while let (id, next) = path.last {
        guard let successor = next.first else {
          finished.insert(id)
          path.removeLast()
          continue
        }
        path[path.count - 1].next.removeFirst()
        if let start = path.firstIndex(where: { $0.id == successor }) {
          here = located
          mistake(field, "\(text): \((path[start...].map(\.id) + [successor]).joined(separator: " → "))")
        } else if !finished.contains(successor) {
          path.append((successor, successors(kind, successor)))
        }
      }
    }
  }

  /// A flag's rule holds those of all that it depends on, one as often as there are ways to it: they must be few. Where there is no circle.
  private mutating func checkDependencies() {
    func ways(_ id: String, _ left: inout Int) {
      for next in successors(.flag, id) where left >= 0 {
        left -= 1
        ways(next, &left)
      }
    }
    for located in bundle.definitions where located.key.kind == .flag {
      var left = RegistryLimits.flagDependencies
      ways(located.key.id, &left)
      here = located
      if left < 0 { mistake("depends_on", "leads to more than \(RegistryLimits.flagDependencies) flags, counting one by each way to it") }
    }
  }

  private func successors(_ kind: DefinitionKind, _ id: String) -> [String] {
    (definition(kind, id)?.references ?? []).filter { $0.key.kind == kind }.map(\.key.id)
  }

  /// A version that was ever published keeps its content, also after it was replaced or removed.
  private mutating func checkImmutability(_ definition: LocatedDefinition) {
    guard let version = definition.value.publishedVersion,
      let hash = content.published[PublishedVersion(key: definition.key, version: version)], hash != definition.value.contentHash
    else { return }
    if version.isEmpty {
      mistake(idField, "\(definition.key.id) is published and immutable: a change is a new version")
    } else {
      mistake("version", "\(definition.key.id) is published as \(version) and immutable: a change needs another version")
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

  private var idField: String { DefinitionSection.of(here.key.kind)?.idField ?? "" }
}
