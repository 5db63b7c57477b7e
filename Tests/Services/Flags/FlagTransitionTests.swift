import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireFlags

@Suite("Flags, from stage to stage")
struct FlagTransitionTests {
  private typealias World = FlagsServerTests.TestFlags

  private func move(
    _ world: World, _ flag: String, _ move: FlagMove, approval: String = "", expecting stage: String = "", key: String? = nil,
    by who: Principal = World.olga(of: "vienna")
  ) async throws -> FlagStatus {
    let request = TransitionFlagRequest(
      idempotencyKey: key ?? "\(flag)-\(move)-\(Int.random(in: 0..<1_000_000_000))", flagKey: flag, move: move, reason: "for the test",
      approvalID: approval, expectedStage: stage)
    return try await CallContext.with(principal: who) { try await world.server.transitionFlag(request, context: world.context(who)) }
  }

  private func explain(
    _ world: World, _ flag: String, user: String = "anna", tier: Tier = .staff, approvals: [String] = [], tenant: String = "vienna"
  ) async throws -> FlagEvaluation {
    let who = World.olga(of: tenant)
    let request = ExplainFlagRequest(flagKey: flag, subject: FlagSubject(userID: user, tier: tier, approvalRefs: approvals))
    return try await CallContext.with(principal: who) { try await world.server.explainFlag(request, context: world.context(who)) }
  }

  /// Asks for an approval as olga does, and lets both whom it takes approve it.
  private func approval(for flag: String, _ world: World, approved: Bool = true, key: String) async throws -> String {
    let olga = World.olga(of: "vienna")
    let asked = try await CallContext.with(principal: olga) {
      try await world.policy.requestApproval(
        RequestApprovalRequest(idempotencyKey: key, category: "admin_flag_access", target: flag, reason: "roll out"),
        context: world.context(olga))
    }
    guard approved else { return asked.approvalID }
    for (id, role) in [("sam", "security_auditor"), ("ada", "platform_admin")] {
      let who = Principal(kind: .ops, id: id, tenant: "vienna", roles: [role], surface: .ops)
      _ = try await CallContext.with(principal: who) {
        try await world.policy.decideApproval(
          DecideApprovalRequest(idempotencyKey: "\(key)-\(id)", approvalID: asked.approvalID, approved: true), context: world.context(who))
      }
    }
    return asked.approvalID
  }

  private func refused(_ code: RPCError.Code, _ reason: Reason, _ body: () async throws -> FlagStatus) async {
    do {
      let status = try await body()
      Issue.record("nothing was refused, the flag is \(status.stage)")
    } catch {
      let error = RPCError.outcome(of: error, in: nil)
      #expect(error.code == code && error.reason == reason, "\(error)")
    }
  }

  @Test("from every stage the moves lead where they should, and no others lead anywhere")
  func machine() {
    let ways: [(FlagStage, FlagMove, FlagStage)] = [
      (.draft, .promote, .internal), (.internal, .promote, .pilot), (.pilot, .promote, .full), (.internal, .pause, .paused),
      (.pilot, .pause, .paused), (.full, .pause, .paused), (.rolledBack, .resume, .draft), (.internal, .rollBack, .rolledBack),
      (.pilot, .rollBack, .rolledBack), (.full, .rollBack, .rolledBack), (.paused, .rollBack, .rolledBack),
    ]
    for stage in FlagStage.allCases {
      for move in [FlagMove.promote, .pause, .resume, .rollBack, .unspecified] {
        let after = FlagPosition(stage: stage).after(move)?.stage
        let expected = stage == .paused && move == .resume ? .draft : ways.first { $0.0 == stage && $0.1 == move }?.2
        #expect(after == expected, "\(move) from \(stage)")
      }
    }
    for stage in [FlagStage.internal, .pilot, .full] {
      #expect(FlagPosition(stage: stage).after(.pause)?.after(.resume) == FlagPosition(stage: stage))
    }
  }

  @Test("a flag goes its way, every client sees it at once, and history, log and audit tell of each step")
  func way() async throws {
    let world = try await World()
    try await world.apply([FlagsServerTests.flag("f") { $0.pilotTenants = ["vienna"] }], key: "a")
    let way: [(FlagMove, String, String, String)] = [
      (.promote, "internal", "stage-internal", "on"), (.promote, "pilot", "stage-pilot", "on"), (.pause, "paused", "paused", "off"),
      (.resume, "pilot", "stage-pilot", "on"), (.promote, "full", "stage-full", "on"), (.rollBack, "rolled_back", "rolled_back", "off"),
      (.resume, "draft", "default", "off"),
    ]
    for (step, stage, source, variant) in way {
      let status = try await move(world, "f", step)
      let answer = try await explain(world, "f")
      let client = try await world.evaluate("f", user: "anna", tier: "staff")
      #expect(status.stage == stage && answer.stage == stage && answer.source == source && answer.variant == variant)
      #expect(client.variant == variant)
    }
    let context = world.context(World.olga(of: "vienna"))
    var request = ListFlagTransitionsRequest(flagKey: "f", pageSize: 4)
    let first = try await world.server.listFlagTransitions(request, context: context)
    request.pageToken = first.nextPageToken
    let second = try await world.server.listFlagTransitions(request, context: context)
    let all = first.transitions + second.transitions
    #expect(all.map(\.number) == [7, 6, 5, 4, 3, 2, 1] && all.map(\.toStage).reversed() == way.map(\.1) && second.nextPageToken.isEmpty)
    #expect(all.allSatisfy { $0.actor == "ops:olga" && $0.reason == "for the test" })
    let events = try await world.environment.log.list(LogFilter(tenant: "vienna"), after: .beginning, limit: 1_000).events.map(
      \.header.type)
    // Each step is audited, and so is the revision of the registry that defined the flag.
    #expect(events.count { $0 == "policy.flag.transitioned" } == 7 && events.count { $0 == "audit.recorded" } == 8)
    for check in try await world.server.verify() { #expect(check.isSound && check.examined == 1) }
  }

  @Test("what is no way is refused, and so is who may not, and nothing has changed")
  func refusals() async throws {
    let world = try await World()
    try await world.apply([FlagsServerTests.flag("f")], key: "a")
    await refused(.failedPrecondition, .flagTransitionInvalid) { try await move(world, "f", .pause) }
    await refused(.failedPrecondition, .flagTransitionInvalid) { try await move(world, "f", .promote, expecting: "pilot") }
    await refused(.notFound, .flagNotFound) { try await move(world, "g", .promote) }
    await refused(.invalidArgument, .invalidFields) { try await move(world, "f", .unspecified) }
    let guest = Principal(kind: .ops, id: "gus", tenant: "vienna", roles: ["support_agent"], surface: .ops)
    await refused(.permissionDenied, .policyDenied) { try await move(world, "f", .promote, by: guest) }
    let status = try await world.server.getFlag(GetFlagRequest(flagKey: "f"), context: world.context(World.olga(of: "vienna")))
    #expect(status.stage == "draft" && status.transitions == 0)
    _ = try await move(world, "f", .promote, key: "once")
    let again = try await move(world, "f", .promote, key: "once")
    #expect(again.stage == "internal" && again.transitions == 1)
  }

  @Test("a flag that needs it serves more people only under an approval of the queue, and stops without one")
  func approvals() async throws {
    let world = try await World()
    let guarded = FlagsServerTests.flag("f") { ($0.requiresApproval, $0.sensitiveFlag) = (true, true) }
    try await world.apply([guarded, FlagsServerTests.flag("g") { $0.requiresApproval = true }], key: "a")
    let before = try await explain(world, "f")
    #expect(before.source == "approval_missing")
    let (good, other) = (try await approval(for: "f", world, key: "a1"), try await approval(for: "g", world, key: "a2"))
    let pending = try await approval(for: "f", world, approved: false, key: "a3")
    for wrong in ["", "APR-NONE", other, pending] {
      await refused(.permissionDenied, .flagApprovalMissing) { try await move(world, "f", .promote, approval: wrong) }
    }
    let rosa = Principal(kind: .ops, id: "rosa", tenant: "vienna", roles: ["ops_lead"], surface: .ops)
    await refused(.permissionDenied, .flagApprovalMissing) { try await move(world, "f", .promote, approval: good, by: rosa) }
    let status = try await move(world, "f", .promote, approval: good)
    #expect(status.stage == "internal" && status.approvalID == good)
    let inside = try await explain(world, "f")
    #expect(inside.source == "stage-internal")
    // Less needs nobody's word, more again does.
    _ = try await move(world, "f", .pause)
    await refused(.permissionDenied, .flagApprovalMissing) { try await move(world, "f", .resume) }
    _ = try await move(world, "f", .resume, approval: good)
    let down = try await move(world, "f", .rollBack)
    let anew = try await move(world, "f", .resume)
    #expect(down.approvalID.isEmpty && anew.stage == "draft" && anew.approvalID.isEmpty)
    // For one question an approval counts as the queue has it.
    let named = try await explain(world, "g", approvals: [other])
    let unnamed = try await explain(world, "g", approvals: [good, pending, "APR-NONE"])
    #expect(named.source == "default" && unnamed.source == "approval_missing")
    world.clock.advance(by: .seconds(25 * 3_600))
    let late = try await explain(world, "g", approvals: [other])
    #expect(late.source == "approval_missing")
    await refused(.permissionDenied, .flagApprovalMissing) { try await move(world, "f", .promote, approval: good) }
  }

  @Test("a flag that the platform shares is moved by each tenant for itself")
  func shared() async throws {
    let world = try await World()
    try await world.apply([FlagsServerTests.flag("s")], key: "a", tenant: "platform")
    _ = try await move(world, "s", .promote)
    let (here, there) = (try await explain(world, "s"), try await explain(world, "s", tenant: "graz"))
    #expect(here.stage == "internal" && there.stage == "draft")
    let enabled = try await CallContext.with(principal: World.olga(of: "vienna")) {
      try await world.server.isEnabled(
        IsEnabledRequest(flagKey: "s", subject: FlagSubject(userID: "anna")), context: world.context(World.olga(of: "vienna")))
    }
    #expect(enabled.enabled && enabled.source == "stage-internal")
    let foreign = await #expect(throws: RPCError.self) {
      _ = try await world.server.explainFlag(
        ExplainFlagRequest(flagKey: "s", subject: FlagSubject(tenantID: "rome")), context: world.context(World.olga(of: "vienna")))
    }
    #expect(foreign?.code == .permissionDenied)
  }
}
