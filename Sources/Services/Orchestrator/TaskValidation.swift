import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Checks a request for agent work, field by field, before anything is stored.
enum TaskValidation {
  static func check(_ request: RunTaskRequest, caller: Principal) throws {
    try Caller(caller.subject).admit(tenant: request.tenantID)
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.optionalID(request.agentTaskID, "agent_task_id")
    if !["prg", "tjm", "ops_console"].contains(request.invoker) {
      validation.add("invoker", "must be prg, tjm or ops_console")
    } else if caller.kind == .service, caller.id != request.invoker, (caller.id, request.invoker) != ("operations", "ops_console") {
      // What an operator scheduled is begun for him.
      validation.add("invoker", "must be the calling service")
    } else if caller.kind == .ops, request.invoker != "ops_console" {
      validation.add("invoker", "must be ops_console")
    }
    if let context = request.context { check(context, &validation) }
    if let task = request.task {
      check(task, isOperator: caller.subject.kind == .ops, &validation)
      let isAboutSession = !BuiltInAgents.operatorTypes.contains(task.agentType)
      if isAboutSession, request.context?.marketCode.isEmpty != false {
        validation.add("context.market_code", "must be given")
      }
    } else {
      validation.add("task", "must be given")
    }
    try validation.finish()
  }

  private static func check(_ context: AgentContext, _ validation: inout Validation) {
    for (field, value) in [
      ("product_runtime_session_id", context.productRuntimeSessionID), ("product_version_id", context.productVersionID),
      ("journey_instance_id", context.journeyInstanceID), ("user_id", context.userID), ("avatar_id", context.avatarID),
      ("market_code", context.marketCode), ("city_code", context.cityCode), ("runtime_snapshot_ref", context.runtimeSnapshotRef),
    ] {
      validation.optionalID(value, "context.\(field)")
    }
    if let profiles = context.profiles {
      for (field, value) in [
        ("token_profile_id", profiles.tokenProfileID), ("loyalty_profile_id", profiles.loyaltyProfileID),
        ("pricing_profile_id", profiles.pricingProfileID), ("safety_profile_id", profiles.safetyProfileID),
        ("ui_profile_id", profiles.uiProfileID), ("ops_profile_id", profiles.opsProfileID),
        ("quality_profile_id", profiles.qualityProfileID),
      ] {
        validation.optionalID(value, "context.profiles.\(field)")
      }
    }
    if let position = context.position {
      if !(-90...90).contains(position.latitude) { validation.add("context.position.latitude", "must be from -90 to 90") }
      if !(-180...180).contains(position.longitude) { validation.add("context.position.longitude", "must be from -180 to 180") }
    }
  }

  private static func check(_ task: AgentTaskSpec, isOperator: Bool, _ validation: inout Validation) {
    if !BuiltInAgents.types.contains(task.agentType) {
      validation.add("task.agent_type", "must be one of \(BuiltInAgents.types.joined(separator: ", "))")
    } else if BuiltInAgents.operatorTypes.contains(task.agentType), !isOperator {
      validation.add("task.agent_type", "\(task.agentType) works for operators alone")
    }
    if !BuiltInAgents.intents.contains(task.intent) {
      validation.add("task.intent", "must be one of \(BuiltInAgents.intents.joined(separator: ", "))")
    }
    validation.optionalText(task.message, "task.message", max: OrchestratorLimits.messageLetters)
    validation.optionalID(task.subjectID, "task.subject_id")
    guard let constraints = task.constraints else { return }
    if constraints.maxTokens > OrchestratorLimits.maxTokens {
      validation.add("task.constraints.max_tokens", "must be at most \(OrchestratorLimits.maxTokens)")
    }
    if constraints.timeoutMs > OrchestratorLimits.timeoutMilliseconds {
      validation.add("task.constraints.timeout_ms", "must be at most \(OrchestratorLimits.timeoutMilliseconds)")
    }
    if constraints.maxSuggestions > OrchestratorLimits.maxSuggestions {
      validation.add("task.constraints.max_suggestions", "must be at most \(OrchestratorLimits.maxSuggestions)")
    }
  }
}
