import SpanwireEventLog
import SpanwireServiceKit

extension EntitlementsServer {
  /// Proves that the ledger balances, that rows stand on it, and that the log tells the same.
  public func verify() async throws -> [Verification] {
    let database = environment.database
    var checks = [
      try await database.scan { try LedgerAudit.balance(in: $0) },
      try await database.scan { try LedgerAudit.solvency(in: $0) },
      try await database.scan { try LedgerAudit.holdings(in: $0) },
      try await database.scan { try LedgerAudit.settlements(in: $0) },
    ]
    checks.append(try await againstTheLog())
    return checks
  }

  /// What happens between reading the log and reading the rows would look like a fault; a second look tells.
  private func againstTheLog() async throws -> Verification {
    var looks = 0
    while true {
      var told = EntitlementProjection()
      try await environment.log.replay(LogFilter(types: ["entitlement.*"], tenant: nil)) { try told.take($0.decoded()) }
      let check = try await environment.database.scan { [told] in try LedgerAudit.compare(told, in: $0) }
      looks += 1
      if check.isSound || looks == 3 { return check }
    }
  }
}
