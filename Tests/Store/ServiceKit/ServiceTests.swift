import Glibc
import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@Suite struct ServiceTests {
  @Test("a wish is granted once, whoever else uses the same key, and for a day")
  func idempotency() async throws {
    var template = Array("/tmp/spanwire-kit-XXXXXX".utf8CString)
    let folder = String(cString: mkdtemp(&template)!)
    defer {
      for name in ["test.db", "test.db-wal", "test.db-shm", "test.db.lock"] { unlink(folder + "/" + name) }
      rmdir(folder)
    }
    let database = try await SQLiteDatabase.open(path: folder + "/test.db", durability: .off, migrations: [Idempotency.migrations])
    @Sendable func wish(_ value: Int64, key: String = "k", principal: String = "user:a", at now: Int64) async throws -> Int64 {
      let key = IdempotencyKey(tenant: "t", principal: principal, method: "/m", key: key, request: [UInt8(value)])
      return try await database.transaction("wish") { transaction in
        try transaction.once(key, at: now) { Money(micros: value * 1_000 + now, currency: "EUR") }.micros
      }.value
    }
    let day = Idempotency.retention.nanoseconds
    #expect(try await wish(1, at: 5) == 1_005)
    #expect(try await wish(1, at: 6) == 1_005)
    #expect(try await wish(2, key: "l", at: 7) == 2_007)
    #expect(try await wish(2, principal: "user:b", at: 8) == 2_008)
    do {
      _ = try await wish(2, at: 9)
      Issue.record("the key was used for another request")
    } catch let error as RPCError {
      #expect(error.code == .alreadyExists && error.reason == .idempotencyKeyReused)
    }
    #expect(try await wish(2, at: 6 + day) == 2_006 + day)
    #expect(try await Idempotency.purge(database, now: 9 + day) == 2)
    #expect(try await wish(2, at: 7 + day) == 2_006 + day)
    await database.close()
  }

  @Test("what is known of wishes depends on every part of their name, and on all that they ask")
  func wishes() {
    func key(_ tenant: String = "t", _ principal: String = "p", _ method: String = "m", _ key: String = "k", _ request: [UInt8] = [])
      -> IdempotencyKey
    { IdempotencyKey(tenant: tenant, principal: principal, method: method, key: key, request: request) }
    let names = [key(), key("u"), key("t", "q"), key("t", "p", "n"), key("t", "p", "m", "l"), key("tp", ""), key("", "tp")]
    #expect(Set(names.map(\.wish)).count == names.count && names.allSatisfy { $0.wish.count == 16 })
    let bytes = (0..<40).map { UInt8($0) }
    var requests = (0...bytes.count).map { Array(bytes[..<$0]) } + [[0], [0, 0]]
    for index in bytes.indices {
      requests.append(bytes)
      requests[requests.count - 1][index] ^= 0x80
    }
    let hashes = requests.map { key("t", "p", "m", "k", $0).requestHash }
    // The first byte of all is 0, so it stands there twice.
    #expect(Set(hashes).count == Set(requests).count && hashes.allSatisfy { $0.count == 16 })
    #expect(key("t", "p", "m", "k", bytes).requestHash == key("u", "q", "n", "l", bytes).requestHash)
  }

  @Test("what a check found is spelled out to those whom it concerns, and to the platform's own people")
  func findings() {
    func caller(_ tenant: String, _ role: String) -> Caller {
      Caller(Principal(kind: .ops, id: "o", tenant: tenant, roles: [role], surface: .ops))
    }
    var check = Verification("rows")
    check.found("page 3", of: .everyone)
    check.found("PRS-1 of vienna", of: .tenant("vienna"))
    check.found("PRS-2 of graz", of: .tenant("graz"))
    check.found("a balance", of: .platform)
    let cases: [(Caller, [String])] = [
      (caller("vienna", "ops_lead"), ["page 3", "PRS-1 of vienna", "2 more are about what is not tenant vienna's"]),
      (caller("linz", "platform_sre"), ["page 3", "3 more are about what is not tenant linz's"]),
      (caller("platform", "ops_lead"), ["page 3", "3 more are about what is not tenant platform's"]),
      (caller("platform", "platform_sre"), ["page 3", "PRS-1 of vienna", "PRS-2 of graz", "a balance"]),
    ]
    for (caller, findings) in cases { #expect(check.findings(for: caller) == findings, "\(caller.tenant) \(caller.roles)") }
    #expect(check.findingsTotal == 4 && !check.isSound)
  }

  @Test("all that is wrong with a request is told at once, with paths")
  func validation() throws {
    var fields = Validation()
    fields.id("", "a")
    fields.id("x y", "b")
    fields.optionalID("", "c")
    fields.ids(["ok", "no!"], "d", max: 5)
    fields.ids(["ok", "ok"], "e", max: 1)
    fields.text("", "f", max: 3)
    fields.text("four", "g", max: 3)
    fields.text("a\u{1B}b", "h", max: 9)
    fields.text("ä\nö", "i", max: 3)
    fields.known(Lane.unrecognized(77), "j")
    fields.known(Lane.unspecified, "k")
    fields.given(Lane.unspecified, "l")
    fields.money(Money(micros: -1, currency: "eur"), "m")
    fields.range(5, "n", 1...4)
    #expect(fields.pageSize(0, default: 50, max: 500) == 50)
    #expect(fields.pageSize(501, "o", default: 50, max: 500) == 500)
    do {
      try fields.finish()
      Issue.record("it should have thrown")
    } catch let error as RPCError {
      #expect(error.code == .invalidArgument && error.reason == .invalidFields)
      let violations = try error.details[0].unpack(as: Google_Rpc_BadRequest.self).fieldViolations
      #expect(violations.map(\.field) == ["a", "b", "d[1]", "e", "f", "g", "h", "j", "l", "m.currency", "m.micros", "n", "o"])
    }
    try Validation().finish()
  }

  @Test("every reason's name is the contract's, there and back", arguments: Reason.allCases)
  func reasons(reason: Reason) {
    #expect(Reason(wireName: reason.wireName) == reason)
    #expect(RPCError.refusal(.notFound, reason, "x").reason == reason)
  }

  @Test(
    "names of reasons",
    arguments: [
      (Reason.sessionNotFound, "SESSION_NOT_FOUND"), (.idempotencyKeyReused, "IDEMPOTENCY_KEY_REUSED"), (.noRoute, "NO_ROUTE"),
      (.replayOutsideSandbox, "REPLAY_OUTSIDE_SANDBOX"), (.unspecified, "UNSPECIFIED"),
    ])
  func reasonNames(reason: Reason, name: String) { #expect(reason.wireName == name) }

  @Test("a denial carries its rule")
  func denial() {
    let error = RPCError.denied(.agentForbidden, rule: "AGENT-FORBIDDEN-ISSUE", "no")
    #expect(error.code == .permissionDenied && error.reasonMetadata("rule") == "AGENT-FORBIDDEN-ISSUE" && error.isVerdict)
  }

  @Test(
    "what the store does to a caller has a code",
    arguments: [
      (DatabaseError.busy(limit: 1), RPCError.Code.resourceExhausted), (.outcomeUnknown("x"), .unavailable),
      (.full("x"), .resourceExhausted),
      (.unexpectedRowCount(expected: 1, found: 0, sql: "x"), .aborted), (.corrupt("secret"), .dataLoss), (.closed, .unavailable),
    ])
  func storeErrors(error: DatabaseError, code: RPCError.Code) {
    let outcome = RPCError.outcome(of: error, in: nil)
    #expect(outcome.code == code && !outcome.message.contains("secret"))
  }

  @Test("page tokens come back as they were given, and nothing else does")
  func pageTokens() throws {
    #expect(try PageToken.decode("") == "")
    for key in ["PRS-1", "", "ä", String(repeating: "x", count: 300)] { #expect(try PageToken.decode(PageToken.encode(key)) == key) }
    #expect(try PageToken.decode(PageToken.encode("a", "b"), keys: 2) == ["a", "b"])
    for bad in ["!", "MQ", "AAAA", PageToken.encode("a", "b"), String(repeating: "A", count: 2_000), PageToken.encode("a") + "A"] {
      #expect(throws: RPCError.self) { try PageToken.decode(bad) }
    }
  }

  @Test(
    "development credentials",
    arguments: [
      ("dev:user:anna:vienna:traveller", true), ("dev:ops:otto:vienna:ops_lead,ops_operator", true), ("dev:agent:x:t:external_agent", true),
      ("dev:service:prg:t:x", false), ("dev:user:anna:vienna:", false), ("dev:user::vienna:traveller", false),
      ("user:anna:vienna:traveller", false),
      ("dev:user:an na:vienna:traveller", false), ("", false),
    ])
  func credentials(text: String, isValid: Bool) {
    let principal = DevelopmentCredential.parse(text)
    #expect((principal != nil) == isValid)
    if let principal {
      #expect(DevelopmentCredential.text(kind: principal.kind, id: principal.id, tenant: principal.tenant, roles: principal.roles) == text)
    }
  }

  @Test("the caller is the one behind the services that pass the wish on")
  func caller() throws {
    let anna = Principal(kind: .user, id: "anna", tenant: "vienna", roles: ["traveller"], surface: .edge)
    let caller = try Caller(CallContext(principal: .service("tjm", onBehalfOf: .service("prg", onBehalfOf: anna))))
    #expect(caller.name == "user:anna" && caller.tenant == "vienna" && caller.role == "traveller")
    #expect(throws: RPCError.self) { try Caller(CallContext()) }
    try caller.admit(tenant: "vienna")
    try caller.admit(tenant: "")
    #expect(throws: RPCError.self) { try caller.admit(tenant: "graz") }
  }
}
