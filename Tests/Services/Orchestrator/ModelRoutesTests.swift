import SpanwireRPC
import SpanwireSchema
import Testing

@testable import SpanwireOrchestrator

/// Which models a task is put to, and in which order.
struct ModelRoutesTests {
  static let euro = "EUR"

  static func offer(_ model: String, context: UInt32 = 0, input: Int64 = 1_000_000, output: Int64 = 1_000_000) -> ModelOffer {
    ModelOffer(
      model: model, inputPrice: Money(micros: input, currency: euro), outputPrice: Money(micros: output, currency: euro),
      contextLength: context)
  }

  static func provider(_ name: String, _ offers: [ModelOffer], at address: String = "http://127.0.0.1:1/v1") -> ModelProvider {
    ModelProvider(provider: name, baseURL: address, models: offers)
  }

  static func providers(_ list: [ModelProvider]) throws -> ModelProviders {
    try ModelProviders(list, variable: { _ in nil }, file: { _ in nil })
  }

  private func chain(_ routes: [ModelRoute], policy: ModelPolicy? = nil) throws -> [String] {
    let agent = AgentDefinition(agentSlug: "guide", agentType: "journey_guide", modelPolicy: policy)
    let providers = try Self.providers([
      Self.provider("b", [Self.offer("two")]), Self.provider("a", [Self.offer("one"), Self.offer("two")]),
    ])
    let task = AgentTaskSpec(agentType: "journey_guide", intent: "suggest_next_stop")
    return ModelRoutes.chain(for: task, agent: agent, routes: routes, providers: providers).map {
      $0.routeID.isEmpty ? "\($0.provider)/\($0.model)" : $0.routeID
    }
  }

  private func route(
    _ id: String, _ type: String = "suggest_next_stop", priority: Int32, fallbacks: [String] = [], enabled: Bool? = nil,
    slugs: [String] = []
  ) -> ModelRoute {
    ModelRoute(
      routeID: id, taskType: type, provider: "a", model: "one", priority: priority,
      conditions: slugs.isEmpty ? nil : RouteConditions(agentSlugs: slugs), fallbackRouteIds: fallbacks, enabled: enabled)
  }

  @Test("The lowest priority number goes first, each with its fallbacks behind it, and none twice")
  func order() throws {
    #expect(
      try chain([
        route("c", priority: 3), route("a", priority: 1, fallbacks: ["x"]), route("b", priority: 2), route("x", "other", priority: 9),
      ])
        == ["a", "x", "b", "c"])
    #expect(
      try chain([route("a", priority: 1, fallbacks: ["b"]), route("b", priority: 1, fallbacks: ["c"]), route("c", "other", priority: 1)])
        == ["a", "b", "c"])
  }

  @Test("What is disabled or for other agents is left out; an intent's routes hide those of the agent's type")
  func conditions() throws {
    #expect(
      try chain([route("a", priority: 1, enabled: false), route("b", priority: 2, slugs: ["guide"]), route("c", priority: 3, slugs: ["x"])])
        == ["b"])
    #expect(try chain([route("t", "journey_guide", priority: 1)]) == ["t"])
    #expect(try chain([route("t", "journey_guide", priority: 1), route("i", priority: 5)]) == ["i"])
  }

  @Test("Without a route the agent's model policy names the models, at whoever offers them")
  func policy() throws {
    #expect(try chain([], policy: ModelPolicy(defaultModel: "two", fallbackModels: ["one", "nowhere"])) == ["a/two", "b/two", "a/one"])
    #expect(try chain([]) == [])
  }

  @Test("A chain has an end, however many routes there are")
  func bounded() throws {
    let many = (0..<50).map { route("r\($0)", priority: Int32($0)) }
    #expect(try chain(many).count == OrchestratorLimits.modelChain)
  }

  @Test(
    "A model is passed over for what is not configured, too long, or too dear",
    arguments: [
      (ModelBinding(provider: "built_in", model: ""), nil),
      (ModelBinding(provider: "none", model: "one"), .notConfigured),
      (ModelBinding(provider: "a", model: "none"), .notConfigured),
      (ModelBinding(provider: "a", model: "one"), nil),
      (ModelBinding(provider: "a", model: "one", maxContextLength: 100), .contextLengthExceeded),
      (ModelBinding(provider: "a", model: "small"), .contextLengthExceeded),
      (ModelBinding(provider: "a", model: "one", maxCost: Money(micros: 100, currency: "EUR")), .overCost),
      (ModelBinding(provider: "a", model: "one", maxCost: Money(micros: 101, currency: "EUR")), nil),
      (ModelBinding(provider: "a", model: "one", maxCost: Money(micros: 101, currency: "USD")), .overCost),
    ] as [(ModelBinding, ModelFailure.Reason?)])
  func objections(binding: ModelBinding, reason: ModelFailure.Reason?) throws {
    let providers = try Self.providers([Self.provider("a", [Self.offer("one"), Self.offer("small", context: 100)])])
    #expect(ModelRoutes.objection(to: binding, tokens: 100, providers: providers)?.reason == reason)
  }

  @Test("A configuration is refused with everything that is wrong, by paths, and without the key")
  func configuration() throws {
    let wrong = [
      ModelProvider(provider: "built_in", baseURL: "https://x.example/v1", models: [Self.offer("m")]),
      ModelProvider(provider: "a", baseURL: "ftp://x", apiKeyEnv: "NONE", models: []),
      ModelProvider(provider: "b", baseURL: "https://x.example", apiKeyFile: "/f", models: [ModelOffer(model: "m")]),
    ]
    do {
      _ = try ModelProviders(wrong, variable: { _ in nil }, file: { _ in "sec ret" })
      Issue.record("it was taken")
    } catch {
      let text = (error as? RPCError).map { String(decoding: $0.status.encoded(), as: UTF8.self) } ?? "\(error)"
      for path in [
        "providers[0].provider", "providers[1].base_url", "providers[1].api_key_env", "providers[1].models",
        "providers[2].models[0].input_price",
      ] {
        #expect(text.contains(path), "\(path) in \(text)")
      }
      #expect(!text.contains("sec ret"))
    }
  }
}
