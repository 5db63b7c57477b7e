import ArgumentParser
import Foundation
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

struct SettlementsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "settlements", abstract: "What vendors are paid for the tokens they redeemed.",
    discussion: """
      Settle sums up what was redeemed and not settled yet; export makes the file that a vendor is paid by. A settlement is never edited: \
      a correction is an entry that follows it.
      """,
    subcommands: [
      SettlementsList.self, SettlementsShow.self, SettlementsSettle.self, SettlementsExport.self, SettlementsCorrect.self,
    ], defaultSubcommand: SettlementsList.self)
}

struct SettlementsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List settlements, oldest first.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only this vendor's.") var vendor: String = ""
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let trutta = TruttaClient(try await connection.channel())
      let (settlements, next) = try await page.collect { size, token in
        let response = try await trutta.listSettlements(ListSettlementsRequest(vendorID: vendor, pageSize: size, pageToken: token))
        return (response.settlements, response.nextPageToken)
      }
      try page.show(settlements, next: next, SettlementRowText.header, row: SettlementRowText.cells)
    }
  }
}

struct SettlementsShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show one settlement: whom it pays, for what, and how it was corrected.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The settlement's id, STL-….") var id: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let trutta = TruttaClient(try await connection.channel())
      let settlement = try await trutta.getSettlement(GetSettlementRequest(settlementID: id))
      if json { return try printJSON(settlement) }
      let vendor = settlement.vendor ?? Vendor(vendorID: settlement.vendorID)
      print("\(settlement.settlementID)  \(SettlementRowText.money(settlement.total))  of \(SettlementRowText.period(settlement))")
      print("  vendor   \(printable(vendor.vendorID))  \(printable(vendor.legalName.isEmpty ? vendor.name : vendor.legalName))")
      print("  account  \(printable(vendor.paymentAccount.isEmpty ? "not known to the registry" : vendor.paymentAccount))")
      printTable(
        ["  TOKEN", "PLACE", "REDEMPTIONS", "QUANTITY", "AMOUNT"],
        settlement.lines.map {
          ["  \($0.tokenID)", $0.servicePointID, "\($0.redemptions)", "\($0.quantity)", SettlementRowText.money($0.amount)]
        })
      guard !settlement.corrections.isEmpty else { return }
      printTable(
        ["  CORRECTION", "AT", "BY", "AMOUNT", "REASON"],
        settlement.corrections.map {
          [
            "  \($0.ledgerTransactionID)", $0.at.map { RFC3339.format($0.nanosecondsSinceEpoch) } ?? "", $0.actor,
            SettlementRowText.money($0.amount), $0.reason,
          ]
        })
    }
  }
}

struct SettlementsSettle: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "settle", abstract: "Settle everything that vendors redeemed and were not settled for.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only this vendor; by default every one with something to settle.") var vendor: String = ""
  @Option(help: "Only what was redeemed until then, such as 2026-05-31T22:00:00Z; by default until now.") var until: String?
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON, one settlement a line.") var json = false

  mutating func validate() throws {
    if let until, RFC3339.parse(until) == nil { throw ValidationError("--until is a moment such as 2026-05-31T22:00:00Z") }
  }

  func run() async throws {
    try await reportingFailures {
      let trutta = TruttaClient(try await connection.channel())
      let settled = try await trutta.settle(
        SettleRequest(
          idempotencyKey: idempotencyKey ?? newIdempotencyKey(), vendorID: vendor,
          until: until.flatMap(RFC3339.parse).map { .init(nanosecondsSinceEpoch: $0) })
      ).settlements
      if json { return try settled.forEach(printJSON) }
      if settled.isEmpty { return print("nothing to settle") }
      printTable(SettlementRowText.header, settled.map(SettlementRowText.cells))
    }
  }
}

struct SettlementsExport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write the file that a vendor is paid by.",
    discussion: """
      CSV: a row for each line and correction, then the total, each with vendor, account, period and currency; proto: the encoded \
      spanwire.entitlements.v1.Settlement. Both bear the same document hash. A settlement that does not add up is refused.
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable { case csv, proto }

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The settlement's id, STL-….") var id: String
  @Option(help: "csv or proto.") var format: Format = .csv
  @Option(help: "Where to write it: a file, or a folder in which it gets its own name; - prints it.") var output: String = "."

  func run() async throws {
    try await reportingFailures {
      let trutta = TruttaClient(try await connection.channel())
      let file = try await trutta.exportSettlement(
        ExportSettlementRequest(settlementID: id, format: format == .csv ? .csv : .proto))
      if output == "-" { return FileHandle.standardOutput.write(Data(file.content)) }
      var isFolder: ObjCBool = false
      let exists = FileManager.default.fileExists(atPath: output, isDirectory: &isFolder)
      let path = exists && isFolder.boolValue ? output + "/" + file.fileName : output
      do { try Data(file.content).write(to: URL(fileURLWithPath: path), options: .atomic) } catch {
        throw ValidationError("\(path) cannot be written: \(error.localizedDescription)")
      }
      print("\(printable(path))  \(file.content.count) bytes")
      print("  file      sha256 \(file.sha256)")
      print("  document  sha256 \(file.documentSha256)")
    }
  }
}

struct SettlementsCorrect: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "correct", abstract: "Add to a settlement, or take from it, by an entry of its own.",
    discussion: """
      The settlement stays as it is. It is a control action, for the role finance_settlement: policy decides, and it is audited.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The settlement's id, STL-….") var id: String
  @Option(parsing: .unconditional, help: "How much, in units of its currency: 2.50, or -0.40.") var amount: String
  @OptionGroup var control: ControlOptions

  mutating func validate() throws {
    guard let micros = Micros.parse(amount), micros != 0 else { throw ValidationError("--amount is a number such as 2.50 or -0.40") }
  }

  func run() async throws {
    try await reportingFailures {
      let response = try await control.apply(
        .correctSettlement(CorrectSettlement(settlementID: id, amountMicros: Micros.parse(amount) ?? 0)), over: connection)
      if control.json { return try printJSON(response) }
      print("corrected \(printable(id)) by \(amount), incident \(response.incidentID), audit \(response.auditEventID)")
    }
  }
}

/// How a settlement stands in a table.
enum SettlementRowText {
  static let header = ["SETTLEMENT", "VENDOR", "NAME", "PERIOD", "QUANTITY", "TOTAL"]

  static func cells(_ settlement: Settlement) -> [String] {
    [
      settlement.settlementID, settlement.vendorID, settlement.vendor?.name ?? "", period(settlement),
      "\(settlement.lines.reduce(0) { $0 + $1.quantity })", money(settlement.total),
    ]
  }

  static func money(_ amount: Money?) -> String { amount.map { "\(Micros.format($0.micros)) \($0.currency)" } ?? "" }

  static func period(_ settlement: Settlement) -> String {
    let (start, end) = (settlement.periodStart, settlement.periodEnd)
    return [start, end].map { $0.map { RFC3339.format($0.nanosecondsSinceEpoch) } ?? "" }.joined(separator: "…")
  }
}
