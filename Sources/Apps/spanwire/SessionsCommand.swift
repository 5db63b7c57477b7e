import ArgumentParser
import SpanwireSchema

struct SessionsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sessions", abstract: "List sessions, show one, or act on one.",
    subcommands: [SessionsList.self, SessionsShow.self, SessionsControl.self], defaultSubcommand: SessionsList.self)
}

struct SessionsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List sessions, newest first.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only sessions of this user.") var user: String = ""
  @Option(help: "Only sessions on this product.") var product: String = ""
  @Option(help: "Only sessions in this state, such as active.") var state: String = ""
  @Option(help: "How many at most.") var limit: Int = 50
  @Flag(help: "Print JSON, one session a line.") var json = false

  func wantedState() throws -> SessionState {
    switch state.lowercased() {
    case "": .unspecified
    case "created": .created
    case "preflight": .preflight
    case "ready": .ready
    case "active": .active
    case "post_journey": .postJourney
    case "completed": .completed
    case "cancelled": .cancelled
    case "failed": .failed
    default: throw ValidationError("no session is ever '\(state)'")
    }
  }

  mutating func validate() throws {
    _ = try wantedState()
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
  }

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      var request = ListSessionsRequest(state: try wantedState(), userID: user, productID: product)
      var sessions: [ProductRuntimeSession] = []
      repeat {
        request.pageSize = UInt32(min(500, limit - sessions.count))
        let page = try await gateway.listSessions(request)
        sessions += page.sessions
        request.pageToken = page.nextPageToken
      } while !request.pageToken.isEmpty && sessions.count < limit
      if json {
        for session in sessions { try printJSON(session) }
      } else {
        printTable(
          ["SESSION", "STATE", "PRODUCT", "USER", "JOURNEY", "FLAGS"],
          sessions.map {
            [
              $0.productRuntimeSessionID, "\($0.state)", $0.productID, $0.userID, $0.journeyInstanceID, $0.riskFlagged ? "risk" : "",
            ]
          })
      }
    }
  }
}

struct SessionsShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one session and its journey.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The session's id, PRS-….") var id: String
  @Flag(help: "Print JSON: the session, then its journey if it has one.") var json = false

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      let session = try await gateway.getSession(GetSessionRequest(productRuntimeSessionID: id))
      var journey: JourneyInstance?
      if !session.journeyInstanceID.isEmpty {
        journey = try await gateway.getJourney(GetSessionJourneyRequest(productRuntimeSessionID: id))
      }
      if json {
        try printJSON(session)
        if let journey { try printJSON(journey) }
        return
      }
      print("\(session.productRuntimeSessionID)  \(session.state)  \(session.stateReason)")
      print("  product  \(session.productVersionID) in \(session.marketCode)")
      print("  user     \(printable(session.userID))\(session.riskFlagged ? "  (risk)" : "")")
      print("  passes   \(session.entitlementIds.joined(separator: " "))")
      if let journey {
        print("  journey  \(journey.journeyInstanceID)  \(journey.state)  stop \(journey.nextStop) of \(journey.route.count)")
        printTable(
          ["  NODE", "STATE", "OUTCOME", "PLACE"],
          journey.nodes.map { ["  \($0.nodeID)", "\($0.state)", $0.outcome, $0.servicePointID] })
      }
    }
  }
}

struct SessionsControl: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "control", abstract: "Act on a running platform as an operator: cancel, flag, skip, block.",
    discussion: """
      Actions: cancel, complete, flag-risk, unflag-risk, abort-journey (TARGET is a session); skip-node, complete-node (TARGET is a \
      session, --node names the node); block, unblock (TARGET is a service point; --until ends the block by itself). Each needs \
      --reason and is audited.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "What to do.") var action: String
  @Argument(help: "A session, or a service point.") var target: String
  @Option(help: "Why; it stands in the audit.") var reason: String
  @Option(help: "The node, for skip-node and complete-node.") var node: String = ""
  @Option(help: "When a block ends by itself, such as 2026-05-04T18:00:00Z; without it, not before unblock.") var until: String = ""
  @Option(help: "The incident this belongs to; one is opened when none is named.") var incident: String = ""
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func request() throws -> ApplyControlRequest.Action {
    switch action {
    case "cancel": .cancelSession(CancelSession(productRuntimeSessionID: target))
    case "complete": .forceCompleteSession(ForceCompleteSession(productRuntimeSessionID: target))
    case "flag-risk": .flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: target, flagged: true))
    case "unflag-risk": .flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: target, flagged: false))
    case "abort-journey": .forceAbortJourney(ForceAbortJourney(productRuntimeSessionID: target))
    case "skip-node": .forceSkipNode(ForceSkipNode(productRuntimeSessionID: target, nodeID: node))
    case "complete-node": .forceCompleteNode(ForceCompleteNode(productRuntimeSessionID: target, nodeID: node))
    case "block": .blockServicePoint(BlockServicePoint(servicePointID: target, until: try moment(until, "--until")))
    case "unblock": .unblockServicePoint(UnblockServicePoint(servicePointID: target))
    default: throw ValidationError("no such action: '\(action)'")
    }
  }

  mutating func validate() throws {
    _ = try request()
    if action.hasSuffix("-node"), node.isEmpty { throw ValidationError("\(action) needs --node") }
  }

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      let response = try await gateway.applyControl(
        ApplyControlRequest(
          idempotencyKey: idempotencyKey ?? newIdempotencyKey(), reason: reason, incidentID: incident, action: try request()))
      if json {
        try printJSON(response)
      } else {
        print("done: \(action) \(printable(target)), incident \(response.incidentID), audit \(response.auditEventID)")
      }
    }
  }
}
