import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireGateway

@Suite("Control actions")
struct ControlActionTests {
  @Test(
    "Each has a name, a target and the right it needs",
    arguments: [
      (
        ApplyControlRequest.Action.cancelSession(CancelSession(productRuntimeSessionID: "PRS-1")), "session.cancel", "PRS-1",
        "session_control"
      ),
      (.forceCompleteSession(ForceCompleteSession(productRuntimeSessionID: "PRS-1")), "session.force_complete", "PRS-1", "session_control"),
      (.flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: "PRS-1", flagged: true)), "session.flag_risk", "PRS-1", "session_control"),
      (.forceAbortJourney(ForceAbortJourney(productRuntimeSessionID: "PRS-1")), "journey.force_abort", "PRS-1", "journey_control"),
      (
        .forceSkipNode(ForceSkipNode(productRuntimeSessionID: "PRS-1", nodeID: "visit")), "journey.force_skip_node", "PRS-1/visit",
        "journey_control"
      ),
      (.blockServicePoint(BlockServicePoint(servicePointID: "SP-1")), "service_point.block", "SP-1", "service_point_control"),
      (.unblockServicePoint(UnblockServicePoint(servicePointID: "SP-1")), "service_point.unblock", "SP-1", "service_point_control"),
      (.blockServicePoint(BlockServicePoint(clusterID: "CL-1")), "service_point.block_cluster", "CL-1", "service_point_control"),
      (.unblockServicePoint(UnblockServicePoint(clusterID: "CL-1")), "service_point.unblock_cluster", "CL-1", "service_point_control"),
      (
        .compensateEntitlement(CompensateEntitlement(entitlementID: "ENT-1", quantity: 1)), "entitlement.compensate", "ENT-1",
        "entitlement_control"
      ),
      (.correctSettlement(CorrectSettlement(settlementID: "SET-1", amountMicros: -1)), "settlement.correct", "SET-1", "settlement_control"),
    ])
  func names(_ request: ApplyControlRequest.Action, name: String, target: String, category: String) throws {
    let action = try #require(ControlAction(request))
    #expect(action.name == name)
    #expect(action.target == target)
    #expect(action.category == category)
    var fields = Validation()
    ControlAction.validate(request, in: &fields)
    #expect(fields.isClean)
  }

  @Test(
    "Fields are checked under their own paths",
    arguments: [
      (ApplyControlRequest.Action.cancelSession(CancelSession()), ["cancel_session.product_runtime_session_id"]),
      (
        .forceSkipNode(ForceSkipNode(productRuntimeSessionID: "a/b")),
        ["force_skip_node.product_runtime_session_id", "force_skip_node.node_id"]
      ),
      (.compensateEntitlement(CompensateEntitlement(entitlementID: "ENT-1")), ["compensate_entitlement.quantity"]),
      (.correctSettlement(CorrectSettlement(settlementID: "SET-1")), ["correct_settlement.amount_micros"]),
      (.blockServicePoint(BlockServicePoint()), ["block_service_point.service_point_id"]),
      (
        .unblockServicePoint(UnblockServicePoint(servicePointID: "SP-1", clusterID: "CL-1")), ["unblock_service_point.service_point_id"]
      ),
      (nil, ["action"]),
    ])
  func fields(_ request: ApplyControlRequest.Action?, paths: [String]) {
    var fields = Validation()
    ControlAction.validate(request, in: &fields)
    #expect(fields.violations.map(\.field) == paths)
  }
}
