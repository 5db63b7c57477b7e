import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization

@testable import SpanwireJourneys

/// The services a journey asks, as small as a test needs them: real routes behind a real channel, a few facts behind those.
final class Neighbours: Sendable {
  struct Facts: Sendable {
    /// Snapshots by reference.
    var configs = [viennaConfig.snapshotRef: viennaConfig]
    var snapshotsRead = 0
    var places: [String: ServicePointStatus] = [:]
    var entitlements: [Entitlement] = []
    /// Redemptions by idempotency key: what makes a second one with the same key the first.
    var redemptions: [String: Redemption] = [:]
    var refusesRouteChanges = false
    var submitted: [RunTaskRequest] = []
    /// Room that is kept, by its reservation.
    var kept: [String: ReserveCapacityRequest] = [:]
    /// Places that have no room to keep.
    var full: Set<String> = []
  }

  let facts = Mutex(Facts())

  init() {
    facts.withLock { facts in
      for (number, id) in ["SP-A", "SP-B", "SP-C", "SP-D", "SP-SIGHT"].enumerated() {
        facts.places[id] = ServicePointStatus(
          servicePoint: ServicePoint(
            servicePointID: id, marketCode: "AT-VIE", position: GeoPoint(latitude: 48.2 + 0.001 * Double(number), longitude: 16.37),
            vendorID: "VND-\(id)", experienceScore: 0.8),
          openState: .open)
      }
      facts.entitlements = [
        Entitlement(
          entitlementID: "ENT-1", productRuntimeSessionID: "PRS-1", tokenID: "TOK-COFFEE", issued: 2, remaining: 2, state: .active)
      ]
    }
  }

  func change(_ body: @Sendable (inout Facts) -> Void) { facts.withLock { body(&$0) } }

  var routes: [ServiceRoutes] { [registry, policy, agents, entitlements, city] }

  private var registry: ServiceRoutes {
    ServiceRoutes(
      Registry.descriptor,
      [
        .unary(Registry.Methods.getSnapshot) { (request: GetSnapshotRequest, _) -> RuntimeConfig in
          let config = self.facts.withLock { facts in
            facts.snapshotsRead += 1
            return facts.configs[request.snapshotRef]
          }
          guard let config else { throw RPCError.notFound("no snapshot") }
          return config
        }
      ])
  }

  private var policy: ServiceRoutes {
    ServiceRoutes(
      Policy.descriptor,
      [
        .unary(Policy.Methods.checkAction) { (_: CheckActionRequest, _) -> ActionDecision in
          self.facts.withLock { $0.refusesRouteChanges }
            ? ActionDecision(rule: "PROPOSAL-ROLE", reason: "not hers to change") : ActionDecision(allowed: true, rule: "PROPOSAL-ROUTE")
        }
      ])
  }

  private var agents: ServiceRoutes {
    ServiceRoutes(
      AgentOrchestrator.descriptor,
      [
        .unary(AgentOrchestrator.Methods.submitTask) { (request: RunTaskRequest, _) -> AgentTask in
          self.change { $0.submitted.append(request) }
          return AgentTask(agentTaskID: "ATASK-1", state: .received)
        }
      ])
  }

  private var entitlements: ServiceRoutes {
    ServiceRoutes(
      Trutta.descriptor,
      [
        .unary(Trutta.Methods.listEntitlements) { (_: ListEntitlementsRequest, _) -> ListEntitlementsResponse in
          ListEntitlementsResponse(entitlements: self.facts.withLock { $0.entitlements })
        },
        .unary(Trutta.Methods.redeem) { (request: RedeemRequest, _) -> Redemption in
          try self.facts.withLock { facts -> Result<Redemption, RPCError> in
            if let done = facts.redemptions[request.idempotencyKey] { return .success(done) }
            guard let index = facts.entitlements.firstIndex(where: { $0.entitlementID == request.entitlementID }),
              facts.entitlements[index].remaining >= request.quantity
            else { return .failure(.refusal(.failedPrecondition, .balanceInsufficient, "nothing left")) }
            facts.entitlements[index].remaining -= request.quantity
            let redemption = Redemption(
              redemptionID: "RED-\(facts.redemptions.count)", entitlementID: request.entitlementID, quantity: request.quantity,
              remaining: facts.entitlements[index].remaining, servicePointID: request.servicePointID, vendorID: request.vendorID)
            facts.redemptions[request.idempotencyKey] = redemption
            return .success(redemption)
          }.get()
        },
      ])
  }

  private var city: ServiceRoutes {
    ServiceRoutes(
      Lem.descriptor,
      [
        .unary(Lem.Methods.getServicePoint) { (request: GetServicePointRequest, _) -> ServicePointStatus in
          guard let place = self.facts.withLock({ $0.places[request.servicePointID] }) else {
            throw RPCError.refusal(.notFound, .servicePointNotFound, "no place \(request.servicePointID)")
          }
          return place
        },
        .unary(Lem.Methods.reserveCapacity) { (request: ReserveCapacityRequest, _) -> ReserveCapacityResponse in
          try self.facts.withLock { facts -> Result<ReserveCapacityResponse, RPCError> in
            guard !facts.full.contains(request.servicePointID) else {
              return .failure(.precondition(.capacityExceeded, "\(request.servicePointID) has room for 0 of 1 then"))
            }
            facts.kept[request.reservationID] = request
            return .success(ReserveCapacityResponse(reservation: CapacityReservation(reservationID: request.reservationID)))
          }.get()
        },
        .unary(Lem.Methods.releaseCapacity) { (request: ReleaseCapacityRequest, _) -> CapacityReservation in
          let found = self.facts.withLock { $0.kept.removeValue(forKey: request.reservationID) }
          guard found != nil else { throw RPCError.missing(.reservationNotFound, "no reservation") }
          return CapacityReservation(reservationID: request.reservationID)
        },
      ])
  }

  /// Makes a place take only so many, of whom so many more can come.
  func limit(_ place: String, to capacity: UInt32, free: UInt32) {
    change { facts in
      facts.places[place]?.servicePoint?.capacity = capacity
      facts.places[place]?.freeCapacity = free
    }
  }

  /// What agents were asked.
  var asked: [String] { facts.withLock { $0.submitted.compactMap(\.task?.intent) } }

  /// The places where room is kept, by their ids.
  var kept: [String] { facts.withLock { $0.kept.values.map(\.servicePointID).sorted() } }
}

/// The coffee pass's journey in the contract's form, with profiles that matter.
let viennaConfig = RuntimeConfig(
  productID: "PRD-PASS",
  productVersion: ProductVersion(productVersionID: "PRDV-PASS-1", productID: "PRD-PASS", marketCodes: ["AT-VIE"]),
  market: Market(marketCode: "AT-VIE", cityCode: "VIE", timeZone: "Europe/Vienna"),
  profiles: [
    Profile(profileID: "PRF-SAFETY", kind: .safety(SafetyProfile(maxStops: 4, maxWalkingMetres: 6_000))),
    Profile(profileID: "PRF-QUALITY", kind: .quality(QualityProfile(minExperienceScore: 0.3))),
  ],
  journeyDocument: JourneyDocument(
    journeyDocID: "TJM-PASS", version: "1.0.0",
    nodes: [
      JourneyNode(nodeID: "start", kind: .start(StartNode())),
      JourneyNode(
        nodeID: "plan", kind: .agent(AgentNode(agentType: "trip_planner", intent: "build_initial_route", waitForDecision: true))),
      JourneyNode(nodeID: "visit", kind: .visit(VisitNode())),
      JourneyNode(nodeID: "redeem", kind: .redeem(RedeemNode(tokenID: "TOK-COFFEE", quantity: 1))),
      JourneyNode(nodeID: "more", kind: .choice(ChoiceNode(question: "Another?", options: ["next_stop", "finish"]))),
      JourneyNode(nodeID: "rest", kind: .timer(TimerNode(after: Google_Protobuf_Duration(seconds: 60)))),
      JourneyNode(nodeID: "sight", kind: .visit(VisitNode(servicePointID: "SP-SIGHT"))),
      JourneyNode(nodeID: "goodbye", kind: .message(MessageNode(text: "Auf Wiedersehen!"))),
      JourneyNode(nodeID: "end", kind: .end(EndNode())),
    ],
    edges: [
      JourneyEdge(from: "start", to: "plan"),
      JourneyEdge(from: "plan", to: "visit", on: "accepted"),
      JourneyEdge(from: "plan", to: "goodbye"),
      JourneyEdge(from: "visit", to: "redeem", on: "completed"),
      JourneyEdge(from: "visit", to: "more"),
      JourneyEdge(from: "redeem", to: "more"),
      JourneyEdge(from: "more", to: "visit", on: "next_stop", when: "route_has_more"),
      JourneyEdge(from: "more", to: "rest"),
      JourneyEdge(from: "rest", to: "sight"),
      JourneyEdge(from: "sight", to: "goodbye"),
      JourneyEdge(from: "goodbye", to: "end"),
    ],
    entryPoints: [JourneyEntryPoint(name: "start", nodeID: "start")]),
  tokens: [Token(tokenID: "TOK-COFFEE", redeemableTags: ["cafe"])],
  snapshotRef: "SNAP-1")
