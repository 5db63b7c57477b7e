import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema

@testable import SpanwirePlatform

/// Makes requests that name what a tenant has, for any method: a value for every field, found by the field's name.
///
/// A field without a value makes no request: whoever adds one says here what an intruder would put into it.
struct RequestFiller {
  let belongings: Belongings
  private let pool: DescriptorPool

  /// A field that nobody has said anything of.
  struct Unknown: Error, CustomStringConvertible {
    let description: String
  }

  init(_ belongings: Belongings) {
    self.belongings = belongings
    pool = DescriptorPool(files: SpanwireSchemaFiles.all)
  }

  /// The requests to try a method with: one for each member of a oneof, and one for each of several values of a field.
  func requests(of method: MethodDescriptor, by caller: Principal, key: String) throws -> [[UInt8]] {
    guard let schema = pool.message(method.inputType) else { throw Unknown(description: "there is no \(method.inputType)") }
    let service = method.service.split(separator: ".").last!
    var common: [String: [String]] = [:]
    var choices: [(String, String)] = []
    var isKeyed = false
    for field in schema.fields {
      let values: [String]
      // Each request is a wish of its own.
      if field.name == "idempotency_key" {
        isKeyed = true
        values = []
      } else if field.name == "invoker" {
        // What operations begins, an operator has scheduled.
        values = [Self.text(caller.kind == .service && caller.id != "operations" ? caller.id : "ops_console")]
      } else if let known = particular["\(service)/\(method.name).\(field.name)"] ?? general[field.name] {
        values = known
      } else {
        throw Unknown(description: "\(method.path): say in RequestFiller what an intruder puts into \(field.name)")
      }
      if field.oneofIndex != nil {
        choices += values.map { (field.name, $0) }
      } else if !values.isEmpty {
        common[field.name] = values
      }
    }
    let count = common.values.map(\.count).max() ?? 1
    return try (0..<count).flatMap { index -> [[UInt8]] in
      let members = common.map { "\"\($0.key)\": \($0.value[index % $0.value.count])" }
      let bodies = choices.isEmpty ? [members] : choices.map { members + ["\"\($0.0)\": \($0.1)"] }
      return try bodies.enumerated().map { number, body in
        let body = isKeyed ? body + ["\"idempotency_key\": \(Self.text("\(key)-\(index)-\(number)"))"] : body
        return try pool.bytes(fromJSON: "{\(body.joined(separator: ", "))}", type: method.inputType)
      }
    }
  }

  private static func text(_ text: String) -> String { "\"\(text)\"" }

  // MARK: Values, as JSON; none leaves a field out

  /// By the field's name.
  private var general: [String: [String]] {
    let b = belongings
    func t(_ text: String) -> [String] { [Self.text(text)] }
    func list(_ texts: String...) -> [String] { ["[\(texts.map(Self.text).joined(separator: ", "))]"] }
    let owner = TwoTenants.owner
    let time = t("2026-05-19T10:00:00Z")
    return [
      // What belongs to the owner.
      "tenant_id": t(owner), "product_runtime_session_id": t(b.session), "journey_instance_id": t(b.journey), "agent_task_id": t(b.task),
      "proposal_id": t(b.proposal), "entitlement_id": t(b.entitlement), "entitlement_ids": list(b.entitlement),
      "settlement_id": t(b.settlement), "approval_id": t(b.approval), "approval_refs": list(b.approval), "incident_id": t(b.incident),
      "effect_id": t(b.effect), "snapshot_ref": t(b.snapshot), "runtime_snapshot_ref": t(b.snapshot), "consumer": t(Belongings.consumer),
      "cursor": t(b.cursor), "run_id": t(Belongings.run), "policy_id": t(Belongings.policy), "flag_key": t(Belongings.flag),
      "product_id": t(Belongings.product), "product_version_id": t(Belongings.version), "market_code": t(Belongings.market),
      "service_point_id": t(Belongings.place), "service_point_ids": list(Belongings.place), "vendor_id": t(Belongings.vendor),
      "token_id": t(Belongings.token), "user_id": t("anna"), "holder": t("anna"), "principal_id": t("anna"), "requested_by": t("otto"),
      "key_id": t(b.key), "binding_id": t(b.binding), "target_tenant_id": t(owner), "trace_id_hex": t(b.trace),
      "turn_id": t(b.turn),
      "journey_doc_id": t("TJM-GRAZ-COFFEE-PASS-BASE"),
      "execution_id": t(b.execution), "execution_id_a": t(b.execution), "execution_id_b": t(b.execution), "session_id": t(b.session),
      "artifact_id": t(b.artifact), "parent_artifact": t(b.artifact), "parent_artifacts": list(b.artifact),
      "intent_type": t("ingest_file"), "handler_name": t(Belongings.handler), "artifact_type": t("file"), "step_id": t("examine"),
      // What is asked of it.
      "metadata": [], "priority": ["7"], "disabled": [], "timeout_ms": [], "max_retries": [], "status": [], "percent": ["1"],
      "message": [], "input": ["{}"], "output": ["{}"], "payload": ["{}"], "record_type": t("noted"), "format": [], "from_step": [],
      "live": [], "sandbox": [], "semantic_descriptor": [], "expected_revision": [], "ttl_ms": [], "item_id": t("DLQ-MINE"),
      "reason": t("curiosity"), "actor": t("ops:otto"), "note": t("mine"), "label": t("mine"), "display_name": t("mine"),
      "page_size": ["100"], "state": [], "page_token": [], "types": ["[\"*\"]"], "until_end": ["true"], "quantity": ["\"1\""],
      "segments": list("tourist"), "experiment_keys": [], "avatar_id": [], "roles": list("traveller"), "scopes": [], "org_id": [],
      "ttl": t("3600s"),
      "kind": t("PRINCIPAL_KIND_USER"), "certificate_name": [], "at": [], "until": [], "from": [], "to": [], "tags": [], "near": [],
      "within_metres": [], "open_only": [], "cluster_id": [], "opening_hours": [], "expires_at": time, "starts_at": [], "visitors": ["1"],
      "finish_by": [], "depart_at": [], "position": [], "amount": [#"{"micros": "-1000", "currency": "EUR"}"#],
      "estimated_cost": [#"{"micros": "1000", "currency": "USD"}"#], "spent": [#"{"micros": "1000", "currency": "USD"}"#],
      "settlement_value": [#"{"micros": "3400000", "currency": "EUR"}"#], "payment_reference": t("PAY-1"),
      "variant_id": t("VAR-THREE-COFFEES"),
      "entry_point": t("start"), "node_id": t("plan"), "arrived": [#"{"servicePointId": "\#(Belongings.place)"}"#],
      "choose": [#"{"option": "finish"}"#], "acknowledge": ["{}"], "signal": [#"{"name": "hurry"}"#], "redeem": ["{}"],
      "task": [#"{"agentType": "trip_planner", "intent": "build_initial_route"}"#], "agent_slug": t("planner"),
      "tool_name": t("search"), "action_type": t("read"), "approved": ["true"], "category": t("admin_flag_access"), "target": [],
      "actor_role": t("ops_lead"), "session_status": t("active"), "journey_status": t("running"), "filter": filters,
    ]
  }

  private var filters: [String] {
    [
      #"{"tenantId": "\#(TwoTenants.owner)"}"#, #"{"productRuntimeSessionId": "\#(belongings.session)"}"#,
      #"{"journeyInstanceId": "\#(belongings.journey)"}"#, #"{"types": ["*"]}"#,
    ]
  }

  /// By service, method and field, where the field's name alone does not tell.
  private var particular: [String: [String]] {
    let b = belongings
    let owner = TwoTenants.owner
    let point = #"{"latitude": 48.2085, "longitude": 16.3721}"#
    let access =
      #"{"actorRole": "platform_admin", "actorUserId": "otto", "actorTenantId": "\#(owner)", "targetTenantId": "\#(owner)", "#
      + #""targetUserId": "anna", "fieldCategory": "admin_flag_access", "approvalRefs": ["\#(b.approval)"]}"#
    let task =
      #"{"productRuntimeSessionId": "\#(b.session)", "journeyInstanceId": "\#(b.journey)", "userId": "anna", "#
      + #""marketCode": "\#(Belongings.market)", "runtimeSnapshotRef": "\#(b.snapshot)", "position": \#(point)}"#
    let place =
      #"[{"servicePointId": "\#(Belongings.place)", "name": "Mine", "marketCode": "\#(Belongings.market)", "position": \#(point), "#
      + #""tags": ["cafe"], "openingHours": "24/7"}]"#
    let bundle =
      "\"bundle_id: BND-MINE\\nmarkets:\\n  - {market_code: \(Belongings.market), name: Mine, city_code: GRZ, time_zone: Europe/Vienna, currency: EUR, "
      + "country: AT}\\n\""
    let span =
      #"[{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "mine"}}]}, "scopeSpans": [{"spans": [{"traceId": "#
      + "\"\(base64(hex: b.trace))\""
      + #", "spanId": "AAAAAAAAAAE=", "name": "mine", "startTimeUnixNano": "1779174000000000000", "endTimeUnixNano": "1779174001000000000"}]}]}]"#
    let claim = #"{"tenantId": "\#(owner)", "executionId": "\#(b.execution)", "leaseEpoch": "1"}"#
    let claimed = #"{"claim": \#(claim), "artifactId": "\#(b.artifact)", "format": "text/plain"}"#
    let intents = [owner, TwoTenants.other].map {
      #"{"intentType": "ingest_file", "tenantId": "\#($0)", "sessionId": "\#(b.session)", "solutionId": "mine", "#
        + #""parameters": {"name": "mine.txt", "content": "mine"}}"#
    }
    let failed = #"{"executionId": "\#(b.execution)", "intent": \#(intents[0])}"#
    let given = #"{"executionId": "\#(b.execution)", "tenantId": "\#(owner)", "intent": \#(intents[0])}"#
    let keys = [#"{"sessionId": "\#(b.session)"}"#, #"{"executionId": "\#(b.execution)"}"#]
    let subject = #"{"userId": "anna", "tenantId": "\#(owner)"}"#
    let auditFilters = [#"{"actor": "ops:otto"}"#, "{}", #"{"allTenants": true}"#]
    let session = #"{"productRuntimeSessionId": "\#(b.session)"}"#
    let node = #"{"productRuntimeSessionId": "\#(b.session)", "nodeId": "plan"}"#
    return [
      "Lem/ComputeRoute.start": [point], "Lem/ComputeRoute.max_stops": ["3"], "Lem/ComputeRoute.required_service_point_ids": [],
      "Lem/ComputeRoute.excluded_service_point_ids": [], "Lem/ComputeRoute.walking_metres_per_second": [],
      "Lem/SyncServicePoints.registry_revision": ["\"1000\""], "Lem/SyncServicePoints.service_points": [place],
      "Lem/SyncServicePoints.market_time_zones": [#"{"\#(Belongings.market)": "Europe/Vienna"}"#],
      "Lem/ReserveCapacity.reservation_id": [Self.text(b.capacity)],
      "Lem/ReleaseCapacity.reservation_id": [Self.text(b.capacity)],
      "Events/Subscribe.from_now": [], "Events/Subscribe.mode": [], "Events/Subscribe.channel": [], "Events/Subscribe.cursor": [],
      "Events/ListEvents.cursor": [], "Events/ReplayEvents.cursor": [], "Events/ReplayEvents.channel": ["\"mine\""],
      "Events/Subscribe.consumer": ["\"\(Belongings.consumer)\"", "\"\""], "JourneyRuntime/WatchJourney.cursor": [],
      "ProductRuntimeGateway/WatchSession.cursor": [], "Events/ListEffects.state": ["1", "2", "3"],
      "AgentOrchestrator/RunTask.context": [task], "AgentOrchestrator/SubmitTask.context": [task],
      "AgentOrchestrator/RunTask.tenant_id": ["\"\(owner)\"", "\"\(TwoTenants.other)\""],
      "AgentOrchestrator/SubmitTask.tenant_id": ["\"\(owner)\"", "\"\(TwoTenants.other)\""],
      "AgentOrchestrator/ListTasks.agent_type": [], "AgentOrchestrator/ListTasks.intent": [],
      "AgentOrchestrator/ListTasks.received_from": [], "AgentOrchestrator/ListTasks.received_before": [],
      "AgentOrchestrator/ListProposals.kind": [], "AgentOrchestrator/ListProposals.agent_slug": [],
      "AgentOrchestrator/SummarizeImpact.created_from": [], "AgentOrchestrator/SummarizeImpact.agent_slug": [],
      "AgentOrchestrator/ExplainModelRoute.agent_slug": [Self.text(Belongings.agent)],
      "AgentOrchestrator/ExplainModelRoute.intent": ["\"build_initial_route\""], "AgentOrchestrator/ExplainModelRoute.context_length": [],
      "Policy/CheckTool.extends_reservation_id": [Self.text(b.budget)],
      "AgentOrchestrator/RecordProposalDecision.state": ["\"PROPOSAL_STATE_ACCEPTED\""],
      "AgentOrchestrator/RecordProposalDecision.change": [],
      "AgentOrchestrator/ListTasks.agent_slug": [], "AgentOrchestrator/ListDeadLetters.agent_slug": [],
      "AgentOrchestrator/ListDeadLetters.resolution": [], "AgentOrchestrator/GetDeadLetter.item_id": [Self.text(b.task)],
      "AgentOrchestrator/ReviewDeadLetter.item_id": [Self.text(b.task)], "AgentOrchestrator/ReviewDeadLetter.resolution": ["3"],
      "AgentOrchestrator/RedriveDeadLetters.item_ids": ["[\(Self.text(b.task))]"], "AgentOrchestrator/RedriveDeadLetters.agent_slug": [],
      "AgentOrchestrator/RedriveDeadLetters.limit": [], "AgentOrchestrator/SetBreaker.circuit": ["\"agent:\(Belongings.agent)\""],
      "AgentOrchestrator/SetBreaker.mode": ["2"], "AgentOrchestrator/SetBreaker.config": [],
      "AgentOrchestrator/EnqueueDeadLetter.execution": [failed],
      "AgentWorker/PerformExecution.execution": [given],
      "Executions/Execute.execution_id": [], "Executions/SubmitExecution.execution_id": [],
      "Executions/Execute.intent": intents, "Executions/SubmitExecution.intent": intents,
      "Executions/RedriveExecution.redriven_as": ["\"EXE-MINE\""], "Executions/SetState.state": [#"{"of": "mine"}"#],
      "Executions/GetState.key": keys, "Executions/SetState.key": keys, "Executions/DeleteState.key": keys,
      "Executions/UploadArtifact.header": [#"{"artifactId": "\#(b.artifact)", "format": "text/plain"}"#, claimed],
      "Executions/RegisterArtifact.artifact_id": [], "Executions/UploadArtifact.chunk": [], "Executions/SetArtifactState.state": ["4"],
      "Executions/BeginStep.claim": [claim], "Executions/CompleteStep.claim": [claim], "Executions/ReportProgress.claim": [claim],
      "Executions/AppendRecord.claim": [claim], "Executions/GetState.claim": [claim, "null"], "Executions/SetState.claim": [claim, "null"],
      "Executions/RegisterArtifact.claim": [claim, "null"], "Executions/SetArtifactState.claim": [claim, "null"],
      "Executions/ResolveArtifact.claim": [claim, "null"], "Executions/ReadArtifact.claim": [claim, "null"],
      // A worker's first word; the others are about what it was given to do.
      "AgentWorker/Attach.registration": [#"{"workerId": "mine", "agentSlugs": ["\#(Belongings.agent)"]}"#],
      "AgentWorker/Attach.heartbeat": [], "AgentWorker/Attach.progress": [], "AgentWorker/Attach.partial": [],
      "AgentWorker/Attach.result": [], "AgentWorker/Attach.failure": [], "AgentWorker/Attach.draining": [],
      "Turns/ListTurns.outcome": [], "Turns/WatchTurns.cursor": [],
      "AgentWorker/DrainWorker.worker_id": ["\"mine\""], "Trutta/Issue.tenant_id": ["\"\(owner)\"", "\"\(TwoTenants.other)\""],
      "Trutta/Issue.expires_at": [],
      "Trutta/ExportSettlement.format": ["1", "2"],
      "Trutta/ListLedger.account": ["\"holder:\(b.entitlement)\"", "\"vendor:\(Belongings.vendor)\""],
      "JourneyRuntime/StartJourney.tenant_id": ["\"\(owner)\"", "\"\(TwoTenants.other)\""],
      "JourneyRuntime/ListJourneys.started_from": [], "JourneyRuntime/ListJourneys.started_before": [],
      "JourneyRuntime/SetServicePointBlock.blocked": ["true"],
      "JourneyRuntime/SetServicePointBlock.tenant_id": ["\"\(owner)\"", "\"\(TwoTenants.other)\""],
      "JourneyRuntime/CompleteNodeWork.visit_number": ["1"], "JourneyRuntime/CompleteNodeWork.ok": ["true"],
      "JourneyRuntime/CompleteNodeWork.outcome": ["\"accepted\""], "JourneyRuntime/CompleteNodeWork.tokens_left": ["\"0\""],
      "ProductRuntimeGateway/OpenSession.product_version_id": [], "ProductRuntimeGateway/ListSessions.risk_flagged": [],
      "ProductRuntimeGateway/ListSessions.created_from": [], "ProductRuntimeGateway/ListSessions.created_before": [],
      "ProductRuntimeGateway/ApplyControl.cancel_session": [session],
      "ProductRuntimeGateway/ApplyControl.force_complete_session": [session],
      "ProductRuntimeGateway/ApplyControl.flag_session_risk": [session],
      "ProductRuntimeGateway/ApplyControl.force_abort_journey": [session],
      "ProductRuntimeGateway/ApplyControl.force_skip_node": [node], "ProductRuntimeGateway/ApplyControl.force_complete_node": [node],
      "ProductRuntimeGateway/ApplyControl.block_service_point": [#"{"servicePointId": "\#(Belongings.place)"}"#],
      "ProductRuntimeGateway/ApplyControl.unblock_service_point": [#"{"servicePointId": "\#(Belongings.place)"}"#],
      "ProductRuntimeGateway/ApplyControl.compensate_entitlement": [#"{"entitlementId": "\#(b.entitlement)", "quantity": "1"}"#],
      "ProductRuntimeGateway/ApplyControl.correct_settlement": [#"{"settlementId": "\#(b.settlement)", "amountMicros": "-1000"}"#],
      "Collector/GetTrace.trace_id": [], "Collector/SearchTraces.service_name": [], "Collector/SearchTraces.span_name": [],
      "Collector/SearchTraces.min_duration": [], "Collector/SearchTraces.errors_only": [],
      "Policy/CheckAccess.context": [access], "Policy/CheckSensitive.context": [access], "Policy/ExplainAccess.context": [access],
      "Policy/BatchCheckAccess.contexts": ["[\(access)]"], "Policy/BatchCheckAccess.as_sensitive": ["true"],
      "Policy/GrantHelp.kind": ["1", "2"], "Policy/GrantHelp.granted_to": ["\"eve\""], "Policy/GrantHelp.granted_to_tenant_id": [],
      "Policy/GrantHelp.target_user_id": ["\"anna\""], "Policy/RevokeHelp.grant_id": [Self.text(b.grant)],
      "Policy/ListHelp.target_user_id": ["\"anna\"", "\"\""], "Policy/ListHelp.granted_to": [], "Policy/ListHelp.standing": [],
      "Policy/ListHelp.target_tenant_id": ["\"\(owner)\"", "\"\""],
      "Policy/CheckTool.target_url": [], "Policy/CheckTool.reservation_ttl": [],
      "Policy/SettleReservation.reservation_id": [Self.text(b.budget)], "Policy/ReleaseReservation.reservation_id": [Self.text(b.budget)],
      "Registry/Apply.bundle_yaml": [bundle], "Registry/Apply.bundle": [], "Registry/Apply.dry_run": [],
      "Registry/Diff.bundle_yaml": [bundle], "Registry/Diff.bundle": [], "Registry/Diff.revision": ["\"1\""],
      "Registry/ResolveRuntimeConfig.product_version_id": [], "Registry/Rollback.revision": ["\"2\""],
      "Registry/ListRevisions.kind": ["2", "0"], "Registry/ListRevisions.id": ["\"\(Belongings.product)\"", "\"\""],
      "Registry/GetDefinition.kind": ["2"], "Registry/GetDefinition.id": ["\"\(Belongings.product)\""],
      "Registry/GetDefinition.revision": ["\"0\"", "\"1\""],
      "Registry/ListDefinitions.kind": ["0"], "Registry/ListDefinitions.shared": ["false", "true"],
      "Registry/Watch.after_revision": ["\"1\""], "Registry/Watch.every_tenant": ["false", "true"],
      "Chain/EvaluateChain.actor_user_id": ["\"otto\""], "Chain/EvaluateChain.actor_tenant_id": ["\"\(owner)\""],
      "Chain/EvaluateChain.target_user_id": ["\"anna\""], "Chain/EvaluateChain.requested_action": [], "Chain/EvaluateChain.assist_ctx": [],
      "Chain/EvaluateChain.view_as_ctx": [], "Chain/EvaluateChain.env": [], "Chain/EvaluateChain.tier": [],
      "Chain/EvaluateChain.now_iso": [], "Chain/EvaluateChain.attributes": [],
      "Flags/ExplainFlag.subject": [subject], "Flags/IsEnabled.subject": [subject], "Flags/TransitionFlag.move": ["1"],
      "Flags/TransitionFlag.expected_stage": [], "Flags/EvaluateFlag.context": [#"{"tenant_id": "\#(owner)"}"#],
      "Flags/EvaluateFlag.now": [],
      "Service/ResolveAll.context": [#"{"tenant_id": "\#(owner)"}"#], "Service/ResolveBoolean.context": [#"{"tenant_id": "\#(owner)"}"#],
      "Service/ResolveString.context": [#"{"tenant_id": "\#(owner)"}"#], "Service/ResolveFloat.context": [#"{"tenant_id": "\#(owner)"}"#],
      "Service/ResolveInt.context": [#"{"tenant_id": "\#(owner)"}"#], "Service/ResolveObject.context": [#"{"tenant_id": "\#(owner)"}"#],
      "Service/ResolveBoolean.flag_key": ["\"\(Belongings.flag)-boolean\""],
      "Service/ResolveFloat.flag_key": ["\"\(Belongings.flag)-number\""],
      "Service/ResolveInt.flag_key": ["\"\(Belongings.flag)-number\""], "Service/ResolveObject.flag_key": ["\"\(Belongings.flag)-object\""],
      "FlagSyncService/SyncFlags.provider_id": ["\"\(owner)\""], "FlagSyncService/SyncFlags.selector": ["\"\(owner)\"", "\"\""],
      "FlagSyncService/FetchAllFlags.provider_id": ["\"\(owner)\""], "FlagSyncService/FetchAllFlags.selector": ["\"\(owner)\"", "\"\""],
      "TraceService/Export.resource_spans": [span],
      "Operations/ListAudit.filter": auditFilters, "Operations/ExportAudit.filter": auditFilters, "Operations/VerifyAudit.heads": [],
      "Operations/ForceIncidentMode.mode": ["3"], "Operations/ForceIncidentMode.lasts": [],
      "Operations/ListSlaMeasurements.job_type": ["\"build_initial_route\"", "\"\""], "Operations/ListSlaMeasurements.breached": [],
      "Operations/CreateSchedule.schedule": [
        #"{"scheduleId": "\#(Belongings.schedule)", "every": "3600s", "#
          + #""task": {"task": {"agentType": "ops_analyst", "intent": "explain_incident"}}}"#
      ],
      "Operations/GetSchedule.schedule_id": ["\"\(Belongings.schedule)\""],
      "Operations/SetSchedulePaused.schedule_id": ["\"\(Belongings.schedule)\""], "Operations/SetSchedulePaused.paused": ["true"],
      "Operations/DeleteSchedule.schedule_id": ["\"\(Belongings.doomedSchedule)\""],
      "Operations/ListScheduleRuns.schedule_id": ["\"\(Belongings.schedule)\""],
      "Identity/SetTenantState.state": ["2"], "Identity/RevokeToken.token_id": ["\"\(Belongings.tokenID)\""],
      "Identity/RevokeToken.expires_at": [], "Identity/CreateRoleBinding.certificate_name": ["\"dns:mine.test\"", "\"\""],
      "Identity/RevokeApiKey.tenant_id": ["\"\(owner)\"", "\"\""], "Identity/DeleteRoleBinding.tenant_id": ["\"\(owner)\"", "\"\""],
      "Identity/ListApiKeys.tenant_id": ["\"\(owner)\"", "\"\""], "Identity/ListRoleBindings.tenant_id": ["\"\(owner)\"", "\"\""],
      "Identity/ListRevokedTokens.tenant_id": ["\"\(owner)\"", "\"\""], "Identity/GetTenant.tenant_id": ["\"\(owner)\"", "\"\""],
    ]
  }

  private func base64(hex: String) -> String {
    let digits = hex.compactMap(\.hexDigitValue).map(UInt8.init)
    let bytes = stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    return Base64.encode(bytes)
  }
}
