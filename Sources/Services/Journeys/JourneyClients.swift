import SpanwireSchema

/// The services a journey's nodes ask, each bound to the journey runtime's own identity.
public struct JourneyClients: Sendable {
  public var registry: RegistryClient
  public var policy: PolicyClient
  public var agents: AgentOrchestratorClient
  public var entitlements: TruttaClient
  public var city: LemClient

  public init(
    registry: RegistryClient, policy: PolicyClient, agents: AgentOrchestratorClient, entitlements: TruttaClient, city: LemClient
  ) {
    self.registry = registry
    self.policy = policy
    self.agents = agents
    self.entitlements = entitlements
    self.city = city
  }
}
