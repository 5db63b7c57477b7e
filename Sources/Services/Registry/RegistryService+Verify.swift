import SpanwireDatabase
import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

/// Proves that the registry's rows are what the log says they became.
extension RegistryServer {
  public func verify() async throws -> [Verification] {
    var revisions = Verification("registry.revisions are those of the log")
    var definitions = Verification("registry.definitions came by the revisions that the log names")
    var hashes = Verification("registry.content hashes are those of the content")
    var history = Verification("registry.history leads to the definitions there are")
    var told: [String: [UInt64: ToldRevision]] = [:]
    try await environment.log.replay(LogFilter(types: Self.changeTypes, tenant: nil)) { event in
      guard let revision = try ToldRevision(event) else { return }
      told[event.header.tenant, default: [:]][revision.number, default: revision].take(revision)
    }
    for (tenant, applied) in told.sorted(by: { $0.key < $1.key }) {
      // Rows are read after the log: what is newer than the log's last revision is left for the next time.
      let last = applied.keys.max() ?? 0
      try await verifyRevisions(tenant, applied, &revisions)
      let (origins, stored, head) = try await environment.database.scan { snapshot in
        (
          try RegistryStore.origins(snapshot, tenant), try RegistryStore.hashes(snapshot, tenant),
          try RegistryStore.head(snapshot, tenant).revision
        )
      }
      var expected: [DefinitionKey: UInt64] = [:]
      for (number, revision) in applied.sorted(by: { $0.key < $1.key }) {
        for key in revision.written { expected[key] = number }
        for key in revision.removed { expected[key] = nil }
      }
      for (key, revision) in expected {
        definitions.examine()
        guard let origin = origins[key] else {
          // One that is newer than the log as it was read may have removed it.
          if head <= last { definitions.found("\(tenant): \(key.name) of revision \(revision) is missing", of: .tenant(tenant)) }
          continue
        }
        if origin != revision, origin <= last {
          definitions.found("\(tenant): \(key.name) is of revision \(origin), not \(revision)", of: .tenant(tenant))
        }
      }
      for (key, origin) in origins where expected[key] == nil && origin <= last {
        definitions.found("\(tenant): \(key.name) is in no revision of the log", of: .tenant(tenant))
      }
      if head <= last, let told = applied[last] {
        hashes.examine()
        if RegistryChangeSet.contentHash(stored) != told.contentHash {
          hashes.found("\(tenant): revision \(last) has another hash", of: .tenant(tenant))
        }
      }
      try await verifyContent(tenant, &hashes)
      try await verifyHistory(tenant, &history)
    }
    return [revisions, definitions, hashes, history]
  }

  /// The past, played to its end, is the present: rollbacks rest on it.
  private func verifyHistory(_ tenant: String, _ verification: inout Verification) async throws {
    let (then, now) = try await environment.database.scan { snapshot in
      let head = try RegistryStore.head(snapshot, tenant).revision
      return (try RegistryStore.everything(snapshot, tenant, at: head), try RegistryStore.everything(snapshot, tenant))
    }
    for key in Set(then.keys).union(now.keys).sorted() {
      verification.examine()
      if then[key] != now[key] { verification.found("\(tenant): \(key.name) is not what its history leads to", of: .tenant(tenant)) }
    }
  }

  private func verifyRevisions(_ tenant: String, _ applied: [UInt64: ToldRevision], _ verification: inout Verification) async throws {
    var after: UInt64 = 0
    var seen: Set<UInt64> = []
    while true {
      let from = after
      let page = try await environment.database.scan {
        try RegistryStore.revisions($0, tenant, after: from, limit: RegistryLimits.watchPage)
      }
      for row in page {
        verification.examine()
        seen.insert(row.revision)
        if let event = applied[row.revision], event.contentHash != row.contentHash {
          verification.found("\(tenant): revision \(row.revision) has another hash than its event", of: .tenant(tenant))
        } else if applied[row.revision] == nil, row.revision <= (applied.keys.max() ?? 0) {
          verification.found("\(tenant): revision \(row.revision) has no event", of: .tenant(tenant))
        }
      }
      guard page.count == RegistryLimits.watchPage, let last = page.last else { break }
      after = last.revision
    }
    for revision in applied.keys.sorted() where !seen.contains(revision) {
      verification.found("\(tenant): revision \(revision) is missing", of: .tenant(tenant))
    }
  }

  private func verifyContent(_ tenant: String, _ verification: inout Verification) async throws {
    var after: DefinitionKey?
    repeat {
      let from = after
      let page = try await environment.database.scan { try RegistryStore.definitions($0, tenant, kind: nil, after: from, limit: 500) }
      for definition in page {
        verification.examine()
        let hash = definition.value.map { SHA256.name(of: $0.message.encoded()) }
        if hash != definition.contentHash {
          verification.found("\(tenant): \(definition.id) is not what its hash says", of: .tenant(tenant))
        }
      }
      after = page.count == 500 ? page.last?.value?.key : nil
    } while after != nil
  }
}

/// A revision as its events tell it.
struct ToldRevision: Sendable {
  var number: UInt64
  var contentHash: String
  var written: Set<DefinitionKey>
  var removed: Set<DefinitionKey>

  /// Takes in another of its events.
  mutating func take(_ part: ToldRevision) {
    written.formUnion(part.written)
    removed.formUnion(part.removed)
  }

  /// Nil for an event that tells of no revision.
  init?(_ event: LogEvent) throws {
    if let applied = try event.payload(RegistryApplied.self) {
      self.init(applied.revision, applied.contentHash, applied.added + applied.changed, applied.removed)
    } else if let back = try event.payload(RegistryRolledBack.self) {
      self.init(back.revision, back.contentHash, back.added + back.changed, back.removed)
    } else {
      return nil
    }
  }

  private init(_ number: UInt64, _ contentHash: String, _ written: [String], _ removed: [String]) {
    self.number = number
    self.contentHash = contentHash
    self.written = Set(written.compactMap { DefinitionKey(name: $0) })
    self.removed = Set(removed.compactMap { DefinitionKey(name: $0) })
  }
}
