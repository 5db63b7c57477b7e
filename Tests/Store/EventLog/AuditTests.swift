import SpanwireDatabase
import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireEventLog

@Suite(.timeLimit(.minutes(15))) struct AuditTests {
  /// Appends so many records of different tenants, with other events between them.
  static func fill(_ test: TestEnvironment, records: Int) async throws {
    for number in 1...records {
      let record = AuditRecorded(action: "approval.approve", target: "APR-\(number)", actor: "ops:pia", actorKind: "ops", decision: "allow")
      _ = try await test.append([
        test.draft(JourneyChoiceMade(nodeID: "n", option: "tea", revision: 2)),
        EventDraft(record, producer: "policy", tenant: number.isMultiple(of: 2) ? "vienna" : "graz", occurredAt: test.clock.now),
      ])
    }
  }

  static func head(_ test: TestEnvironment) async throws -> AuditHead {
    try await test.environment.database.scan { try AuditChain.head($0) }
  }

  @Test("records of all tenants make one chain: dense, each naming the one before; what is rolled back leaves no gap")
  func chain() async throws {
    let test = try await TestEnvironment()
    #expect(try await test.environment.log.verifyAudit().verification.isSound)
    try await Self.fill(test, records: 3)
    let environment = test.environment
    let refused = test.draft(AuditRecorded(action: "lost"))
    struct Stop: Error {}
    await #expect(throws: Stop.self) {
      _ = try await environment.database.transaction("rolled back") { transaction in
        try transaction.append(refused, environment)
        throw Stop()
      }
    }
    try await Self.fill(test, records: 2)
    var hash = AuditChain.start
    var numbers: [UInt64] = []
    try await environment.log.replay(AuditChain.filter) { event in
      let record = try #require(try event.payload(AuditRecorded.self))
      #expect(record.prevHash == hash && record.hash.count == 32)
      hash = record.hash
      numbers.append(record.sequence)
    }
    #expect(numbers == [1, 2, 3, 4, 5])
    let head = try await Self.head(test)
    #expect(head.sequence == 5 && head.hash == hash && head.logPosition == "10")
    let check = try await environment.log.verifyAudit(heads: [head])
    #expect(check.verification.isSound && check.verification.examined == 5 && check.last == head)
    await test.end()
  }

  @Test("compaction leaves the chain whole")
  func retention() async throws {
    let test = try await TestEnvironment()
    for _ in 0..<40 {
      try await Self.fill(test, records: 3)
      _ = try await test.append(
        (0..<50).map { _ in
          EventDraft(
            AgentTaskProgress(), producer: "ao", tenant: "t", session: "PRS-1", agentTask: "TSK-1", occurredAt: test.clock.now)
        })
    }
    let done = try await test.environment.log.compact(
      RetentionPeriods(operational: .zero, transient: .zero), now: test.clock.now + 1)
    #expect(done.removed > 0)
    let check = try await test.environment.log.verifyAudit()
    #expect(check.verification.isSound && check.verification.examined == 120, "\(check.verification)")
    await test.end()
  }

  @Test("a flood of denials becomes the first of each kind and a count a minute, and no denial is lost")
  func flood() async throws {
    let test = try await TestEnvironment()
    func deny(_ actor: String, _ rule: String = "R3-cross-tenant") async -> String {
      await test.environment.auditDenial(
        test.draft(AuditRecorded(action: "GetSession", actor: actor, decision: "deny", rule: rule, method: "/m"), session: "", journey: ""))
    }
    func told() async throws -> [String] {
      var told: [String] = []
      try await test.environment.log.replay(AuditChain.filter) { event in
        let record = try #require(try event.payload(AuditRecorded.self))
        told.append("\(record.actor) \(max(record.count, 1))")
      }
      return told
    }
    let first = await deny("user:mallory")
    for _ in 0..<999 {
      let again = await deny("user:mallory")
      #expect(again == first)
    }
    let other = await deny("user:trudy")
    #expect(other != first)
    #expect(try await told() == ["user:mallory 1", "user:trudy 1"])
    await test.environment.settleDenials()
    #expect(try await told().count == 2)
    test.clock.advance(by: EventLogLimits.denialWindow)
    await test.environment.settleDenials()
    #expect(try await told() == ["user:mallory 1", "user:trudy 1", "user:mallory 999"])

    // A kind comes again after its minute, without anybody having settled it.
    _ = await deny("user:mallory")
    _ = await deny("user:mallory")
    test.clock.advance(by: EventLogLimits.denialWindow)
    _ = await deny("user:mallory")
    #expect(try await told().suffix(2) == ["user:mallory 1", "user:mallory 2"])

    // More kinds than are told apart are counted together.
    for number in 0..<(EventLogLimits.denialKinds + 50) { _ = await deny("user:\(number)") }
    await test.environment.settleDenials(all: true)
    let last = try await told()
    #expect(last.last == "various 51", "\(last.suffix(3))")
    #expect(try await test.environment.log.verifyAudit().verification.isSound)
    await test.end()
  }
}
