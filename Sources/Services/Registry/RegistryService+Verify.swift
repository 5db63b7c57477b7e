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
    var told: [String: [UInt64: RegistryApplied]] = [:]
    try await environment.log.replay(LogFilter(types: ["registry.applied"], tenant: nil)) { event in
      guard let applied = try event.payload(RegistryApplied.self) else { return }
      told[event.header.tenant, default: [:]][applied.revision] = applied
    }
    for (tenant, applied) in told.sorted(by: { $0.key < $1.key }) {
      // Rows are read after the log: what is newer than the log's last revision is left for the next time.
      let last = applied.keys.max() ?? 0
      try await verifyRevisions(tenant, applied, &revisions)
      let (origins, stored) = try await environment.database.scan { snapshot in
        (try RegistryStore.origins(snapshot, tenant), try RegistryStore.hashes(snapshot, tenant))
      }
      var expected: [DefinitionKey: UInt64] = [:]
      for (revision, event) in applied.sorted(by: { $0.key < $1.key }) {
        for name in event.added + event.changed {
          if let key = DefinitionKey(name: name) { expected[key] = revision }
        }
      }
      for (key, revision) in expected {
        definitions.examine()
        guard let origin = origins[key] else {
          definitions.found("\(tenant): \(key.name) of revision \(revision) is missing")
          continue
        }
        if origin != revision, origin <= last { definitions.found("\(tenant): \(key.name) is of revision \(origin), not \(revision)") }
      }
      for (key, origin) in origins where expected[key] == nil && origin <= last {
        definitions.found("\(tenant): \(key.name) is in no revision of the log")
      }
      if !origins.values.contains(where: { $0 > last }), let head = applied[last] {
        hashes.examine()
        if RegistryChangeSet.contentHash(stored) != head.contentHash { hashes.found("\(tenant): revision \(last) has another hash") }
      }
      try await verifyContent(tenant, &hashes)
    }
    return [revisions, definitions, hashes]
  }

  private func verifyRevisions(_ tenant: String, _ applied: [UInt64: RegistryApplied], _ verification: inout Verification) async throws {
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
          verification.found("\(tenant): revision \(row.revision) has another hash than its event")
        } else if applied[row.revision] == nil, row.revision <= (applied.keys.max() ?? 0) {
          verification.found("\(tenant): revision \(row.revision) has no event")
        }
      }
      guard page.count == RegistryLimits.watchPage, let last = page.last else { break }
      after = last.revision
    }
    for revision in applied.keys.sorted() where !seen.contains(revision) {
      verification.found("\(tenant): revision \(revision) is missing")
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
        if hash != definition.contentHash { verification.found("\(tenant): \(definition.id) is not what its hash says") }
      }
      after = page.count == 500 ? page.last?.value?.key : nil
    } while after != nil
  }
}
