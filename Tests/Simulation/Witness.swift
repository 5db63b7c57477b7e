import SpanwireDatabase
import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Something that must never be.
struct Violation: Error, CustomStringConvertible {
  /// `ledger`, `redemption`, `sequence`, `timer`, `config`, `branch`, `session`, `answer`, `loss`, `purchase`, `effect`, `delivery`,
  /// `verify`, `hang`
  let rule: String
  let detail: String

  init(_ rule: String, _ detail: String) {
    self.rule = rule
    self.detail = detail
  }

  var description: String { "\(rule): \(detail)" }
}

/// Reads the log as it grows and knows, without the services' code, what may follow what.
struct Witness {
  /// What there is to know of a journey.
  struct Path {
    var tenant = ""
    var session = ""
    var state: JourneyState = .running
    /// Where the traveller stands: one node, or one of every branch.
    var standing: [String: Stand] = [:]
    /// Nodes that have to be entered next, by the node that was left; by nothing, the first.
    var expected: [String: [String]] = [:]
    var visits: [String: UInt32] = [:]
    var fired: Set<String> = []
  }

  struct Stand {
    var kind: String
    var place: String
    var chosen: String?
    /// When the timer she waits for is due.
    var due: Int64?
    /// Of a join: the branches that have come.
    var branches = 1
  }

  struct Purse {
    var holder = ""
    var issued: Int64
    var remaining: Int64
    var expiresAt: Int64?
    var hasExpired = false
  }

  private(set) var position: Int64 = 0
  private var sequences: [Int64: Int64] = [:]
  private(set) var sessions: [String: SessionState] = [:]
  private(set) var paths: [String: Path] = [:]
  private(set) var purses: [String: Purse] = [:]
  private(set) var redemptions: Set<String> = []
  /// What there is in the log of each tenant.
  private(set) var positions: [String: [Int64]] = [:]

  struct Told {
    var position: Int64
    var stream: Int64
    var sequence: Int64
    var envelope: [UInt8]
  }

  /// Reads what is new.
  mutating func read(_ store: SimulatedStore) throws {
    let after = position
    let told = try store.look { reader in
      try reader.query(
        "SELECT position, stream_key, stream_sequence, envelope FROM event_log WHERE position > ?1 ORDER BY position", after
      ) { Told(position: $0[0], stream: $0[1], sequence: $0[2], envelope: $0[3]) }
    }
    for one in told { try take(one) }
  }

  private mutating func take(_ told: Told) throws {
    guard told.position == position + 1 else { throw Violation("sequence", "position \(told.position) follows \(position)") }
    position = told.position
    let last = sequences[told.stream] ?? 0
    guard told.sequence == last + 1 else {
      throw Violation("sequence", "at \(position) a stream's \(told.sequence) follows \(last)")
    }
    sequences[told.stream] = told.sequence
    let event = try EventEnvelope(decoding: told.envelope)
    positions[event.tenantID, default: []].append(position)
    guard Int64(event.logPosition) == told.position, Int64(event.streamSequence) == told.sequence else {
      throw Violation("sequence", "the envelope at \(position) says \(event.logPosition) and \(event.streamSequence)")
    }
    guard let type = EventType(rawValue: event.type), let payload = event.payload else { return }
    if event.type.hasPrefix("product.runtime.session.") { try session(event, type, payload) }
    if event.type.hasPrefix("journey.") { try journey(event, type, payload) }
    if event.type.hasPrefix("entitlement.") { try entitlement(event, type, payload) }
  }

  // MARK: Sessions

  private static let moves: [SessionState: Set<SessionState>] = [
    .created: [.preflight, .cancelled, .failed], .preflight: [.ready, .cancelled, .failed],
    .ready: [.active, .completed, .cancelled, .failed], .active: [.postJourney, .completed, .cancelled, .failed],
    .postJourney: [.active, .completed, .cancelled, .failed],
  ]

  private mutating func session(_ event: EventEnvelope, _ type: EventType, _ payload: Google_Protobuf_Any) throws {
    let id = event.productRuntimeSessionID
    let now = sessions[id]
    func move(_ to: SessionState, from told: String? = nil) throws {
      guard let now, Self.moves[now]?.contains(to) == true else {
        throw Violation("session", "\(id) goes from \(now.map { "\($0)" } ?? "nothing") to \(to) at \(position)")
      }
      if let told, told != Self.name(now) { throw Violation("session", "\(id) is \(now), the event at \(position) says \(told)") }
      sessions[id] = to
    }
    switch type {
    case .productRuntimeSessionCreated:
      guard now == nil else { throw Violation("session", "\(id) is created twice") }
      sessions[id] = .created
    case .productRuntimeSessionPreflightPassed: try move(.preflight)
    case .productRuntimeSessionPreflightFailed: try move(.preflight)
    case .productRuntimeSessionReady: try move(.ready, from: payload.unpack(as: SessionReady.self).fromState)
    case .productRuntimeSessionActive: try move(.active, from: payload.unpack(as: SessionActive.self).fromState)
    case .productRuntimeSessionPostJourney: try move(.postJourney, from: payload.unpack(as: SessionPostJourney.self).fromState)
    case .productRuntimeSessionCompleted: try move(.completed, from: payload.unpack(as: SessionCompleted.self).fromState)
    case .productRuntimeSessionCancelled: try move(.cancelled, from: payload.unpack(as: SessionCancelled.self).fromState)
    case .productRuntimeSessionFailed: try move(.failed, from: payload.unpack(as: SessionFailed.self).fromState)
    default: break
    }
  }

  private static func name(_ state: SessionState) -> String {
    switch state {
    case .created: "created"
    case .preflight: "preflight"
    case .ready: "ready"
    case .active: "active"
    case .postJourney: "post_journey"
    case .completed: "completed"
    case .cancelled: "cancelled"
    case .failed: "failed"
    case .unspecified, .unrecognized: ""
    }
  }

  // MARK: Journeys

  private mutating func journey(_ event: EventEnvelope, _ type: EventType, _ payload: Google_Protobuf_Any) throws {
    let id = event.journeyInstanceID
    if type == .journeyStarted {
      guard paths[id] == nil else { throw Violation("branch", "\(id) starts twice") }
      paths[id] = Path(tenant: event.tenantID, session: event.productRuntimeSessionID, expected: ["": ["start"]])
      return
    }
    guard var path = paths[id] else { throw Violation("branch", "\(event.type) of \(id), which has not started") }
    guard path.state == .running else { throw Violation("branch", "\(event.type) of \(id), which is \(path.state)") }
    try step(&path, id, type, payload, at: event.occurredAt?.nanosecondsSinceEpoch ?? 0)
    paths[id] = path
  }

  private func step(_ path: inout Path, _ id: String, _ type: EventType, _ payload: Google_Protobuf_Any, at moment: Int64) throws {
    @discardableResult
    func stands(_ node: String) throws -> Stand {
      guard let stand = path.standing[node] else {
        throw Violation("branch", "\(id) stands at \(path.standing.keys.sorted().joined(separator: ", ")), not at \(node): \(type)")
      }
      return stand
    }
    func leave(_ node: String, _ outcome: String) {
      path.standing[node] = nil
      path.expected[node] = node == Product.split ? Product.branches : Product.next(from: node, outcome).map { [$0] }
    }
    switch type {
    case .journeyNodeEntered: try enter(&path, id, payload.unpack(as: JourneyNodeEntered.self), at: moment)
    case .journeyChoiceMade:
      let it = try payload.unpack(as: JourneyChoiceMade.self)
      try stands(it.nodeID)
      path.standing[it.nodeID]?.chosen = it.option
    case .journeyTimerFired:
      let it = try payload.unpack(as: JourneyTimerFired.self)
      guard let due = try stands(it.nodeID).due, due <= moment else { throw Violation("timer", "\(it.timerID) of \(id) fires early") }
      guard path.fired.insert(it.timerID).inserted else { throw Violation("timer", "\(it.timerID) of \(id) fires twice") }
    case .journeyNodeCompleted:
      let it = try payload.unpack(as: JourneyNodeCompleted.self)
      let stand = try stands(it.nodeID)
      if stand.kind == "timer", !it.forced, !it.outcome.hasPrefix("signal:"), stand.due.map({ $0 > moment }) ?? true {
        throw Violation("timer", "\(id) leaves \(it.nodeID) before its time")
      }
      if stand.kind == "choice", !it.forced, stand.chosen != it.outcome {
        throw Violation("branch", "\(id) chose \(stand.chosen ?? "nothing") at \(it.nodeID), which ends with \(it.outcome)")
      }
      if it.nodeID == Product.join {
        if !it.forced, stand.branches != Product.branches.count {
          throw Violation("branch", "\(id) goes on from \(it.nodeID) after \(stand.branches) branches")
        }
        for branch in Product.branches { (path.standing[branch], path.expected[branch]) = (nil, nil) }
      }
      leave(it.nodeID, it.outcome)
    case .journeyNodeSkipped:
      let it = try payload.unpack(as: JourneyNodeSkipped.self)
      try stands(it.nodeID)
      // On as if it were done, else the first way there is.
      let next =
        Product.next(from: it.nodeID, "skipped") ?? Product.next(from: it.nodeID, "completed")
        ?? Product.edges.first { $0.from == it.nodeID }?.to
      path.standing[it.nodeID] = nil
      path.expected[it.nodeID] = next.map { [$0] }
    case .journeyNodeFailed:
      let it = try payload.unpack(as: JourneyNodeFailed.self)
      try stands(it.nodeID)
      leave(it.nodeID, "failed")
    case .journeyCompleted:
      guard path.visits["end"] != nil else { throw Violation("branch", "\(id) is complete without its end") }
      path.state = .completed
    case .journeyAbandoned: path.state = .abandoned
    case .journeyAborted: path.state = .aborted
    case .journeyFailed: path.state = .failed
    default: break
    }
    if path.state != .running { path.standing = [:] }
  }

  private func enter(_ path: inout Path, _ id: String, _ it: JourneyNodeEntered, at moment: Int64) throws {
    let due = path.expected[it.fromNodeID] ?? []
    guard let index = due.firstIndex(of: it.nodeID) else {
      throw Violation("branch", "\(id) enters \(it.nodeID) from \(it.fromNodeID), where \(due.joined(separator: " and ")) is due")
    }
    path.expected[it.fromNodeID]?.remove(at: index)
    // A join is entered by every branch, at one visit.
    let waits = path.standing[it.nodeID] != nil
    let visit = path.visits[it.nodeID, default: 0] + (waits ? 0 : 1)
    guard it.visitNumber == visit, !waits || it.nodeID == Product.join else {
      throw Violation("branch", "\(id) enters \(it.nodeID) for time \(it.visitNumber) after \(path.visits[it.nodeID, default: 0])")
    }
    path.visits[it.nodeID] = visit
    if waits {
      path.standing[it.nodeID]?.branches += 1
    } else {
      path.standing[it.nodeID] = Stand(
        kind: it.kind, place: it.servicePointID, due: it.kind == "timer" ? moment + Product.timer.wholeNanoseconds : nil)
    }
  }

  // MARK: Entitlements

  private mutating func entitlement(_ event: EventEnvelope, _ type: EventType, _ payload: Google_Protobuf_Any) throws {
    switch type {
    case .entitlementIssued:
      let it = try payload.unpack(as: EntitlementIssued.self)
      guard purses[it.entitlementID] == nil else { throw Violation("redemption", "\(it.entitlementID) is issued twice") }
      purses[it.entitlementID] = Purse(
        holder: it.holder, issued: it.quantity, remaining: it.quantity, expiresAt: it.expiresAt?.nanosecondsSinceEpoch)
    case .entitlementCompensated:
      let it = try payload.unpack(as: EntitlementCompensated.self)
      guard let original = purses[it.originalEntitlementID], purses[it.entitlementID] == nil else {
        throw Violation("redemption", "\(it.entitlementID) makes good for what is not there")
      }
      purses[it.entitlementID] = Purse(holder: original.holder, issued: it.quantity, remaining: it.quantity)
    case .entitlementRedeemed:
      let it = try payload.unpack(as: EntitlementRedeemed.self)
      guard redemptions.insert(it.redemptionID).inserted else { throw Violation("redemption", "\(it.redemptionID) happens twice") }
      try take(it.quantity, from: it.entitlementID, leaving: it.remaining)
    case .entitlementExpired:
      let it = try payload.unpack(as: EntitlementExpired.self)
      try take(it.quantity, from: it.entitlementID, leaving: 0)
      guard purses[it.entitlementID]?.hasExpired == false else { throw Violation("timer", "\(it.entitlementID) runs out twice") }
      purses[it.entitlementID]?.hasExpired = true
    default: break
    }
  }

  private mutating func take(_ quantity: Int64, from id: String, leaving: Int64) throws {
    guard var purse = purses[id], !purse.hasExpired, purse.remaining >= quantity else {
      throw Violation("redemption", "\(quantity) of \(id), which holds \(purses[id]?.remaining ?? 0)")
    }
    purse.remaining -= quantity
    guard purse.remaining == leaving else {
      throw Violation("redemption", "\(id) holds \(purse.remaining), the event at \(position) says \(leaving)")
    }
    purses[id] = purse
  }

  // MARK: What should have happened by now

  /// Timers whose time was over at a moment, and of which nothing came.
  func overdue(at moment: Int64) -> [String] {
    let journeys = paths.flatMap { id, path in
      path.standing.filter { $0.value.due.map { $0 < moment } ?? false }.map { "\(id) at \($0.key)" }
    }
    let entitlements = purses.filter { _, purse in
      purse.remaining > 0 && !purse.hasExpired && purse.expiresAt.map { $0 < moment } ?? false
    }.map(\.key)
    return (journeys + entitlements).sorted()
  }

  /// Journeys that wait for an agent.
  var asking: [String] {
    paths.filter { $0.value.standing.values.contains { $0.kind == "agent" } }.map(\.key).sorted()
  }

  /// Nodes where travellers of a tenant stand.
  func stands(of tenant: String) -> [(session: String, node: String, stand: Stand)] {
    paths.filter { $0.value.tenant == tenant && $0.value.state == .running }.sorted { $0.key < $1.key }.flatMap { _, path in
      path.standing.sorted { $0.key < $1.key }.map { (path.session, $0.key, $0.value) }
    }
  }
}
