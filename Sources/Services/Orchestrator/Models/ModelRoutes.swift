import SpanwireSchema

/// One model that a task may be put to, and under which bounds.
struct ModelBinding: Sendable, Hashable {
  /// Empty where the agent's own model policy names the model.
  var routeID = ""
  var provider: String
  var model: String
  var priority: Int32 = 0
  /// Of one call; nil: not limited.
  var maxCost: Money?
  var maxContextLength: UInt32 = 0
}

/// Which models a task is put to, in their order. Pure.
enum ModelRoutes {
  /// The bindings of a task: of the routes of its intent, else of those of its agent's type, else of what its agent's model policy names.
  ///
  /// Routes with a lower priority number go first, each followed by its fallbacks; none is there twice. Those that are disabled, or are
  /// for other agents, are left out. Whether a question fits is asked of each in its turn, since only then it is known how long it is.
  static func chain(for task: AgentTaskSpec, agent: AgentDefinition, routes: [ModelRoute], providers: ModelProviders) -> [ModelBinding] {
    let usable = routes.filter { route in
      let slugs = route.conditions?.agentSlugs ?? []
      return route.enabled ?? true && (slugs.isEmpty || slugs.contains(agent.agentSlug))
    }
    let byID = Dictionary(usable.map { ($0.routeID, $0) }) { first, _ in first }
    for type in [task.intent, task.agentType] {
      var chain: [ModelRoute] = []
      func add(_ route: ModelRoute) {
        guard chain.count < OrchestratorLimits.modelChain, !chain.contains(where: { $0.routeID == route.routeID }) else { return }
        chain.append(route)
        for id in route.fallbackRouteIds { if let fallback = byID[id] { add(fallback) } }
      }
      for route in usable.filter({ $0.taskType == type }).sorted(by: { ($0.priority, $0.routeID) < ($1.priority, $1.routeID) }) {
        add(route)
      }
      if !chain.isEmpty {
        return chain.map { route in
          ModelBinding(
            routeID: route.routeID, provider: route.provider, model: route.model, priority: route.priority, maxCost: route.maxCost,
            maxContextLength: route.conditions?.maxContextLength ?? 0)
        }
      }
    }
    guard let policy = agent.modelPolicy else { return [] }
    return ([policy.defaultModel] + policy.fallbackModels).flatMap { model in
      providers.offering(model).map { ModelBinding(provider: $0, model: model) }
    }.prefix(OrchestratorLimits.modelChain).map { $0 }
  }

  /// What stands against asking a binding's model a question of some length, for an answer of a token; nil: nothing.
  static func objection(to binding: ModelBinding, tokens: Int, providers: ModelProviders) -> ModelFailure? {
    if binding.provider == ModelProviders.builtIn { return nil }
    guard let provider = providers[binding.provider] else {
      return ModelFailure(.notConfigured, "the server has no provider \(binding.provider)")
    }
    guard let offer = provider.offer(binding.model) else {
      return ModelFailure(.notConfigured, "\(binding.provider) offers no \(binding.model)")
    }
    for (limit, whose) in [(binding.maxContextLength, "the route"), (offer.contextLength, "the model")] where limit > 0 {
      if tokens >= Int(limit) {
        return ModelFailure(.contextLengthExceeded, "the question has about \(tokens) tokens; \(whose) takes \(limit)")
      }
    }
    if let cap = binding.maxCost {
      guard cap.currency == offer.currency else {
        return ModelFailure(.overCost, "the route's max_cost is in \(cap.currency), the price in \(offer.currency)")
      }
      if offer.completion(for: cap.micros, prompt: tokens) == 0 {
        return ModelFailure(.overCost, "the question alone costs more than the route's max_cost")
      }
    }
    return nil
  }
}
