import SpanwireSchema

/// What the log says of a session: the state its events lead to. The rows must say the same.
struct SessionProjection: Equatable, Sendable {
  var productID = ""
  var productVersionID = ""
  var marketCode = ""
  var userID = ""
  var state: SessionState = .unspecified
  var revision: UInt64 = 0
  var riskFlagged = false
  var entitlementIDs: [String] = []

  init() {}

  init(_ session: ProductRuntimeSession) {
    productID = session.productID
    productVersionID = session.productVersionID
    marketCode = session.marketCode
    userID = session.userID
    state = session.state
    revision = session.revision
    riskFlagged = session.riskFlagged
    entitlementIDs = session.entitlementIds
  }

  /// Takes in one event of the session's stream; false when its payload can't be read.
  mutating func apply(_ envelope: EventEnvelope) -> Bool {
    guard let payload = envelope.payload else { return false }
    do {
      switch envelope.type {
      case "product.runtime.session.created":
        let event = try payload.unpack(as: SessionCreated.self)
        productID = event.productID
        productVersionID = event.productVersionID
        marketCode = event.marketCode
        userID = event.userID
        moved(to: .created, event.revision)
      case "product.runtime.session.preflight_passed":
        moved(to: .preflight, try payload.unpack(as: SessionPreflightPassed.self).revision)
      case "product.runtime.session.preflight_failed":
        moved(to: .preflight, try payload.unpack(as: SessionPreflightFailed.self).revision)
      case "product.runtime.session.ready": moved(to: .ready, try payload.unpack(as: SessionReady.self).revision)
      case "product.runtime.session.active": moved(to: .active, try payload.unpack(as: SessionActive.self).revision)
      case "product.runtime.session.post_journey": moved(to: .postJourney, try payload.unpack(as: SessionPostJourney.self).revision)
      case "product.runtime.session.completed": moved(to: .completed, try payload.unpack(as: SessionCompleted.self).revision)
      case "product.runtime.session.cancelled": moved(to: .cancelled, try payload.unpack(as: SessionCancelled.self).revision)
      case "product.runtime.session.failed": moved(to: .failed, try payload.unpack(as: SessionFailed.self).revision)
      case "product.runtime.session.risk_flagged":
        let event = try payload.unpack(as: SessionRiskFlagged.self)
        riskFlagged = event.flagged
        revision = event.revision
      case "product.runtime.purchase.completed":
        entitlementIDs += try payload.unpack(as: PurchaseCompleted.self).entitlementIds
      default: break
      }
      return true
    } catch {
      return false
    }
  }

  private mutating func moved(to state: SessionState, _ revision: UInt64) {
    self.state = state
    self.revision = revision
  }
}
