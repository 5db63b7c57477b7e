import SpanwireSchema
import SpanwireServiceKit

/// What an operator wants done, in the words of events and audit: the action's name, what it is done to, whom it concerns.
struct ControlAction: Sendable {
  var name: String
  var target: String
  /// The session it is done to; nil for a place, an entitlement or a settlement.
  var sessionID: String?

  /// What policy calls the right to do it: `session.cancel` needs `session_control`.
  var category: String { name.prefix { $0 != "." } + "_control" }

  init?(_ action: ApplyControlRequest.Action?) {
    switch action {
    case .cancelSession(let it): self.init("session.cancel", session: it.productRuntimeSessionID)
    case .forceCompleteSession(let it): self.init("session.force_complete", session: it.productRuntimeSessionID)
    case .flagSessionRisk(let it): self.init(it.flagged ? "session.flag_risk" : "session.clear_risk", session: it.productRuntimeSessionID)
    case .forceAbortJourney(let it): self.init("journey.force_abort", session: it.productRuntimeSessionID)
    case .forceSkipNode(let it): self.init("journey.force_skip_node", session: it.productRuntimeSessionID, node: it.nodeID)
    case .forceCompleteNode(let it): self.init("journey.force_complete_node", session: it.productRuntimeSessionID, node: it.nodeID)
    case .blockServicePoint(let it): self.init("service_point.block", place: it.servicePointID, cluster: it.clusterID)
    case .unblockServicePoint(let it): self.init("service_point.unblock", place: it.servicePointID, cluster: it.clusterID)
    case .compensateEntitlement(let it): self.init(name: "entitlement.compensate", target: it.entitlementID, sessionID: nil)
    case .correctSettlement(let it): self.init(name: "settlement.correct", target: it.settlementID, sessionID: nil)
    case nil: return nil
    }
  }

  private init(name: String, target: String, sessionID: String?) {
    self.name = name
    self.target = target
    self.sessionID = sessionID
  }

  private init(_ name: String, place: String, cluster: String) {
    self.init(name: cluster.isEmpty ? name : name + "_cluster", target: place + cluster, sessionID: nil)
  }

  private init(_ name: String, session: String, node: String = "") {
    self.init(name: name, target: node.isEmpty ? session : "\(session)/\(node)", sessionID: session)
  }

  /// Checks the fields of an action, whichever it is.
  static func validate(_ action: ApplyControlRequest.Action?, in fields: inout Validation) {
    switch action {
    case .cancelSession(let it): fields.id(it.productRuntimeSessionID, "cancel_session.product_runtime_session_id")
    case .forceCompleteSession(let it): fields.id(it.productRuntimeSessionID, "force_complete_session.product_runtime_session_id")
    case .flagSessionRisk(let it): fields.id(it.productRuntimeSessionID, "flag_session_risk.product_runtime_session_id")
    case .forceAbortJourney(let it): fields.id(it.productRuntimeSessionID, "force_abort_journey.product_runtime_session_id")
    case .forceSkipNode(let it):
      fields.id(it.productRuntimeSessionID, "force_skip_node.product_runtime_session_id")
      fields.id(it.nodeID, "force_skip_node.node_id")
    case .forceCompleteNode(let it):
      fields.id(it.productRuntimeSessionID, "force_complete_node.product_runtime_session_id")
      fields.id(it.nodeID, "force_complete_node.node_id")
    case .blockServicePoint(let it): fields.either(it.servicePointID, it.clusterID, in: "block_service_point")
    case .unblockServicePoint(let it): fields.either(it.servicePointID, it.clusterID, in: "unblock_service_point")
    case .compensateEntitlement(let it):
      fields.id(it.entitlementID, "compensate_entitlement.entitlement_id")
      fields.check(it.quantity > 0, "compensate_entitlement.quantity", "must be at least 1")
    case .correctSettlement(let it):
      fields.id(it.settlementID, "correct_settlement.settlement_id")
      fields.check(it.amountMicros != 0, "correct_settlement.amount_micros", "must not be 0")
    case nil: fields.add("action", "must name one action")
    }
  }
}

extension Validation {
  /// A place or a cluster of places, not both.
  fileprivate mutating func either(_ place: String, _ cluster: String, in path: String) {
    optionalID(place, "\(path).service_point_id")
    optionalID(cluster, "\(path).cluster_id")
    check(place.isEmpty != cluster.isEmpty, "\(path).service_point_id", "exactly one of service_point_id and cluster_id must be given")
  }
}
