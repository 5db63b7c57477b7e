import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwirePolicy

private func usd(_ micros: Int64) -> Money { Money(micros: micros, currency: "USD") }

@Suite("Tool calls")
struct ToolCallTests {
  @Test("five hundred concurrent reservations against a budget for a hundred grant exactly a hundred")
  func concurrentReservations() async throws {
    let policy = try await TestPolicy()
    try await policy.set("POL-DAY", "global", .budget(BudgetPolicy(daily: usd(100_000_000))))
    let granted = try await withThrowingTaskGroup(of: Bool.self) { group in
      for number in 0..<500 { group.addTask { try await policy.reserve(1_000_000, key: "K-\(number)").allowed } }
      return try await group.reduce(into: 0) { count, allowed in count += allowed ? 1 : 0 }
    }
    #expect(granted == 100)
    #expect(try await policy.budgets() == ["POL-DAY day:2026-05-04 100000000 0"])
    let types = try await policy.eventTypes()
    #expect(types.filter { $0 == "policy.budget.reserved" }.count == 100)
    // The first refusal is told of; those like it within the minute are counted.
    #expect(types.filter { $0 == "policy.budget.exhausted" }.count == 1 && types.filter { $0 == "audit.recorded" }.count == 2)
    try await policy.expectSound()
  }

  @Test("the tightest of all budgets that apply binds, and says when it opens again")
  func tightest() async throws {
    let policy = try await TestPolicy()
    try await policy.set("POL-ALL", "global", .budget(BudgetPolicy(daily: usd(10_000_000))))
    try await policy.set("POL-AGENT", "tool:search", .budget(BudgetPolicy(daily: usd(3_000_000), perRun: usd(2_000_000))))
    try await policy.set("POL-OTHER", "tool:map", .budget(BudgetPolicy(daily: usd(1))))
    #expect(try await policy.reserve(2_000_000, key: "A").allowed)
    let second = try await policy.reserve(1, key: "B")
    #expect(!second.allowed && second.policyID == "POL-AGENT" && second.policyType == "budget" && second.retryAfter == nil)
    let otherRun = try await policy.reserve(1_000_001, key: "C", run: "RUN-2")
    #expect(!otherRun.allowed && otherRun.policyID == "POL-AGENT")
    #expect(otherRun.reason == "1 of 3 USD are left for day:2026-05-04")
    // It is nine in the morning; the day of UTC ends in fifteen hours.
    let untilMidnight: Int64 = 15 * 3_600
    #expect(otherRun.retryAfter?.seconds == untilMidnight)
    #expect(try await policy.reserve(1_000_000, key: "D", run: "RUN-2").allowed)
    policy.clock.advance(by: .seconds(15 * 3_600))
    #expect(try await policy.reserve(1, key: "E", run: "RUN-3").allowed)
    try await policy.expectSound()
  }

  @Test("what was reserved is settled once, at most in full, and the rest comes back")
  func settling() async throws {
    let policy = try await TestPolicy()
    try await policy.set("POL-DAY", "global", .budget(BudgetPolicy(daily: usd(10))))
    let held = try await policy.reserve(10, key: "A")
    let id = held.reservation?.reservationID ?? ""
    #expect(held.reservation?.policyIds == ["POL-DAY"] && held.reservation?.state == .held)
    #expect(try await policy.reserve(10, key: "A") == held)
    await policy.expect(.invalidArgument, .invalidFields) {
      _ = try await policy.server.settleReservation(
        SettleReservationRequest(idempotencyKey: "S0", reservationID: id, spent: usd(11)), context: policy.context())
    }
    await policy.expect(.invalidArgument, .invalidFields) {
      _ = try await policy.server.settleReservation(
        SettleReservationRequest(idempotencyKey: "S0", reservationID: id, spent: Money(micros: 1, currency: "EUR")),
        context: policy.context())
    }
    let request = SettleReservationRequest(idempotencyKey: "S1", reservationID: id, spent: usd(4))
    let settled = try await policy.server.settleReservation(request, context: policy.context())
    #expect(settled.state == .settled && settled.spent == usd(4))
    #expect(try await policy.server.settleReservation(request, context: policy.context()) == settled)
    #expect(try await policy.budgets() == ["POL-DAY day:2026-05-04 0 4"])
    await policy.expect(.failedPrecondition, .budgetReservationEnded) {
      _ = try await policy.server.releaseReservation(
        ReleaseReservationRequest(idempotencyKey: "R", reservationID: id), context: policy.context())
    }
    await policy.expect(.notFound, .budgetReservationNotFound) {
      _ = try await policy.server.releaseReservation(
        ReleaseReservationRequest(idempotencyKey: "R", reservationID: id),
        context: policy.context(TestPolicy.ops("eve", "ops_lead", tenant: "graz")))
    }
    try await policy.expectSound()
  }

  @Test("an abandoned reservation comes back when its time is over, a settled one does not come back twice")
  func abandoned() async throws {
    let policy = try await TestPolicy()
    try await policy.set("POL-DAY", "global", .budget(BudgetPolicy(daily: usd(10))))
    let id = try await policy.reserve(10, key: "A").reservation?.reservationID ?? ""
    #expect(try await !policy.reserve(1, key: "B").allowed)
    policy.clock.advance(by: PolicyLimits.reservation)
    try await policy.fire(ReservationTimer.method, id)
    try await policy.fire(ReservationTimer.method, id)
    #expect(try await policy.budgets() == ["POL-DAY day:2026-05-04 0 0"])
    await policy.expect(.failedPrecondition, .budgetReservationEnded) {
      _ = try await policy.server.settleReservation(
        SettleReservationRequest(idempotencyKey: "S", reservationID: id, spent: usd(1)), context: policy.context())
    }
    let again = try await policy.reserve(10, key: "C").reservation?.reservationID ?? ""
    _ = try await policy.server.settleReservation(
      SettleReservationRequest(idempotencyKey: "S2", reservationID: again, spent: usd(10)), context: policy.context())
    try await policy.fire(ReservationTimer.method, again)
    #expect(try await policy.budgets() == ["POL-DAY day:2026-05-04 0 10"])
    let listed = try await policy.server.listBudgetReservations(ListBudgetReservationsRequest(state: .expired), context: policy.context())
    #expect(listed.reservations.map(\.reservationID) == [id])
    try await policy.expectSound()
  }

  @Test("calls are counted within a sliding minute, and a refusal by another policy counts for none")
  func rates() async throws {
    let policy = try await TestPolicy()
    try await policy.set("POL-RATE", "tool:search", .rateLimit(RateLimitPolicy(maxPerMinute: 3)))
    try await policy.set("POL-DAY", "global", .budget(BudgetPolicy(daily: usd(5))))
    #expect(try await !policy.reserve(6, key: "too-much").allowed)
    for second in 0..<3 {
      #expect(try await policy.check().allowed, "call \(second)")
      policy.clock.advance(by: .seconds(10))
    }
    let refused = try await policy.check()
    #expect(!refused.allowed && refused.policyID == "POL-RATE" && refused.policyType == "rate_limit")
    #expect(refused.retryAfter?.seconds == 30)
    #expect(try await policy.check { $0.toolName = "map" }.allowed)
    policy.clock.advance(by: .seconds(30))
    #expect(try await policy.check().allowed)
    #expect(try await !policy.check().allowed)
  }

  @Test("every allowlist that applies must admit the host")
  func allowlists() async throws {
    let policy = try await TestPolicy()
    try await policy.set(
      "POL-HOSTS", "global", .allowlist(AllowlistPolicy(allowedDomains: ["github.com", "docs.*"], publicSuffixes: ["com"])))
    func ask(_ url: String, _ tier: String = "network_read") async throws -> ToolDecision {
      try await policy.check {
        $0.actionType = tier
        $0.targetURL = url
      }
    }
    #expect(try await ask("https://docs.com/x").allowed)
    let attacker = try await ask("https://docs.attacker.com/x")
    #expect(!attacker.allowed && attacker.policyID == "POL-HOSTS" && attacker.reason.contains("docs.attacker.com"))
    #expect(try await !ask("").allowed)
    #expect(try await ask("", "read").allowed)
    try await policy.set("POL-AGENT-HOSTS", "tool:search", .allowlist(AllowlistPolicy(allowedDomains: ["github.com"])))
    #expect(try await !ask("https://docs.com/x").allowed)
    #expect(try await ask("https://github.com/x").allowed)
  }

  @Test("a tool that writes to the network, moves money or administers needs an approval for itself")
  func safety() async throws {
    let policy = try await TestPolicy()
    func ask(_ tier: String, _ refs: [String] = []) async throws -> ToolDecision {
      try await policy.check {
        $0.actionType = tier
        $0.approvalRefs = refs
      }
    }
    for tier in ["network_write", "money", "system_admin"] {
      let decision = try await ask(tier)
      #expect(!decision.allowed && decision.policyID == ToolGate.safetyDefault && decision.policyType == "safety")
    }
    #expect(try await ask("network_read").allowed)
    try await policy.set("POL-CAREFUL", "tool:search", .safety(SafetyPolicy(requireApprovalFor: ["network_read"])))
    #expect(try await ask("network_read").policyID == "POL-CAREFUL")
    let asked = try await policy.server.requestApproval(
      RequestApprovalRequest(idempotencyKey: "A", category: "network_read", target: "search", reason: "to look things up"),
      context: policy.context(TestPolicy.ops("pia", "product_owner")))
    #expect(try await !ask("network_read", [asked.approvalID]).allowed)
    _ = try await policy.server.decideApproval(
      DecideApprovalRequest(idempotencyKey: "D", approvalID: asked.approvalID, approved: true), context: policy.context())
    #expect(try await ask("network_read", [asked.approvalID]).allowed)
    #expect(try await !ask("network_write", [asked.approvalID]).allowed)
    policy.clock.advance(by: PolicyLimits.approval)
    #expect(try await !ask("network_read", [asked.approvalID]).allowed)
  }

  @Test("a policy of the platform's tenant applies to everybody, another tenant's to nobody else")
  func tenants() async throws {
    let policy = try await TestPolicy()
    let eve = TestPolicy.ops("eve", "ops_lead", tenant: "graz")
    let root = TestPolicy.ops("root", "platform_admin", tenant: "platform")
    try await policy.set("POL-GRAZ", "global", .budget(BudgetPolicy(daily: usd(1))), by: eve)
    #expect(try await policy.reserve(2, key: "A").allowed)
    #expect(try await !policy.reserve(2, key: "A", by: eve).allowed)
    try await policy.set("POL-SHARED", "tool:search", .budget(BudgetPolicy(daily: usd(3))), by: root)
    #expect(try await policy.reserve(2, key: "B").allowed)
    let second = try await policy.reserve(2, key: "C")
    #expect(!second.allowed && second.policyID == "POL-SHARED")
    try await policy.expectSound()
  }

  @Test("a change of policies is seen by the next question")
  func changing() async throws {
    let policy = try await TestPolicy()
    try await policy.set("POL-RATE", "global", .rateLimit(RateLimitPolicy(maxPerMinute: 1)))
    #expect(try await policy.check().allowed)
    #expect(try await !policy.check().allowed)
    try await policy.set("POL-RATE", "global", .rateLimit(RateLimitPolicy(maxPerMinute: 1)), enabled: false)
    #expect(try await policy.check().allowed)
  }

  @Test("everything that is wrong with a question is told at once")
  func malformed() async throws {
    let policy = try await TestPolicy()
    do {
      _ = try await policy.check {
        $0.toolName = ""
        $0.actionType = "dance"
        $0.runID = "a/b"
        $0.estimatedCost = Money(micros: -1, currency: "usd")
        $0.reservationTtl = .init(seconds: 7_200)
      }
      Issue.record("nothing was refused")
    } catch let error as RPCError {
      let fields = error.details.compactMap { try? $0.unpack(as: Google_Rpc_BadRequest.self) }.first?.fieldViolations.map(\.field) ?? []
      #expect(
        fields == [
          "tool_name", "action_type", "run_id", "idempotency_key", "estimated_cost.currency", "estimated_cost.micros",
          "estimated_cost.micros", "reservation_ttl",
        ])
    }
  }
}
