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
  var warnings: [String]
  /// The hash of the whole registry once it is applied.
  var contentHash: String
  /// The service points of every market that a change touches, whole, and the time zones of those markets; nil when LEM need not know.
  var cityUpdate: CityUpdate?

  struct CityUpdate: Sendable {
    var servicePoints: [ServicePoint]
    var timeZones: [String: String]
  }

  var isEmpty: Bool { writes.isEmpty }

  /// Reads the registry and compares; throws what refuses the bundle. Runs on a reader's thread.
  init(applying bundle: ReadBundle, tenant: String, checks: BundleChecks, _ snapshot: borrowing Snapshot) throws {
    let head = try RegistryStore.head(snapshot, tenant)
    (base, baseHash) = (head.revision, head.contentHash)
    var existing: [DefinitionKey: Definition.Value] = [:]
    var after: DefinitionKey?
    repeat {
      let page = try RegistryStore.definitions(snapshot, tenant, kind: nil, after: after, limit: 1_000)
      for definition in page { if let value = definition.value { existing[value.key] = value } }
      after = page.count < 1_000 ? nil : page.last?.value?.key
    } while after != nil

    var validator = BundleValidator(bundle: bundle, existing: existing, checks: checks)
    validator.validate()
    guard validator.problems.isEmpty else { throw BundleRefusal.error(validator.problems) }
    warnings = validator.warnings.map { "\($0.path): \($0.description)" }

    var hashes = try RegistryStore.hashes(snapshot, tenant)
    (changes, writes) = ([], [])
    var result = existing
    for located in bundle.definitions {
      let change = DefinitionDiff.change(of: located.key, from: existing[located.key], to: located.value)
      changes.append(change)
      guard change.action != .unchanged else { continue }
      let hash = SHA256.name(of: located.value.message.encoded())
      writes.append(Definition(kind: located.key.kind, id: located.key.id, contentHash: hash, value: located.value))
      hashes[located.key] = hash
      result[located.key] = located.value
    }
    guard hashes.count <= RegistryLimits.definitionsPerTenant else {
      throw BundleRefusal.error([
        BundleProblem(path: "bundle", line: nil, text: "the registry holds at most \(RegistryLimits.definitionsPerTenant) definitions")
      ])
    }
    contentHash = writes.isEmpty ? head.contentHash : Self.contentHash(hashes)
    cityUpdate = Self.cityUpdate(writes, before: existing, after: result)
  }

  /// The hash of a registry: of every definition's name and hash, in order.
  static func contentHash(_ hashes: [DefinitionKey: String]) -> String {
    var sum = SHA256()
    for (key, hash) in hashes.sorted(by: { $0.key < $1.key }) { sum.update("\(key.name)\u{1F}\(hash)\n") }
    return "sha256:" + SHA256.hex(sum.finish())
  }

  /// LEM takes the whole set of each market it is told of: of those whose places or whose clock changed.
  private static func cityUpdate(
    _ writes: [Definition], before: [DefinitionKey: Definition.Value], after: [DefinitionKey: Definition.Value]
  ) -> CityUpdate? {
    var markets: Set<String> = []
    for write in writes {
      switch write.value {
      case .market(let market): markets.insert(market.marketCode)
      case .servicePoint(let place):
        markets.insert(place.marketCode)
        // A place that moves to another market leaves the one it was in.
        if case .servicePoint(let old)? = before[DefinitionKey(.servicePoint, place.servicePointID)] { markets.insert(old.marketCode) }
      default: break
      }
    }
    guard !markets.isEmpty else { return nil }
    var update = CityUpdate(servicePoints: [], timeZones: [:])
    for (_, value) in after.sorted(by: { $0.key < $1.key }) {
      switch value {
      case .servicePoint(let place) where markets.contains(place.marketCode): update.servicePoints.append(place)
      case .market(let market) where markets.contains(market.marketCode): update.timeZones[market.marketCode] = market.timeZone
      default: break
      }
    }
    return update
  }
}
