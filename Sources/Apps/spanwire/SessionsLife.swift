import ArgumentParser
import SpanwireSchema

/// Options that every command has that changes a session.
struct SessionChangeOptions: ParsableArguments {
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  var key: String { idempotencyKey ?? newIdempotencyKey() }
}

struct SessionsOpen: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "open", abstract: "Open a session on a product.",
    discussion: """
      Preflight checks the configuration, the policy, the market, the segments and that the city serves it; the session is then \
      ready, or failed with what stood against it (exit code 1).
      """)

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: SessionChangeOptions
  @Argument(help: "A product, or a version of one (PRDV-…).") var product: String
  @Option(help: "The market, such as AT-VIE.") var market: String
  @Option(help: "For whom; a traveller opens for herself only.") var user: String = ""
  @Option(help: "The avatar that travels for the user.") var avatar: String = ""
  @Option(name: .customLong("segment"), help: "A segment of the user's; may be given several times.") var segments: [String] = []
  @Option(name: .customLong("experiment"), help: "An experiment to take part in; may be given several times.")
  var experiments: [String] = []

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      let isVersion = product.hasPrefix("PRDV-")
      let session = try await gateway.openSession(
        OpenSessionRequest(
          idempotencyKey: options.key, productID: isVersion ? "" : product, productVersionID: isVersion ? product : "", marketCode: market,
          userID: user, avatarID: avatar, segments: segments, experimentKeys: experiments))
      try options.json ? printJSON(session) : printSession(session)
      if session.state == .failed { throw ExitCode(1) }
    }
  }
}

struct SessionsBuy: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "buy", abstract: "Issue what a variant of the product grants. The payment happened elsewhere.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: SessionChangeOptions
  @Argument(help: "The session's id, PRS-….") var id: String
  @Option(help: "What the payment is known by where it happened.") var payment: String
  @Option(help: "The variant; by default what was chosen or assigned, else the first.") var variant: String = ""

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      let purchase = try await gateway.purchase(
        PurchaseRequest(idempotencyKey: options.key, productRuntimeSessionID: id, variantID: variant, paymentReference: payment))
      if options.json { return try printJSON(purchase) }
      print(printable("\(purchase.purchaseID)  \(purchase.variantID)"))
      for pass in purchase.entitlements { print(printable("  \(pass.entitlementID)  \(pass.remaining) × \(pass.tokenID)")) }
    }
  }
}

struct SessionsAsk: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ask", abstract: "Ask an agent on the session's behalf; its answer is printed as it comes.",
    discussion: """
      Agents: trip_planner, journey_guide, support, pricing, safety, growth. Intents: build_initial_route, suggest_next_stop, \
      explain_limits, offer_upsell. What an agent proposes is only done once it is accepted: 'spanwire sessions accept'.
      """)

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: SessionChangeOptions
  @Argument(help: "The session's id, PRS-….") var id: String
  @Argument(help: "The kind of agent.") var agent: String
  @Argument(help: "What is wanted of it.") var intent: String
  @Option(help: "What to say to it.") var message: String = ""
  @Option(help: "Where the traveller is, LATITUDE,LONGITUDE.") var position: String = ""
  @Option(help: "When she must be done.") var finishBy: String = ""
  @Option(help: "How many suggestions at most.") var suggestions: UInt32 = 0

  private func place() throws -> GeoPoint? {
    if position.isEmpty { return nil }
    let parts = position.split(separator: ",").compactMap { Double($0) }
    guard parts.count == 2 else { throw ValidationError("--position is LATITUDE,LONGITUDE, not '\(position)'") }
    return GeoPoint(latitude: parts[0], longitude: parts[1])
  }

  mutating func validate() throws {
    _ = try place()
    _ = try moment(finishBy, "--finish-by")
  }

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      let updates = try await gateway.askAgent(
        AskAgentRequest(
          idempotencyKey: options.key, productRuntimeSessionID: id,
          task: AgentTaskSpec(
            agentType: agent, intent: intent, constraints: AgentConstraints(maxSuggestions: suggestions), message: message),
          position: try place(), finishBy: try moment(finishBy, "--finish-by")))
      for try await update in updates { try options.json ? printJSON(update) : printUpdate(update) }
    }
  }
}

/// Options of the commands that decide a proposal.
struct DecisionOptions: ParsableArguments {
  @Argument(help: "The session's id, PRS-….") var id: String
  @Argument(help: "The proposal's id, PRP-….") var proposal: String
}

struct SessionsAccept: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "accept", abstract: "Accept a proposal of an agent's: it is done if policy and the session's profiles admit it.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: SessionChangeOptions
  @OptionGroup var decision: DecisionOptions

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      let response = try await gateway.acceptProposal(
        DecideProposalRequest(idempotencyKey: options.key, productRuntimeSessionID: decision.id, proposalID: decision.proposal))
      try printDecision(response, json: options.json)
    }
  }
}

struct SessionsReject: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "reject", abstract: "Reject a proposal of an agent's.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: SessionChangeOptions
  @OptionGroup var decision: DecisionOptions
  @Option(help: "Why.") var reason: String = ""

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      let response = try await gateway.rejectProposal(
        DecideProposalRequest(
          idempotencyKey: options.key, productRuntimeSessionID: decision.id, proposalID: decision.proposal, reason: reason))
      try printDecision(response, json: options.json)
    }
  }
}

private func printDecision(_ response: DecideProposalResponse, json: Bool) throws {
  if json { return try printJSON(response) }
  if let proposal = response.proposal { printProposal(proposal) }
  if let journey = response.journey { try show(journey, json: false) }
}

struct SessionsClose: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "close", abstract: "Close a session: completed after its journey, cancelled before one.",
    discussion: "A session whose journey runs is not closed: let the journey end, or control it as an operator.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: SessionChangeOptions
  @Argument(help: "The session's id, PRS-….") var id: String
  @Option(help: "Why.") var reason: String = ""

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      let session = try await gateway.closeSession(
        CloseSessionRequest(idempotencyKey: options.key, productRuntimeSessionID: id, reason: reason))
      try options.json ? printJSON(session) : printSession(session)
    }
  }
}
