import ArgumentParser
import SpanwireSchema
import SpanwireServiceKit

struct EntitlementsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "entitlements", abstract: "What travellers hold: tokens they can redeem, and the ledger behind them.",
    discussion: """
      A traveller's purchase issues entitlements; each holds tokens of one kind, which she redeems at vendors. Every change is a posting \
      of a double-entry ledger whose lines sum to zero. What vendors are paid for their redemptions: spanwire settlements.
      """,
    subcommands: [EntitlementsList.self, EntitlementsShow.self, EntitlementsCompensate.self, EntitlementsLedger.self],
    defaultSubcommand: EntitlementsList.self)
}

struct EntitlementsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List entitlements, oldest first.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only those of this session.") var session: String = ""
  @Option(help: "Only those that this user holds.") var holder: String = ""
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let trutta = TruttaClient(try await connection.channel())
      let (entitlements, next) = try await page.collect { size, token in
        let response = try await trutta.listEntitlements(
          ListEntitlementsRequest(productRuntimeSessionID: session, holder: holder, pageSize: size, pageToken: token))
        return (response.entitlements, response.nextPageToken)
      }
      try page.show(
        entitlements, next: next, ["ENTITLEMENT", "STATE", "TOKEN", "LEFT", "OF", "HOLDER", "ENDS", "MAKES GOOD FOR"],
        row: {
          [
            $0.entitlementID, "\($0.state)", $0.tokenID, "\($0.remaining)", "\($0.issued)", $0.holder,
            $0.expiresAt.map { RFC3339.format($0.nanosecondsSinceEpoch) } ?? "", $0.compensates,
          ]
        })
    }
  }
}

struct EntitlementsShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show one entitlement and what was posted to its account.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The entitlement's id, ENT-….") var id: String
  @Flag(help: "Print JSON: the entitlement, then its ledger entries, one a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let trutta = TruttaClient(try await connection.channel())
      let held = try await trutta.getEntitlement(GetEntitlementRequest(entitlementID: id))
      var request = ListLedgerRequest(account: "holder:\(id)", pageSize: 500)
      var entries: [LedgerEntry] = []
      repeat {
        let page = try await trutta.listLedger(request)
        entries += page.entries
        request.pageToken = page.nextPageToken
      } while !request.pageToken.isEmpty
      if json {
        try printJSON(held)
        for entry in entries { try printJSON(entry) }
        return
      }
      print("\(held.entitlementID)  \(held.state)  \(held.remaining) of \(held.issued) \(printable(held.tokenID)) left")
      print("  holder   \(printable(held.holder)) in session \(printable(held.productRuntimeSessionID))")
      print("  ends     \(held.expiresAt.map { RFC3339.format($0.nanosecondsSinceEpoch) } ?? "never")")
      if !held.compensates.isEmpty { print("  makes good for \(held.compensates)") }
      printTable(LedgerRow.header.map { "  " + $0 }, entries.map { entry in LedgerRow.cells(entry).map { "  " + $0 } })
    }
  }
}

struct EntitlementsCompensate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compensate", abstract: "Issue anew what a holder lost through no fault of theirs.",
    discussion: """
      A new entitlement of the same token for the same holder; the old one stays as it is. At most as many as were used up or ran out. \
      It is a control action: policy decides, and it is audited.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The entitlement that is made good for.") var id: String
  @Option(help: "How many tokens.") var quantity: Int64 = 1
  @OptionGroup var control: ControlOptions

  func run() async throws {
    try await reportingFailures {
      let response = try await control.apply(
        .compensateEntitlement(CompensateEntitlement(entitlementID: id, quantity: quantity)), over: connection)
      if control.json { return try printJSON(response) }
      print("issued \(response.entitlement?.entitlementID ?? ""), incident \(response.incidentID), audit \(response.auditEventID)")
    }
  }
}

struct EntitlementsLedger: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ledger", abstract: "List the ledger's entries, oldest first.",
    discussion: """
      Accounts: issuer (where everything comes from), holder:ENT-… (what an entitlement has left), vendor:VND-… (what a vendor \
      redeemed and is owed for), settled:VND-… (what a vendor was settled for), expired. Money stands beside tokens as money:EUR, in millionths.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only entries of this account.") var account: String = ""
  @Option(name: .customLong("of"), help: "Only entries of this token, TOK-…, or of money:EUR.") var tokenID: String = ""
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let trutta = TruttaClient(try await connection.channel())
      let (entries, next) = try await page.collect { size, pageToken in
        let response = try await trutta.listLedger(
          ListLedgerRequest(tokenID: tokenID, account: account, pageSize: size, pageToken: pageToken))
        return (response.entries, response.nextPageToken)
      }
      try page.show(entries, next: next, LedgerRow.header, row: LedgerRow.cells)
    }
  }
}

/// How an entry of the ledger stands in a table.
enum LedgerRow {
  static let header = ["POSTING", "AT", "CAUSE", "ACCOUNT", "TOKEN", "QUANTITY"]

  static func cells(_ entry: LedgerEntry) -> [String] {
    [
      entry.ledgerTransactionID, entry.at.map { RFC3339.format($0.nanosecondsSinceEpoch) } ?? "", entry.cause, entry.account,
      entry.tokenID, entry.quantity > 0 ? "+\(entry.quantity)" : "\(entry.quantity)",
    ]
  }
}
