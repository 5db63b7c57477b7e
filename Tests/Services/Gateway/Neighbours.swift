import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization

@testable import SpanwireGateway

/// The services the gateway coordinates, as small as a test needs them: real routes behind a real channel, a few facts behind those.
final class Neighbours: Sendable {
  struct Facts: Sendable {
    var config = passConfig
    var decision = AccessDecision(decision: .allow, reasons: [DecisionReason(ruleRef: "R7-grant")])
    var action = ActionDecision(allowed: true, rule: "PROPOSAL-ROUTE")
    var isCovered = true
    var journey = JourneyInstance(
      journeyInstanceID: "JRN-1", tenantID: "vienna", journeyDocID: "TJM-PASS", state: .running,
      nodes: [NodeStatus(nodeID: "plan", kind: "agent", state: .active)])
    var proposals: [String: Proposal] = [:]
    /// What the other services refuse with, by method path, or of one part of many by `path-2`.
    var refusals: [String: RPCError] = [:]
    /// Every changing call, by method path, with its idempotency key.
    var calls: [(method: String, key: String)] = []
    var decisions: [RecordProposalDecisionRequest] = []
    /// The places that journeys were last told to be blocked.
    var blocked: [String] = []
  }

  let facts = Mutex(Facts())

  func change<Value: Sendable>(_ body: @Sendable (inout Facts) -> Value) -> Value { facts.withLock { body(&$0) } }
  func keys(of method: MethodDescriptor) -> [String] { change { facts in facts.calls.filter { $0.method == method.path }.map(\.key) } }

  /// Notes a changing call, or refuses it as the test wants.
  private func call(_ method: MethodDescriptor, _ key: String) throws {
    let refusal = facts.withLock { facts -> RPCError? in
      facts.calls.append((method.path, key))
      return facts.refusals[method.path] ?? key.lastIndex(of: "-").flatMap { facts.refusals["\(method.path)\(key[$0...])"] }
    }
    if let refusal { throw refusal }
  }

  var routes: [ServiceRoutes] {
    [
      ServiceRoutes(
        Registry.descriptor,
        [
          .unary(Registry.Methods.resolveRuntimeConfig) { (request: ResolveRuntimeConfigRequest, _) -> RuntimeConfig in
            guard request.productID == "PRD-PASS" else { throw RPCError.refusal(.notFound, .definitionNotFound, "no such product") }
            return self.change { $0.config }
          },
          .unary(Registry.Methods.getSnapshot) { (_: GetSnapshotRequest, _) -> RuntimeConfig in self.change { $0.config } },
        ]),
      ServiceRoutes(
        Policy.descriptor,
        [
          .unary(Policy.Methods.checkAccess) { (_: CheckAccessRequest, _) -> AccessDecision in self.change { $0.decision } },
          .unary(Policy.Methods.checkAction) { (_: CheckActionRequest, _) -> ActionDecision in self.change { $0.action } },
        ]),
      ServiceRoutes(
        Lem.descriptor,
        [
          .unary(Lem.Methods.checkCoverage) { (_: CheckCoverageRequest, _) -> CheckCoverageResponse in
            CheckCoverageResponse(covered: self.change { $0.isCovered }, reason: "nobody is there")
          },
          .unary(Lem.Methods.blockServicePoint) { (request: BlockServicePointRequest, _) -> BlockChange in
            try self.call(Lem.Methods.blockServicePoint, request.idempotencyKey)
            return BlockChange(servicePointIds: request.clusterID.isEmpty ? [request.servicePointID] : ["SP-A", "SP-B"])
          },
        ]),
      ServiceRoutes(
        Trutta.descriptor,
        [
          .unary(Trutta.Methods.issue) { (request: IssueRequest, _) -> Entitlement in
            try self.call(Trutta.Methods.issue, request.idempotencyKey)
            return Entitlement(
              entitlementID: "ENT-\(request.idempotencyKey)", productRuntimeSessionID: request.productRuntimeSessionID,
              holder: request.holder, tokenID: request.tokenID, issued: request.quantity, remaining: request.quantity, state: .active)
          },
          .unary(Trutta.Methods.withdraw) { (request: WithdrawRequest, _) -> Entitlement in
            try self.call(Trutta.Methods.withdraw, request.idempotencyKey)
            return Entitlement(entitlementID: request.entitlementID, state: .expired)
          },
        ]),
      journeys, agents,
    ]
  }

  private var journeys: ServiceRoutes {
    ServiceRoutes(
      JourneyRuntime.descriptor,
      [
        .unary(JourneyRuntime.Methods.startJourney) { (request: StartJourneyRequest, _) -> JourneyInstance in
          try self.call(JourneyRuntime.Methods.startJourney, request.idempotencyKey)
          return self.change { $0.journey }
        },
        .unary(JourneyRuntime.Methods.getJourney) { (_: GetJourneyRequest, _) -> JourneyInstance in self.change { $0.journey } },
        .unary(JourneyRuntime.Methods.advanceJourney) { (request: AdvanceJourneyRequest, _) -> JourneyInstance in
          try self.call(JourneyRuntime.Methods.advanceJourney, request.idempotencyKey)
          return self.change { $0.journey }
        },
        .unary(JourneyRuntime.Methods.abandonJourney) { (request: AbandonJourneyRequest, _) -> JourneyInstance in
          try self.call(JourneyRuntime.Methods.abandonJourney, request.idempotencyKey)
          return self.change { $0.journey }
        },
        .unary(JourneyRuntime.Methods.changeRoute) { (request: ChangeRouteRequest, _) -> JourneyInstance in
          try self.call(JourneyRuntime.Methods.changeRoute, request.idempotencyKey)
          return self.change { facts in
            facts.journey.route = request.servicePointIds
            return facts.journey
          }
        },
        .unary(JourneyRuntime.Methods.declineRecommendation) { (request: DeclineRecommendationRequest, _) -> JourneyInstance in
          try self.call(JourneyRuntime.Methods.declineRecommendation, request.idempotencyKey)
          return self.change { $0.journey }
        },
        .unary(JourneyRuntime.Methods.forceAbort) { (request: ForceAbortRequest, _) -> JourneyInstance in
          try self.call(JourneyRuntime.Methods.forceAbort, request.idempotencyKey)
          return self.change { $0.journey }
        },
        .unary(JourneyRuntime.Methods.forceSkipNode) { (request: ForceNodeRequest, _) -> JourneyInstance in
          try self.call(JourneyRuntime.Methods.forceSkipNode, request.idempotencyKey)
          return self.change { $0.journey }
        },
        .unary(JourneyRuntime.Methods.setServicePointBlock) { (request: SetServicePointBlockRequest, _) -> SetServicePointBlockResponse in
          try self.call(JourneyRuntime.Methods.setServicePointBlock, request.idempotencyKey)
          self.change { $0.blocked = request.servicePointIds }
          return SetServicePointBlockResponse(journeyInstanceIds: ["JRN-1"])
        },
      ])
  }

  private var agents: ServiceRoutes {
    ServiceRoutes(
      AgentOrchestrator.descriptor,
      [
        .unary(AgentOrchestrator.Methods.getProposal) { (request: GetProposalRequest, _) -> Proposal in
          guard let proposal = self.change({ $0.proposals[request.proposalID] }) else {
            throw RPCError.refusal(.notFound, .proposalNotFound, "no proposal")
          }
          return proposal
        },
        .unary(AgentOrchestrator.Methods.recordProposalDecision) { (request: RecordProposalDecisionRequest, _) -> Proposal in
          try self.call(AgentOrchestrator.Methods.recordProposalDecision, request.idempotencyKey)
          return self.change { facts in
            facts.decisions.append(request)
            facts.proposals[request.proposalID]?.state = request.state
            return facts.proposals[request.proposalID] ?? Proposal()
          }
        },
        .serverStreaming(AgentOrchestrator.Methods.runTask) {
          (request: RunTaskRequest, responses: ResponseWriter<AgentTaskUpdate>, _) in
          try await responses.write(AgentTaskUpdate(update: .receipt(Receipt(agentTaskID: "ATASK-1", agentSlug: "guide"))))
          try await responses.write(
            AgentTaskUpdate(update: .result(AgentTask(agentTaskID: "ATASK-1", context: request.context, task: request.task))))
        },
      ])
  }
}

/// A product with one token, as a registry would resolve it.
let passConfig = RuntimeConfig(
  productID: "PRD-PASS",
  productVersion: ProductVersion(
    productVersionID: "PRDV-PASS-1", productID: "PRD-PASS", marketCodes: ["AT-VIE"], segments: ["tourist"],
    variants: [
      Variant(
        variantID: "VAR-THREE", price: Money(micros: 12_900_000, currency: "EUR"),
        grants: [TokenGrant(tokenID: "TOK-COFFEE", quantity: 3, validFor: Google_Protobuf_Duration(seconds: 604_800))]),
      Variant(
        variantID: "VAR-FIVE", price: Money(micros: 19_900_000, currency: "EUR"),
        grants: [TokenGrant(tokenID: "TOK-COFFEE", quantity: 5)]),
    ]),
  market: Market(marketCode: "AT-VIE", cityCode: "VIE"),
  profiles: [Profile(profileID: "PRF-PRICING", kind: .pricing(PricingProfile(ceiling: Money(micros: 25_000_000, currency: "EUR"))))],
  tokens: [
    Token(tokenID: "TOK-COFFEE", settlementValue: Money(micros: 3_400_000, currency: "EUR"), redeemableTags: ["cafe"])
  ], registryRevision: 7, contentHash: "sha256:0", snapshotRef: "SNAP-1")
