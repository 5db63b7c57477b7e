import ArgumentParser
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

struct SessionsControl: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "control", abstract: "Act on a running platform as an operator: cancel, flag, skip, block, compensate.",
    discussion: """
      Actions on a session (TARGET is PRS-…): cancel, complete, flag-risk, unflag-risk, abort-journey; with --node also skip-node and \
      complete-node. On a service point, or with --cluster on all that lie together: block (--until makes it end by itself), unblock. \
      On an entitlement: compensate --quantity. \
      On a settlement: correct --amount. Each needs --reason, is decided by policy, and stands in the audit and in an incident.
      """)

  enum Action: String, ExpressibleByArgument, CaseIterable {
    case cancel, complete, block, unblock, compensate, correct
    case flagRisk = "flag-risk"
    case unflagRisk = "unflag-risk"
    case abortJourney = "abort-journey"
    case skipNode = "skip-node"
    case completeNode = "complete-node"
  }

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: SessionChangeOptions
  @Argument(help: "What to do.") var action: Action
  @Argument(help: "A session, a service point or cluster, an entitlement or a settlement.") var target: String
  @Option(help: "Why; it stands in the audit.") var reason: String
  @Option(help: "The node, for skip-node and complete-node.") var node: String = ""
  @Option(help: "When a block ends by itself, such as 2026-05-04T18:00:00Z.") var until: String = ""
  @Flag(help: "TARGET is a cluster, whose places are blocked or unblocked at once.") var cluster = false
  @Option(help: "How many tokens are issued in compensation.") var quantity: Int64 = 0
  @Option(parsing: .unconditional, help: "By what a settlement is corrected, such as -3.40.") var amount: String = ""
  @Option(help: "The incident this belongs to; one is opened when none is named.") var incident: String = ""
  @Option(parsing: .upToNextOption, help: "Approvals to count, APR-…, where the approval matrix asks for any.") var approvals: [String] = []

  func request() throws -> ApplyControlRequest.Action {
    switch action {
    case .cancel: return .cancelSession(CancelSession(productRuntimeSessionID: target))
    case .complete: return .forceCompleteSession(ForceCompleteSession(productRuntimeSessionID: target))
    case .flagRisk: return .flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: target, flagged: true))
    case .unflagRisk: return .flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: target, flagged: false))
    case .abortJourney: return .forceAbortJourney(ForceAbortJourney(productRuntimeSessionID: target))
    case .skipNode: return .forceSkipNode(ForceSkipNode(productRuntimeSessionID: target, nodeID: node))
    case .completeNode: return .forceCompleteNode(ForceCompleteNode(productRuntimeSessionID: target, nodeID: node))
    case .block:
      return .blockServicePoint(
        BlockServicePoint(
          servicePointID: cluster ? "" : target, until: try moment(until, "--until"), clusterID: cluster ? target : ""))
    case .unblock:
      return .unblockServicePoint(UnblockServicePoint(servicePointID: cluster ? "" : target, clusterID: cluster ? target : ""))
    case .compensate: return .compensateEntitlement(CompensateEntitlement(entitlementID: target, quantity: quantity))
    case .correct:
      guard let micros = Micros.parse(amount), micros != 0 else { throw ValidationError("correct needs an --amount such as -3.40") }
      return .correctSettlement(CorrectSettlement(settlementID: target, amountMicros: micros))
    }
  }

  mutating func validate() throws {
    _ = try request()
    let rules: [(given: Bool, fits: Bool, option: String, needed: Bool)] = [
      (!node.isEmpty, action == .skipNode || action == .completeNode, "--node", true),
      (!until.isEmpty, action == .block, "--until", false),
      (cluster, action == .block || action == .unblock, "--cluster", false),
      (quantity > 0, action == .compensate, "--quantity", true),
      (!amount.isEmpty, action == .correct, "--amount", true),
    ]
    for rule in rules {
      if rule.fits, rule.needed, !rule.given { throw ValidationError("\(action.rawValue) needs \(rule.option)") }
      if rule.given, !rule.fits { throw ValidationError("\(action.rawValue) takes no \(rule.option)") }
    }
  }

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      let response = try await gateway.applyControl(
        ApplyControlRequest(
          idempotencyKey: options.key, reason: reason, incidentID: incident, approvalRefs: approvals, action: try request()))
      if options.json { return try printJSON(response) }
      print("done: \(action.rawValue) \(printable(target)), incident \(response.incidentID), audit \(response.auditEventID)")
      if cluster { print(printable("  places: \(response.servicePointIds.joined(separator: " "))")) }
      if !response.touchedJourneyInstanceIds.isEmpty {
        print(printable("  journeys led past it: \(response.touchedJourneyInstanceIds.joined(separator: " "))"))
      }
      if let pass = response.entitlement { print(printable("  issued \(pass.entitlementID), \(pass.remaining) × \(pass.tokenID)")) }
    }
  }
}

struct SessionsAbortAll: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "abort-journeys", abstract: "End every running journey of a market or a product: for incidents that concern them all.",
    discussion: """
      For a danger to people, or a product that must stop at once. It goes through the sessions that are active, newest first, and \
      aborts the journey of each, all under one incident; their sessions then fail. Run again, it goes on with what is left. \
      --dry-run lists them.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Journeys in this market.") var market: String = ""
  @Option(help: "Journeys on this product.") var product: String = ""
  @Option(help: "Why; it stands in the audit.") var reason: String
  @Option(help: "The incident this belongs to; the first abort opens one when none is named.") var incident: String = ""
  @Flag(help: "List the sessions only.") var dryRun = false
  @Option(parsing: .upToNextOption, help: "Approvals to count, APR-…, where the approval matrix asks for any.") var approvals: [String] = []
  @Flag(help: "Print JSON, one answer a line.") var json = false

  mutating func validate() throws {
    if market.isEmpty, product.isEmpty { throw ValidationError("name a --market, a --product, or both") }
  }

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      var filter = SessionFilter.parseOrExit([])
      (filter.state, filter.market, filter.product) = (.active, market, product)
      var (incident, aborted) = (incident, 0)
      try await filter.each(gateway) { session in
        if dryRun {
          try json ? printJSON(session) : print("would abort \(session.journeyInstanceID) of \(session.productRuntimeSessionID)")
          return true
        }
        do {
          let response = try await gateway.applyControl(
            ApplyControlRequest(
              idempotencyKey: newIdempotencyKey(), reason: reason, incidentID: incident, approvalRefs: approvals,
              action: .forceAbortJourney(ForceAbortJourney(productRuntimeSessionID: session.productRuntimeSessionID))))
          incident = response.incidentID
          aborted += 1
          try json ? printJSON(response) : print("aborted \(session.journeyInstanceID) of \(session.productRuntimeSessionID)")
        } catch let error as RPCError where error.code == .failedPrecondition {
          // It ended by itself since it was listed.
          printError("\(session.productRuntimeSessionID): \(describe(error))")
        }
        return true
      }
      if !json, !dryRun { print("\(aborted) journeys aborted\(incident.isEmpty ? "" : ", incident \(incident)")") }
    }
  }
}
