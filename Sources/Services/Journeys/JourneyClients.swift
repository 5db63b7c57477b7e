import SpanwireSchema

/// The services a journey's nodes ask, each bound to the journey runtime's own identity.
public final class JourneyClients: Sendable {
  public let registry: RegistryClient
  public let policy: PolicyClient
  public let agents: AgentOrchestratorClient
  public let entitlements: TruttaClient
  public let city: LemClient

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
