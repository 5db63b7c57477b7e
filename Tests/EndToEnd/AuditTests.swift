import Foundation
import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireSchema
import SpanwireWellKnown
import Testing

/// What somebody does to the audit who has the data folder of a stopped server, and who finds it out.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct AuditTests {
  /// A tampering, in SQL; what the chain alone says of it, and what it says with the heads that were signed before. Nil: nothing.
  struct Tampering: Sendable {
    let name: String
    let alone: String?
    let signed: String?
    let plant: @Sendable (borrowing Transaction) throws -> Void
  }

  static let tamperings: [Tampering] = [
    Tampering(name: "nothing", alone: nil, signed: nil) { _ in },
    Tampering(name: "a changed record", alone: "record 2, at position", signed: "was changed") { tx in
      try rewrite(try records(tx)[1], in: tx) { $0.actor = "ops:somebody-else" }
    },
    Tampering(name: "a record of another tenant", alone: "was changed", signed: "was changed") { tx in
      try tx.execute("UPDATE event_log SET tenant_id = 'graz' WHERE position = ?1", try records(tx)[1].position, expecting: .rows(1))
    },
    Tampering(name: "a record with a byte more than it means", alone: "was changed", signed: "was changed") { tx in
      let record = try records(tx)[1]
      // An unknown field: whoever decodes the envelope does not see it.
      try write(record.envelope.encoded() + [0xF8, 0x7F, 0x01], at: record.position, in: tx)
    },
    Tampering(name: "a removed record", alone: "record 2 is missing", signed: "record 2 is missing") { tx in
      try tx.execute("DELETE FROM event_log WHERE position = ?1", try records(tx)[1].position, expecting: .rows(1))
    },
    Tampering(name: "a record made another type", alone: "record 2 is missing", signed: "record 2 is missing") { tx in
      try tx.execute(
        "UPDATE event_log SET type = 'ops.incident.created' WHERE position = ?1", try records(tx)[1].position, expecting: .rows(1))
    },
    Tampering(name: "two records that changed places", alone: "another order", signed: "another order") { tx in
      let records = try records(tx)
      try write(records[1].envelope.encoded(), at: records[2].position, in: tx)
      try write(records[2].envelope.encoded(), at: records[1].position, in: tx)
    },
    Tampering(name: "a chain computed anew", alone: nil, signed: "the chain was computed anew") { tx in
      let records = try records(tx)
      var head = AuditHead(hash: AuditChain.start)
      for (index, record) in records.enumerated() {
        var (envelope, payload) = (record.envelope, record.record)
        if index == 1 { payload.actor = "ops:somebody-else" }
        head = AuditHead(sequence: UInt64(index + 1), hash: AuditChain.link(&envelope, payload, after: head))
        try write(envelope.encoded(), at: record.position, in: tx)
      }
      try tx.execute("UPDATE audit_head SET hash = ?1", head.hash, expecting: .rows(1))
    },
    Tampering(name: "a tail cut off", alone: "last record is number", signed: "its tail was cut off") { tx in
      let records = try records(tx)
      try tx.execute("DELETE FROM event_log WHERE position >= ?1", records[records.count - 2].position)
    },
    Tampering(name: "a tail cut off with the head set back", alone: nil, signed: "its tail was cut off") { tx in
      let records = try records(tx)
      let last = records[records.count - 3]
      try tx.execute("DELETE FROM event_log WHERE position > ?1", last.position)
      try tx.execute(
        "UPDATE audit_head SET sequence = ?1, position = ?2, hash = ?3", Int64(last.record.sequence), last.position, last.record.hash,
        expecting: .rows(1))
    },
  ]

  typealias Record = (position: Int64, envelope: EventEnvelope, record: AuditRecorded)

  private static func records(_ tx: borrowing Transaction) throws -> [Record] {
    try tx.query("SELECT position, envelope FROM event_log WHERE type = 'audit.recorded' ORDER BY position") { row in
      let bytes: [UInt8] = row[1]
      let envelope = try EventEnvelope(decoding: bytes)
      return (position: row[0], envelope: envelope, record: try envelope.payload?.unpack(as: AuditRecorded.self) ?? AuditRecorded())
    }
  }

  private static func write(_ envelope: [UInt8], at position: Int64, in tx: borrowing Transaction) throws {
    try tx.execute("UPDATE event_log SET envelope = ?1 WHERE position = ?2", envelope, position, expecting: .rows(1))
  }

  private static func rewrite(_ record: Record, in tx: borrowing Transaction, _ change: (inout AuditRecorded) -> Void) throws {
    var (envelope, payload) = (record.envelope, record.record)
    change(&payload)
    envelope.payload = Google_Protobuf_Any(packing: payload)
    try write(envelope.encoded(), at: record.position, in: tx)
  }

  private static let auditor = "dev:ops:AUD-1:vienna:security_auditor"

  /// Makes records: five people are refused the audit.
  private func deny(_ people: ClosedRange<Int>, on server: ServerProcess) throws {
    for number in people {
      let refused = try spanwire(["audit", "list", "--server", server.address], token: "dev:ops:OPS-\(number):vienna:ops_operator")
      #expect(refused.code == 77, "\(refused.output)")
    }
  }

  @Test("a changed, a removed, a re-ordered record, a recomputed chain and a truncated tail are found, offline, in a copy, and by a server")
  func tampered() async throws {
    let keys = FileManager.default.temporaryDirectory.appending(path: "audit-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: keys, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: keys) }
    let (key, heads) = (keys.appending(path: "audit.pem").path, keys.appending(path: "heads").path)
    let made = try spanwire(["audit", "key", key])
    #expect(made.code == 0, "\(made.output)")
    #expect(try FileManager.default.attributesOfItem(atPath: key)[.posixPermissions] as? Int == 0o600)
    let again = try spanwire(["audit", "key", key])
    #expect(again.code != 0, "a key is not written over")
    let signed = ["--heads", heads, "--public-key", key + ".pub"]

    let server = try ServerProcess()
    try server.start(["--audit-heads", heads, "--audit-key", key])
    try deny(1...5, on: server)
    let live = try spanwire(["audit", "verify", "--server", server.address] + signed, token: Self.auditor)
    #expect(live.code == 0 && live.output.contains("5 records"), "\(live.output)")
    let denied = try spanwire(["audit", "list", "--decision", "deny", "--limit", "3", "--server", server.address], token: Self.auditor)
    #expect(denied.output.contains("ops:OPS-3") && !denied.output.contains("ops:OPS-4") && denied.output.contains("more: --page-token"))
    let none = try spanwire(["audit", "list", "--decision", "allow", "--json", "--server", server.address], token: Self.auditor)
    #expect(none.code == 0 && none.output.isEmpty, "\(none.output)")
    let export = ["audit", "export", "--action", "List*", "--server", server.address]
    let early = try spanwire(export, token: Self.auditor)
    #expect(early.code == 77 && early.output.contains("needs approval by security_auditor"), "\(early.output)")
    let asked = try spanwire(
      ["approvals", "request", "audit_log", "--reason", "the yearly review", "--server", server.address], token: Self.auditor)
    let approval = String(asked.output.prefix { $0 != " " })
    let approved = try spanwire(
      ["approvals", "approve", approval, "--server", server.address], token: "dev:ops:AUD-2:vienna:security_auditor")
    #expect(approved.code == 0, "\(approved.output)")
    let exported = try spanwire(export + ["--approvals", approval], token: Self.auditor)
    let lines = exported.output.split(separator: "\n")
    #expect(lines.count == 5 && lines.allSatisfy { $0.contains("ListAudit") && $0.contains("R8-masked") }, "\(exported.output)")
    // The tenant's own lead reads it, and nobody else's.
    let lead = "dev:ops:LED-1:vienna:ops_lead"
    let read = try spanwire(["audit", "list", "--decision", "deny", "--server", server.address], token: lead)
    #expect(read.code == 0 && read.output.contains("ops:OPS-3"), "\(read.output)")
    let everybody = try spanwire(["audit", "list", "--all-tenants", "--server", server.address], token: lead)
    #expect(everybody.code == 77, "\(everybody.output)")
    let all = try spanwire(["verify", "--server", server.address])
    #expect(all.code == 0 && all.output.contains("audit: the chain is whole"), "\(all.output)")
    // A crash between a commit and its head loses the newest head alone: the next start writes it.
    server.kill()
    let whole = try spanwire(["audit", "verify", "--data", server.data.path] + signed)
    #expect(whole.code == 0 && whole.output.contains("9 records"), "\(whole.output)")
    try server.start(["--audit-heads", heads, "--audit-key", key])
    let restarted = try newestHead(in: heads)
    #expect(restarted.sequence == 9)
    #expect(server.terminate() == 0)

    // A server that signs does not start on a log that is behind its last head, or not the same.
    for (index, finding) in [(9, "its tail is missing"), (7, "the chain was made anew")] {
      let copy = try ServerProcess()
      try FileManager.default.removeItem(at: copy.data)
      try FileManager.default.copyItem(at: server.data, to: copy.data)
      try await tamper(copy, Self.tamperings[index].plant)
      let options = ["--audit-heads", heads, "--audit-key", key]
      let kept = try texts(in: heads)
      let refused = try spanwire(["serve", "--data", copy.data.path, "--listen", "127.0.0.1:0", "--dev"] + options)
      #expect(refused.code != 0 && refused.output.contains(finding), "\(refused.output)")
      let now = try texts(in: heads)
      #expect(now == kept, "what could not start has signed something")
      if index == 9 {
        let beside = keys.appending(path: "heads-of-copy").path
        try FileManager.default.copyItem(atPath: heads, toPath: beside)
        try copy.start(["--audit-heads", beside, "--audit-key", key, "--accept-audit-gap", "restored from Monday"])
        let told = try spanwire(
          ["audit", "list", "--action", "audit.accept_gap", "--server", copy.address], token: "dev:ops:ADM:platform:platform_admin")
        #expect(told.output.contains("restored from Monday") && told.output.contains(finding), "\(told.output)")
        let event = try spanwire(
          ["events", "tail", "--type", "runtime.degraded", "--from-start", "--until-end", "--server", copy.address],
          token: "dev:ops:ADM:platform:platform_admin")
        #expect(event.output.contains("runtime.degraded"), "\(event.output)")
        copy.kill()
      }
    }

    for tampering in Self.tamperings {
      let copy = try ServerProcess()
      try FileManager.default.removeItem(at: copy.data)
      try FileManager.default.copyItem(at: server.data, to: copy.data)
      try await tamper(copy, tampering.plant)
      for isServed in [false, true] {
        if isServed { try copy.start() }
        let place = isServed ? ["--server", copy.address] : ["--data", copy.data.path]
        for (options, expected) in [([], tampering.alone), (signed, tampering.signed)] {
          let verdict = try spanwire(["audit", "verify"] + place + options, token: Self.auditor)
          #expect(verdict.code == (expected == nil ? 0 : 1), "\(tampering.name), \(place[0]): \(verdict.output)")
          #expect(expected.map(verdict.output.contains) ?? true, "\(tampering.name), \(place[0]): \(verdict.output)")
        }
      }
      copy.kill()
    }
  }

  /// Returns once nobody holds the folder any more.
  private func tamper(_ server: ServerProcess, _ plant: @escaping @Sendable (borrowing Transaction) throws -> Void) async throws {
    let database = try SQLiteDatabase(path: server.data.appending(path: "spanwire.db").path)
    _ = try await database.transaction("tamper") { try plant($0) }
    await database.close()
  }

  private func texts(in folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map {
      try String(contentsOfFile: folder + "/" + $0, encoding: .utf8)
    }
  }

  private func newestHead(in folder: String) throws -> AuditHead {
    let file = try #require(try FileManager.default.contentsOfDirectory(atPath: folder).first)
    let line = try #require(try String(contentsOfFile: folder + "/" + file, encoding: .utf8).split(separator: "\n").last)
    return try AuditHead(jsonString: String(line))
  }

  @Test("heads with a false signature, of an unknown key, and of a backup's future are told apart")
  func heads() throws {
    let keys = FileManager.default.temporaryDirectory.appending(path: "audit-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: keys, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: keys) }
    let (key, heads) = (keys.appending(path: "audit.pem").path, keys.appending(path: "heads").path)
    let other = keys.appending(path: "other.pem").path
    for path in [key, other] { #expect(try spanwire(["audit", "key", path]).code == 0) }
    let server = try ServerProcess()
    #expect(throws: ProcessFailed.self) { try server.start(["--audit-heads", server.data.path + "/heads", "--audit-key", key]) }
    try server.start(["--audit-heads", heads, "--audit-key", key])
    try deny(1...2, on: server)
    let backup = keys.appending(path: "backup").path
    let copied = try spanwire(["backup", "--to", backup, "--server", server.address], token: "dev:ops:ADM:platform:platform_admin")
    #expect(copied.code == 0, "\(copied.output)")
    try deny(3...4, on: server)
    #expect(server.terminate() == 0)

    func verify(_ data: String, _ options: [String] = [], key trusted: String) throws -> Outcome {
      try spanwire(["audit", "verify", "--data", data, "--heads", heads, "--public-key", trusted + ".pub"] + options)
    }
    let cut = try verify(backup, key: key)
    #expect(cut.code == 1 && cut.output.contains("its tail was cut off"), "\(cut.output)")
    let older = try verify(backup, ["--older"], key: key)
    #expect(older.code == 0, "\(older.output)")
    let unknown = try verify(server.data.path, key: other)
    #expect(unknown.code == 1 && unknown.output.contains("which was not given"), "\(unknown.output)")

    let name = try #require(try FileManager.default.contentsOfDirectory(atPath: heads).first)
    let text = try String(contentsOfFile: heads + "/" + name, encoding: .utf8)
    try text.replacingOccurrences(of: "\"sequence\":\"5\"", with: "\"sequence\":\"4\"").write(
      toFile: heads + "/" + name, atomically: true, encoding: .utf8)
    let forged = try verify(server.data.path, key: key)
    #expect(forged.code == 1 && forged.output.contains("has a false signature"), "\(text) \(forged.output)")
  }
}
