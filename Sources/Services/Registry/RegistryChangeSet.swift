import SpanwireDatabase
import SpanwireSchema
import SpanwireServiceKit

/// What applying a bundle would do to a tenant's registry: read, judged and compared outside of any transaction, because that takes
/// milliseconds; a transaction then applies it only if the registry is still at the revision it was made for.
struct RegistryChangeSet: Sendable {
  /// The revision it was made for.
  var base: UInt64
  var baseHash: String
  /// Every definition of the bundle, unchanged ones too.
  var changes: [Change]
  /// The definitions to be written, without their revision.
  var writes: [Definition]
  var removals: [DefinitionKey]
  var warnings: [BundleProblem]
  /// The hash of the whole registry once it is applied.
  var contentHash: String
  /// The service points of every market that a change touches, whole, and the time zones of those markets; nil when LEM need not know.
  var cityUpdate: CityUpdate?

  struct CityUpdate: Sendable {
    var servicePoints: [ServicePoint]
    var timeZones: [String: String]
  }

  var isEmpty: Bool { writes.isEmpty && removals.isEmpty }

  /// Everything that stands against a bundle.
  struct Refusal: Error {
    var problems: [BundleProblem]
  }

  /// Reads the registry and compares; throws what refuses the bundle. Runs on a reader's thread.
  init(applying source: BundleSource, tenant: String, checks: BundleChecks, _ snapshot: borrowing Snapshot) throws {
    let head = try RegistryStore.head(snapshot, tenant)
    (base, baseHash) = (head.revision, head.contentHash)
    var content = RegistryContent(tenant: tenant)
    content.own = try RegistryStore.everything(snapshot, tenant)
    if tenant != Caller.platformTenant {
      content.shared = try RegistryStore.everything(snapshot, Caller.platformTenant).filter(\.key.kind.isShared)
    }
    let bundle = try source.read(tenant, content, upTo: head.revision, snapshot)
    content.published = try RegistryStore.published(snapshot, tenant, of: bundle.definitions.map(\.value))

    var validator = BundleValidator(bundle: bundle, content: content, checks: checks)
    validator.validate()
    guard validator.problems.isEmpty else { throw Refusal(problems: validator.problems) }
    warnings = validator.warnings

    var hashes = try RegistryStore.hashes(snapshot, tenant)
    (changes, writes, removals) = ([], [], [])
    var result = content.own
    for located in bundle.definitions {
      let change = DefinitionDiff.change(of: located.key, from: content.own[located.key], to: located.value)
      changes.append(change)
      guard change.action != .unchanged else { continue }
      let hash = located.value.contentHash
      writes.append(
        Definition(kind: located.key.kind, id: located.key.id, contentHash: hash, tenantID: tenant, value: located.value))
      hashes[located.key] = hash
      result[located.key] = located.value
    }
    for removal in bundle.removals {
      changes.append(Change(action: .removed, kind: removal.key.kind, id: removal.key.id))
      removals.append(removal.key)
      (hashes[removal.key], result[removal.key]) = (nil, nil)
    }
    guard hashes.count <= RegistryLimits.definitionsPerTenant else {
      throw Refusal(problems: [
        BundleProblem(path: "bundle", line: nil, text: "the registry holds at most \(RegistryLimits.definitionsPerTenant) definitions")
      ])
    }
    contentHash = writes.isEmpty && removals.isEmpty ? head.contentHash : Self.contentHash(hashes)
    cityUpdate = Self.cityUpdate(writes.map(\.value!) + removals.map { content.own[$0]! }, content, after: result)
  }

  /// The hash of a registry: of every definition's name and hash, in order.
  static func contentHash(_ hashes: [DefinitionKey: String]) -> String {
    var sum = SHA256()
    for (key, hash) in hashes.sorted(by: { $0.key < $1.key }) { sum.update("\(key.name)\u{1F}\(hash)\n") }
    return "sha256:" + SHA256.hex(sum.finish())
  }

  /// LEM takes the whole set of each market it is told of: of those whose places or whose clock changed.
  private static func cityUpdate(
    _ touched: [Definition.Value], _ before: RegistryContent, after: [DefinitionKey: Definition.Value]
  ) -> CityUpdate? {
    var markets: Set<String> = []
    for value in touched {
      switch value {
      case .market(let market): markets.insert(market.marketCode)
      case .servicePoint(let place):
        markets.insert(place.marketCode)
        // A place that moves to another market leaves the one it was in.
        if case .servicePoint(let old)? = before.own[value.key] { markets.insert(old.marketCode) }
      default: break
      }
    }
    guard !markets.isEmpty else { return nil }
    var update = CityUpdate(servicePoints: [], timeZones: [:])
    for code in markets {
      let key = DefinitionKey(.market, code)
      // A market that is no more keeps the time it had, for places that are no more.
      guard case .market(let market)? = after[key] ?? before.shared[key] ?? before.own[key] else { continue }
      update.timeZones[code] = market.timeZone
    }
    for (_, value) in after.sorted(by: { $0.key < $1.key }) {
      if case .servicePoint(let place) = value, markets.contains(place.marketCode) { update.servicePoints.append(place) }
    }
    return update
  }
}

extension RegistryChangeSet {
  /// What an Apply answers once its changes are at a revision.
  func response(at revision: UInt64) -> ApplyResponse {
    ApplyResponse(
      revision: revision, contentHash: contentHash, changes: changes, warnings: warnings.map { "\($0.path): \($0.description)" })
  }
}

/// Where the wanted definitions come from, unread: reading takes milliseconds and is done away from the loop.
enum BundleSource: Sendable {
  case yaml(String)
  case message(Bundle)
  /// As the registry was at an earlier revision.
  case revision(UInt64)

  init?(_ source: ApplyRequest.Source?) {
    switch source {
    case .bundleYaml(let text): self = .yaml(text)
    case .bundle(let bundle): self = .message(bundle)
    case nil: return nil
    }
  }

  init?(_ source: DiffRequest.Source?) {
    switch source {
    case .bundleYaml(let text): self = .yaml(text)
    case .bundle(let bundle): self = .message(bundle)
    case .revision(let revision): self = .revision(revision)
    case nil: return nil
    }
  }

  fileprivate func read(
    _ tenant: String, _ content: RegistryContent, upTo head: UInt64, _ snapshot: borrowing Snapshot
  ) throws -> ReadBundle {
    switch self {
    case .yaml(let text): return BundleReader.read(yaml: text)
    case .message(let bundle): return BundleReader.read(bundle)
    case .revision(let revision):
      guard revision <= head else {
        throw RegistryChangeSet.Refusal(problems: [
          BundleProblem(path: "revision", line: nil, text: "the registry is at revision \(head), \(revision) lies ahead")
        ])
      }
      return ReadBundle(
        restoring: try RegistryStore.everything(snapshot, tenant, at: revision), from: revision, over: content.own)
    }
  }
}

extension ReadBundle {
  /// What makes `now` what the registry was `then`.
  fileprivate init(
    restoring then: [DefinitionKey: Definition.Value], from revision: UInt64, over now: [DefinitionKey: Definition.Value]
  ) {
    bundleID = "revision-\(revision)"
    for (key, value) in then.sorted(by: { $0.key < $1.key }) where now[key] != value {
      definitions.append(LocatedDefinition(path: "revision \(revision): \(key.name)", line: nil, value: value))
    }
    for key in now.keys.sorted() where then[key] == nil {
      removals.append(LocatedRemoval(path: "revision \(revision): \(key.name)", line: nil, key: key))
    }
  }
}
