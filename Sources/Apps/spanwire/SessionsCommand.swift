import ArgumentParser
import SpanwireSchema
import SpanwireServiceKit

struct SessionsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sessions", abstract: "Find sessions, take one through its life, or act on it as an operator.",
    discussion: """
      A session is somebody's use of a product. It goes created → preflight → ready → active → post_journey → completed, and may be \
      cancelled or fail before it is over. Open one, buy a pass in it, start its journey and take its steps ('spanwire journeys'), \
      ask agents and decide what they propose, close it. Operators watch, and control what goes wrong.
      """,
    subcommands: [
      SessionsList.self, SessionsShow.self, SessionsWatch.self, SessionsOpen.self, SessionsBuy.self, SessionsAsk.self,
      SessionsAccept.self, SessionsReject.self, SessionsClose.self, SessionsControl.self, SessionsAbortAll.self,
    ], defaultSubcommand: SessionsList.self)
}

/// Which sessions are meant.
struct SessionFilter: ParsableArguments {
  @Option(help: "Only sessions of this user.") var user: String = ""
  @Option(help: "Only sessions on this product.") var product: String = ""
  @Option(help: "Only sessions on this version of a product.") var version: String = ""
  @Option(help: "Only sessions in this market, such as AT-VIE.") var market: String = ""
  @Option(help: "Only sessions in this state.") var state: SessionState?
  @Flag(inversion: .prefixedNo, help: "Only sessions that are flagged as risky, or only those that are not.") var risk: Bool?
  @Option(help: "Only sessions opened at this moment or later, such as 2026-05-04T09:00:00Z.") var from: String = ""
  @Option(help: "Only sessions opened before this moment.") var before: String = ""

  func request() throws -> ListSessionsRequest {
    ListSessionsRequest(
      state: state ?? .unspecified, userID: user, productID: product, productVersionID: version, marketCode: market, riskFlagged: risk,
      createdFrom: try moment(from, "--from"), createdBefore: try moment(before, "--before"))
  }

  mutating func validate() throws { _ = try request() }

  /// Hands on the sessions, newest first, until there are no more or the body says false.
  func each(_ gateway: ProductRuntimeGatewayClient, pageSize: Int = 200, _ body: (ProductRuntimeSession) async throws -> Bool) async throws
  {
    var request = try request()
    request.pageSize = UInt32(pageSize)
    repeat {
      let page = try await gateway.listSessions(request)
      for session in page.sessions where try await !body(session) { return }
      request.pageToken = page.nextPageToken
    } while !request.pageToken.isEmpty
  }
}

struct SessionsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List sessions, newest first.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var filter: SessionFilter
  @Option(help: "How many at most.") var limit: Int = 50
  @Flag(help: "Print JSON, one session a line.") var json = false

  mutating func validate() throws {
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
  }

  func run() async throws {
    try await reportingFailures {
      var rows: [[String]] = []
      var seen = 0
      try await filter.each(ProductRuntimeGatewayClient(try await connection.channel()), pageSize: min(limit, 200)) { session in
        if json { try printJSON(session) }
        rows.append([
          session.productRuntimeSessionID, session.state.word, session.productVersionID, session.marketCode, session.userID,
          session.journeyInstanceID, session.riskFlagged ? "risk" : "",
        ])
        seen += 1
        return seen < limit
      }
      if !json { printTable(["SESSION", "STATE", "PRODUCT", "MARKET", "USER", "JOURNEY", "FLAGS"], rows) }
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
      } else {
        printSession(session)
        if let journey { try show(journey, json: false) }
      }
    }
  }
}

struct SessionsWatch: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch", abstract: "Follow what happens to one session, from its beginning or from a cursor.",
    discussion: "Every line begins with the event's position, which is the cursor to resume after.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The session's id, PRS-….") var id: String
  @Option(name: .customLong("type"), help: "Only types that match this glob, such as 'journey.*'; may be given several times.")
  var types: [String] = []
  @Option(help: "Resume after this position.") var cursor: String = ""
  @Flag(help: "Stop at the present end.") var untilEnd = false
  @Flag(help: "Print JSON, one envelope a line.") var json = false

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      let request = WatchSessionRequest(productRuntimeSessionID: id, cursor: cursor, types: types, untilEnd: untilEnd)
      for try await response in try await gateway.watchSession(request) {
        if case .event(let event) = response.item { try json ? printJSON(event) : print(line(of: event)) }
      }
    }
  }
}

// MARK: Printing

func printSession(_ session: ProductRuntimeSession) {
  print(printable("\(session.productRuntimeSessionID)  \(session.state.word)  \(session.stateReason)"))
  print(printable("  product  \(session.productVersionID) in \(session.marketCode), configured by \(session.runtimeSnapshotRef)"))
  print("  user     \(printable(session.userID))\(session.riskFlagged ? "  (risk)" : "")")
  if let created = session.createdAt { print("  opened   \(RFC3339.format(created.nanosecondsSinceEpoch))") }
  print("  passes   \(printable(session.entitlementIds.joined(separator: " ")))")
  for (experiment, variant) in session.experimentVariants { print(printable("  \(experiment) → \(variant)")) }
}
