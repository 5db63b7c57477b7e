import ArgumentParser
import Foundation
import SpanwireDatabase
import SpanwireEventLog
import SpanwirePlatform
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTLS

struct AuditCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit", abstract: "The record of every decision that changed something, and of every denial.",
    discussion: """
      Records make one chain: each names the hash of the one before, so that none can be changed, removed or put elsewhere without its \
      being seen. A server with --audit-heads signs how far the chain has come and keeps that outside of its data, so that neither \
      recomputing the chain nor cutting off its end goes unseen.

      Who may read it, and who may take it away, says the access policy by the category audit_log: unless it was changed, an ops_lead \
      reads that of the tenant, roles that work across tenants read all, and an export takes the approval of another security_auditor.
      """,
    subcommands: [AuditList.self, AuditExport.self, AuditVerify.self, AuditKey.self])
}

/// Which records.
struct AuditFilterOptions: ParsableArguments {
  @Option(help: "Whose doing, as records name them: ops:olga.") var actor: String = ""
  @Option(help: "What was done; 'approval.*' for all that begin so.") var action: String = ""
  @Option(help: "'allow' or 'deny'.") var decision: String = ""
  @Option(help: "The rule that decided.") var rule: String = ""
  @Option(help: "What it was done to.") var target: String = ""
  @Option(help: "From this moment on, in RFC 3339.") var from: String?
  @Option(help: "Before this moment, in RFC 3339.") var until: String?
  @Flag(help: "Of all tenants, not only one's own.") var allTenants = false

  private func moment(_ text: String?, _ option: String) throws -> Int64? {
    guard let text else { return nil }
    guard let moment = RFC3339.parse(text) else { throw ValidationError("\(option) takes RFC 3339, such as 2026-05-19T09:00:00Z") }
    return moment
  }

  mutating func validate() throws { _ = try filter() }

  func filter() throws -> AuditFilter {
    var filter = AuditFilter(
      actor: actor, action: action, decision: decision, rule: rule, target: target, allTenants: allTenants)
    filter.from = try moment(from, "--from").map { .init(nanosecondsSinceEpoch: $0) }
    filter.until = try moment(until, "--until").map { .init(nanosecondsSinceEpoch: $0) }
    return filter
  }
}

struct AuditList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List audit records, oldest first.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var wanted: AuditFilterOptions
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let operations = OperationsClient(try await connection.channel())
      let filter = try wanted.filter()
      let (records, next) = try await page.collect { size, token in
        let answer = try await operations.listAudit(ListAuditRequest(filter: filter, pageSize: size, pageToken: token))
        return (answer.records, answer.nextPageToken)
      }
      try page.show(records, next: next, ["NUMBER", "AT", "ACTOR", "ACTION", "TARGET", "DECISION", "RULE", "REASON"]) { envelope in
        let record = (try? envelope.payload?.unpack(as: AuditRecorded.self)) ?? AuditRecorded()
        let decision = record.count > 1 ? "\(record.decision) ×\(record.count)" : record.decision
        return [
          "\(record.sequence)", RFC3339.format(envelope.occurredAt?.nanosecondsSinceEpoch ?? 0), record.actor, record.action,
          record.target, decision, record.rule, record.reason,
        ]
      }
    }
  }
}

struct AuditExport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Print audit records as JSON lines, up to the present end.",
    discussion: """
      One envelope a line, as 'spanwire events tail --json' prints it. That it was exported is itself audited. Where the approval matrix \
      asks for an approval: 'spanwire approvals request audit_log --reason …', and name it here once it is approved.
      """)

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var wanted: AuditFilterOptions
  @Option(parsing: .upToNextOption, help: "Approvals to count, APR-….") var approvals: [String] = []

  func run() async throws {
    try await reportingFailures {
      let operations = OperationsClient(try await connection.channel())
      for try await answer in try await operations.exportAudit(ExportAuditRequest(filter: try wanted.filter(), approvalRefs: approvals)) {
        if let record = answer.record { try printJSON(record) }
      }
    }
  }
}

struct AuditKey: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "key", abstract: "Make a key that signs heads of the audit.",
    discussion: """
      Writes an Ed25519 key to FILE, which only you can read, and its public half to FILE.pub. Give FILE to 'spanwire serve --audit-key', \
      and keep FILE.pub where whoever runs the server cannot exchange it: 'spanwire audit verify --public-key' takes it.
      """)

  @Argument(help: "Where to write it; nothing may be there.") var file: String

  func run() async throws {
    try await reportingFailures {
      let key = try SigningKey()
      for (path, text, mode) in [(file, try key.pem(), 0o600), (file + ".pub", try key.verifyingKey.pem(), 0o644)] {
        guard !FileManager.default.fileExists(atPath: path) else { throw ValidationError("\(path) is there already") }
        guard
          FileManager.default.createFile(atPath: path, contents: Data(text.utf8), attributes: [.posixPermissions: mode])
        else { throw CheckFailed(message: "\(path) cannot be written") }
      }
      print("key \(key.verifyingKey.auditID): \(file) signs, \(file).pub verifies")
    }
  }
}

struct AuditVerify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Prove that no audit record was changed, removed, moved or cut off.",
    discussion: """
      Of a running server, or with --data of a folder whose server is stopped, or of a backup. Without --heads it recomputes the chain; \
      whoever can write the database can recompute it too, or cut off its end, and only heads that were signed before and kept elsewhere \
      tell. Exits with 1 when something is wrong.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "A data folder or backup, instead of a server.") var data: String?
  @Option(help: "The folder of signed heads that the server was given as --audit-heads; needs --public-key.") var heads: String?
  @Option(help: "PEM file of a public key that signed them; once for each key there was.") var publicKey: [String] = []
  @Flag(help: "The data is a copy of an earlier time: heads made after it are not missed.") var older = false
  @Flag(help: "Print JSON.") var json = false

  mutating func validate() throws {
    if (heads == nil) != publicKey.isEmpty { throw ValidationError("--heads and --public-key go together") }
    if older, data == nil { throw ValidationError("--older is for --data: a server is not of an earlier time") }
  }

  func run() async throws {
    try await reportingFailures {
      var signed: (heads: [AuditHead], findings: [String]) = ([], [])
      if let heads {
        signed = try AuditHeadFiles(folder: heads).read(trusting: try publicKey.map { try VerifyingKey(.file(path: $0)) })
        if signed.heads.isEmpty, signed.findings.isEmpty { signed.findings.append("\(heads) holds no heads") }
      }
      var answer = if let data { try await verify(folder: data, signed.heads) } else { try await verify(server: signed.heads) }
      answer.findings += signed.findings
      if json { try printJSON(answer) } else { report(answer, heads: signed.heads.count) }
      if !answer.findings.isEmpty { throw CheckFailed(message: "the audit does not hold") }
    }
  }

  private func report(_ answer: VerifyAuditResponse, heads: Int) {
    let head = answer.head ?? AuditHead()
    print("\(answer.records) records, the last number \(head.sequence) with hash \(SHA256.hex(head.hash))")
    if self.heads != nil { print("compared with \(heads) signed heads") }
    for finding in answer.findings { print("FAIL  \(printable(finding))") }
    if answer.findings.isEmpty { print("ok") }
  }

  private func verify(server heads: [AuditHead]) async throws -> VerifyAuditResponse {
    // The newest vouches for all before it.
    let newest = heads.sorted { $0.sequence < $1.sequence }.suffix(EventLogLimits.comparedHeads)
    return try await OperationsClient(try await connection.channel()).verifyAudit(VerifyAuditRequest(heads: Array(newest)))
  }

  private func verify(folder: String, _ heads: [AuditHead]) async throws -> VerifyAuditResponse {
    let path = folder + "/spanwire.db"
    guard FileManager.default.fileExists(atPath: path) else { throw ValidationError("\(folder) is no data folder") }
    let database = try SQLiteDatabase(path: path)
    do {
      let check = try await EventLog(database: database).verifyAudit(heads: heads, isOlder: older)
      await database.close()
      return VerifyAuditResponse(
        records: UInt64(check.verification.examined), head: check.last, findings: check.verification.findings)
    } catch {
      await database.close()
      throw error
    }
  }
}
