import SpanwireSchema

/// The services the gateway coordinates, each bound to the gateway's own identity.
public final class GatewayClients: Sendable {
  public let registry: RegistryClient
  public let policy: PolicyClient
  public let journeys: JourneyRuntimeClient
  public let agents: AgentOrchestratorClient
  public let entitlements: TruttaClient
  public let city: LemClient

  public init(
    registry: RegistryClient, policy: PolicyClient, journeys: JourneyRuntimeClient, agents: AgentOrchestratorClient,
    entitlements: TruttaClient, city: LemClient
  ) {
    self.registry = registry
    self.policy = policy
    self.journeys = journeys
    self.agents = agents
    self.entitlements = entitlements
    self.city = city
  }
}
