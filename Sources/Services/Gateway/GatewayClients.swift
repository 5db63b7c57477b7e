import SpanwireSchema

/// The services the gateway coordinates, each bound to the gateway's own identity.
public struct GatewayClients: Sendable {
  public var registry: RegistryClient
  public var policy: PolicyClient
  public var journeys: JourneyRuntimeClient
  public var agents: AgentOrchestratorClient
  public var entitlements: TruttaClient
  public var city: LemClient

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
