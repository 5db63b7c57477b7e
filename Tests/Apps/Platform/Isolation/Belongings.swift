import Foundation
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwirePlatform

/// What a tenant has: something of every kind that the services keep, made as its people and services make it.
struct Belongings {
  /// Stands in every text of the owner's that a person wrote: nobody else may ever read it.
  static let secret = "secret-of-graz"

  var session = ""
  var snapshot = ""
  var entitlement = ""
  var journey = ""
  var task = ""
  var turn = ""
  var proposal = ""
  var settlement = ""
  var capacity = ""
  var budget = ""
  var approval = ""
  var grant = ""
  var incident = ""
  var effect = ""
  var cursor = ""
  var trace = ""
  var key = ""
  var binding = ""
  var execution = ""
  var artifact = ""

  static let product = "PRD-GRAZ-COFFEE-PASS"
  static let version = "PRDV-GRAZ-COFFEE-PASS-1.0.0"
  static let market = "AT-GRZ"
  static let place = "SP-GRZ-CAFE-CENTRAL"
  static let vendor = "VND-GRZ-CENTRAL"
  static let token = "TOK-GRAZ-COFFEE"
  static let policy = "POL-GRAZ"
  static let consumer = "graz-consumer"
  static let flag = "graz-flag"
  static let tokenID = "JTI-GRAZ"
  static let run = "RUN-GRAZ"
  static let agent = "graz-trip-planner"
  static let handler = "graz-files"
  static let schedule = "graz-nightly"
  /// The one that its own people delete.
  static let doomedSchedule = "graz-weekly"

  init(in platform: TwoTenants) async throws {
    let anna = TwoTenants.principal(.user, of: TwoTenants.owner)
    let otto = TwoTenants.principal(.ops, of: TwoTenants.owner)
    let root = Principal(kind: .ops, id: "root", tenant: Caller.platformTenant, roles: ["platform_admin"], surface: .ops)
    let secret = Self.secret

    try await platform.as(root) { channel in
      for tenant in [TwoTenants.owner, TwoTenants.other] {
        _ = try await IdentityClient(channel).createTenant(
          CreateTenantRequest(idempotencyKey: "T-\(tenant)", tenantID: tenant, displayName: tenant == TwoTenants.owner ? secret : "Linz"))
      }
    }
    try await platform.as(otto) { channel in
      let registry = RegistryClient(channel)
      _ = try await registry.apply(ApplyRequest(idempotencyKey: "R1", source: .bundleYaml(try Self.bundle()), reason: secret))
      let more = """
        bundle_id: BND-GRAZ-MORE
        policies:
          - {policy_id: \(Self.policy), scope: global, budget: {daily: {micros: 100000000, currency: USD}}}
        flags:
          - {flag_key: \(Self.flag), enabled: true, variants: {a: \(secret), b: other}, default_variant: a}
          - {flag_key: \(Self.flag)-boolean, enabled: true, variants: {a: true, b: false}, default_variant: a}
          - {flag_key: \(Self.flag)-number, enabled: true, variants: {a: 1, b: 2}, default_variant: a}
          - {flag_key: \(Self.flag)-object, enabled: true, variants: {a: {is: \(secret)}, b: {is: other}}, default_variant: a}
        """
      _ = try await registry.apply(ApplyRequest(idempotencyKey: "R2", source: .bundleYaml(more), reason: secret))
    }
    // The other has a registry too, so that its agents and products work.
    try await platform.as(TwoTenants.principal(.ops, of: TwoTenants.other)) { channel in
      let bundle = try Self.sample()
      _ = try await RegistryClient(channel).apply(
        ApplyRequest(idempotencyKey: "R1", source: .bundleYaml(bundle), reason: "the sample"))
    }
    for tenant in [TwoTenants.owner, TwoTenants.other] { try await platform.settle(tenant) }

    try await travel(platform, anna)
    try await operate(platform, otto)
    try await execute(platform, otto)
    try await platform.settle(TwoTenants.owner)
    let effects = try platform.rows(of: TwoTenants.owner).filter { $0.hasPrefix("spanwire.db effect: ") }
    effect = effects.compactMap { $0.firstMatch(of: #/'([A-Za-z0-9._-]+)'/#).map { String($0.output.1) } }.sorted().first ?? ""
    try await platform.services.flushSpans()
  }

  private mutating func travel(_ platform: TwoTenants, _ anna: Principal) async throws {
    let opened = try await platform.as(anna) {
      try await ProductRuntimeGatewayClient($0).openSession(
        OpenSessionRequest(idempotencyKey: "S", productID: Self.product, marketCode: Self.market, segments: ["tourist"]))
    }
    (session, snapshot) = (opened.productRuntimeSessionID, opened.runtimeSnapshotRef)
    let mine = session
    let bought = try await platform.as(anna) {
      try await ProductRuntimeGatewayClient($0).purchase(
        PurchaseRequest(idempotencyKey: "P", productRuntimeSessionID: mine, variantID: "VAR-THREE-COFFEES", paymentReference: Self.secret))
    }
    entitlement = bought.entitlements.first?.entitlementID ?? ""
    journey = try await platform.as(anna) {
      try await ProductRuntimeGatewayClient($0).startJourney(
        StartSessionJourneyRequest(idempotencyKey: "J", productRuntimeSessionID: mine))
    }.journeyInstanceID
    try await platform.settle(TwoTenants.owner)
    (task, proposal) = try await platform.as(anna) { channel in
      var found = ("", "")
      let updates = try await ProductRuntimeGatewayClient(channel).askAgent(
        AskAgentRequest(
          idempotencyKey: "A", productRuntimeSessionID: mine,
          task: AgentTaskSpec(agentType: "trip_planner", intent: "build_initial_route", message: Self.secret),
          position: GeoPoint(latitude: 48.2085, longitude: 16.3721)))
      for try await update in updates {
        if case .proposal(let proposal)? = update.update { found.1 = proposal.proposalID }
        if case .result(let task)? = update.update { found.0 = task.agentTaskID }
      }
      return found
    }
    let bond = entitlement
    _ = try await platform.as(.service("tjm", onBehalfOf: anna)) {
      try await TruttaClient($0).redeem(
        RedeemRequest(idempotencyKey: "D", entitlementID: bond, quantity: 1, servicePointID: Self.place, vendorID: Self.vendor))
    }
  }

  private mutating func operate(_ platform: TwoTenants, _ otto: Principal) async throws {
    let (mine, asked) = (session, task)
    turn =
      try await platform.as(otto) { channel in
        try await AgentOrchestratorClient(channel).getTask(GetTaskRequest(agentTaskID: asked)).attempts.first?.turnID
      } ?? ""
    let hour = Google_Protobuf_Timestamp(nanosecondsSinceEpoch: platform.services.environment.clock.now + 3_600_000_000_000)
    settlement =
      try await platform.as(otto) {
        try await TruttaClient($0).settle(SettleRequest(idempotencyKey: "ST", vendorID: Self.vendor))
      }.settlements.first?.settlementID ?? ""
    capacity =
      try await platform.as(otto) {
        try await LemClient($0).reserveCapacity(
          ReserveCapacityRequest(idempotencyKey: "C", servicePointID: Self.place, visitors: 1, holder: Self.secret, expiresAt: hour))
      }.reservation?.reservationID ?? ""
    try await platform.as(otto) { channel in
      let policy = PolicyClient(channel)
      let tool = try await policy.checkTool(
        CheckToolRequest(
          idempotencyKey: "B", agentSlug: "planner", toolName: "search", actionType: "read", runID: Self.run,
          estimatedCost: Money(micros: 1_000_000, currency: "USD")))
      let asked = try await policy.requestApproval(
        RequestApprovalRequest(idempotencyKey: "AP", category: "admin_flag_access", reason: Self.secret))
      let grant = try await policy.grantHelp(
        GrantHelpRequest(idempotencyKey: "G", kind: .assist, grantedTo: "sue", targetUserID: "anna", reason: Self.secret))
      let control = try await ProductRuntimeGatewayClient(channel).applyControl(
        ApplyControlRequest(
          idempotencyKey: "I", reason: Self.secret, action: .flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: mine, flagged: true)))
      )
      let identity = IdentityClient(channel)
      let key = try await identity.createApiKey(
        CreateApiKeyRequest(idempotencyKey: "K", kind: .user, principalID: "anna", roles: ["traveller"], label: Self.secret))
      let binding = try await identity.createRoleBinding(
        CreateRoleBindingRequest(idempotencyKey: "RB", kind: .user, principalID: "anna", roles: ["vendor"]))
      _ = try await identity.revokeToken(RevokeTokenRequest(idempotencyKey: "RT", tokenID: Self.tokenID, reason: Self.secret))
      for id in [Self.schedule, Self.doomedSchedule] {
        let schedule = Schedule(
          scheduleID: id, title: Self.secret, timing: .every(.init(seconds: 3_600)),
          work: .task(ScheduledTask(task: AgentTaskSpec(agentType: "ops_analyst", intent: "explain_incident", message: Self.secret))))
        _ = try await OperationsClient(channel).createSchedule(CreateScheduleRequest(idempotencyKey: "SC-\(id)", schedule: schedule))
      }
      let events = EventsClient(channel)
      let page = try await events.listEvents(ListEventsRequest(pageSize: 5))
      for try await _ in try await events.subscribe(SubscribeRequest(untilEnd: true, consumer: Self.consumer)) {}
      _ = try await events.acknowledgeEvents(AcknowledgeEventsRequest(consumer: Self.consumer, cursor: page.nextCursor))
      (self.budget, self.approval, self.incident) = (tool.reservation?.reservationID ?? "", asked.approvalID, control.incidentID)
      self.grant = grant.grantID
      (self.key, self.binding, self.cursor) = (key.key?.keyID ?? "", binding.bindingID, page.nextCursor)
      let traces = page.events.compactMap { $0.traceID.count == 16 ? SHA256.hex($0.traceID) : nil }
      self.trace = traces.first ?? ""
    }
  }

  private mutating func execute(_ platform: TwoTenants, _ otto: Principal) async throws {
    let mine = session
    (execution, artifact) = try await platform.as(otto) { channel in
      let executions = ExecutionsClient(channel)
      let intent = Intent(
        intentType: "ingest_file", sessionID: mine, solutionID: "graz",
        parameters: ["name": "graz.txt", "content": Google_Protobuf_Value(Self.secret)])
      var ended = Execution()
      for try await update in try await executions.execute(SubmitExecutionRequest(idempotencyKey: "E", intent: intent)) {
        if let execution = update.execution { ended = execution }
      }
      _ = try await executions.setState(
        SetStateRequest(key: StateKey(scope: .sessionID(mine)), state: ["of": Google_Protobuf_Value(Self.secret)]))
      _ = try await executions.registerIntent(
        RegisterIntentRequest(intentType: "ingest_file", handlerName: Self.handler, priority: 500, metadata: ["title": Self.secret]))
      return (ended.executionID, ended.artifactIds.first ?? "")
    }
  }

  /// The sample's bundle, with ids and texts of the owner's own.
  private static func bundle() throws -> String {
    [
      ("VIEN", "GRAZ"), ("AT-VIE", market), ("SP-VIE", "SP-GRZ"), ("VND-", "VND-GRZ-"), ("vienna-", "graz-"),
      ("name: \"", "name: \"\(secret) "), ("title: Vienna Coffee Pass", "title: \(secret)"),
    ].reduce(try sample()) { $0.replacing($1.0, with: $1.1) }
  }

  private static func sample() throws -> String {
    var folder = URL(fileURLWithPath: #filePath)
    for _ in 0..<5 { folder.deleteLastPathComponent() }
    return try String(contentsOf: folder.appending(path: "Samples/vienna-coffee-pass.yaml"), encoding: .utf8)
  }

  /// What nobody of another tenant may be told: the secret, and every id that stands in a row but those that the intruder names, which may
  /// come back in refusals, and in what it made itself.
  func secrets(in rows: Set<String>) -> Set<String> {
    let named: Set<String> = [
      session, snapshot, entitlement, journey, task, turn, proposal, settlement, capacity, budget, approval, grant, incident, effect,
      key, binding,
      // Its artifact bears the same number.
      execution, "ART" + execution.dropFirst(3),
    ]
    var found: Set<String> = [Self.secret]
    for row in rows {
      for match in row.matches(of: #/[A-Z]+-[0-9A-HJKMNP-TV-Z]{26}/#) { found.insert(String(match.output)) }
    }
    return found.subtracting(named)
  }
}
