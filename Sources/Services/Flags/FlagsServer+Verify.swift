import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

extension FlagsServer {
  /// Proves that every tenant's flags are at the revision the log tells of, by whom it tells, and can be read.
  public func verify() async throws -> [Verification] {
    var told: [String: FlagsApplied] = [:]
    try await environment.log.replay(LogFilter(types: ["policy.flags.applied"], tenant: nil)) { event in
      if let it = try event.payload(FlagsApplied.self) { told[event.header.tenant] = it }
    }
    let expected = told
    return [
      try await environment.database.scan { reader in
        var check = Verification("flags: sets agree with the log")
        for tenant in Set(try FlagStore.tenants(in: reader)).union(expected.keys).sorted() {
          check.examine()
          guard let stored = try FlagStore.configuration(of: tenant, in: reader), let last = expected[tenant] else {
            check.found("\(tenant): only one of the rows and the log tells of flags")
            continue
          }
          // A set that was applied after the log was read is ahead of it.
          if stored.revision < last.revision || stored.revision == last.revision && stored.actor != last.actor {
            check.found("\(tenant): the rows are at revision \(stored.revision) by \(stored.actor), the log tells of another")
          }
          if (try? FlagSet.parse(stored.json)) == nil { check.found("\(tenant): the set can't be read") }
        }
        return check
      }
    ]
  }
}
