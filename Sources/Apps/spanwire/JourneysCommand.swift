import ArgumentParser
import SpanwireRPC
import SpanwireSchema
import SpanwireWellKnown

struct JourneysCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "journeys", abstract: "List journeys, show or follow one, or take its next step.",
    discussion: """
      A journey walks a document, a graph of nodes; the traveller stands at one node, or at one of every branch that is open. \
      list, show, history and watch are an operator's. start, arrive, redeem, choose, read, signal and abandon are the traveller's \
      own steps, and name her session. What an operator may do to a journey (skip or complete a node, abort it, block a place) is \
      under 'spanwire sessions control'.
      """,
    subcommands: [
      JourneysList.self, JourneysShow.self, JourneysHistory.self, JourneysWatch.self, JourneyStart.self, JourneyArrive.self,
      JourneyRedeem.self, JourneyChoose.self, JourneyRead.self, JourneySignal.self, JourneyAbandon.self,
    ], defaultSubcommand: JourneysList.self)
}

struct JourneysList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List journeys, newest first.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only those of this session, PRS-….") var session: String = ""
  @Option(help: "Only those that walk this document, TJM-….") var document: String = ""
  @Option(help: "Only those in this state: running, completed, abandoned, aborted or failed.") var state: String = ""
  @Option(help: "Only those that started then or later, such as 2026-05-04T09:00:00Z.") var since: String = ""
  @Option(help: "Only those that started earlier.") var before: String = ""
  @Option(help: "How many at most.") var limit: Int = 50
  @Option(help: "Go on where an earlier list ended; it printed the token.") var pageToken: String = ""
  @Flag(help: "Print JSON, one journey a line.") var json = false

  func request() throws -> ListJourneysRequest {
    let states: [String: JourneyState] = [
      "": .unspecified, "created": .created, "running": .running, "completed": .completed, "abandoned": .abandoned, "aborted": .aborted,
      "failed": .failed,
    ]
    guard let state = states[state.lowercased()] else { throw ValidationError("no journey is ever '\(state)'") }
    return ListJourneysRequest(
      productRuntimeSessionID: session, state: state, pageToken: pageToken, journeyDocID: document,
      startedFrom: try moment(since, "--since"), startedBefore: try moment(before, "--before"))
  }

  mutating func validate() throws {
    _ = try request()
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
  }

  func run() async throws {
    try await reportingFailures {
      let runtime = JourneyRuntimeClient(try await connection.channel())
      var request = try request()
      let (journeys, _) = try await gather(upTo: limit) { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await runtime.listJourneys(request)
        return (page.journeys, page.nextPageToken)
      }
      if json {
        for journey in journeys { try printJSON(journey) }
        return
      }
      printTable(
        ["JOURNEY", "STATE", "DOCUMENT", "STANDS AT", "STARTED", "SESSION"],
        journeys.map {
          [
            $0.journeyInstanceID, "\($0.state)", $0.journeyDocID, $0.standingNodeIds.joined(separator: ", "), moment($0.startedAt),
            $0.productRuntimeSessionID,
          ]
        })
      if !request.pageToken.isEmpty { print("more: --page-token \(request.pageToken)") }
    }
  }
}

struct JourneysShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show a journey: where it stands, its nodes, its route and what is blocked on it.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The journey's id, JRN-….") var id: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let runtime = JourneyRuntimeClient(try await connection.channel())
      try show(try await runtime.getJourney(GetJourneyRequest(journeyInstanceID: id)), json: json)
    }
  }
}

struct JourneysHistory: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history", abstract: "Print all that has happened on a journey, in order.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The journey's id, JRN-….") var id: String
  @Flag(help: "Print JSON, one event a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      try await follow(try await connection.channel(), WatchJourneyRequest(journeyInstanceID: id, untilEnd: true), limit: nil, json: json)
    }
  }
}

struct JourneysWatch: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch", abstract: "Follow a journey: all that has happened, then what happens.",
    discussion: "Every line begins with the event's position; --cursor resumes after it, with no event lost or told twice.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The journey's id, JRN-….") var id: String
  @Option(help: "Resume after this position.") var cursor: String = ""
  @Option(name: .customLong("type"), help: "Only types that match this glob, such as 'journey.node.*'; may be given several times.")
  var types: [String] = []
  @Option(help: "Stop after so many events.") var limit: Int?
  @Flag(help: "Print JSON, one event a line.") var json = false

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      try await follow(
        try await connection.channel(), WatchJourneyRequest(journeyInstanceID: id, cursor: cursor, types: types), limit: limit, json: json)
    }
  }
}

private func follow(_ channel: any Channel, _ request: WatchJourneyRequest, limit: Int?, json: Bool) async throws {
  var seen = 0
  for try await response in try await JourneyRuntimeClient(channel).watchJourney(request) {
    guard case .event(let event) = response.item else { continue }
    if json { try printJSON(event) } else { print(line(of: event)) }
    seen += 1
    if let limit, seen >= limit { return }
  }
}

/// Prints a journey, for a reader or as JSON.
func show(_ journey: JourneyInstance, json: Bool) throws {
  if json { return try printJSON(journey) }
  print("\(journey.journeyInstanceID)  \(journey.state)  at \(journey.standingNodeIds.joined(separator: ", "))")
  print(printable("  document  \(journey.journeyDocID) \(journey.journeyDocVersion), frozen as \(journey.runtimeSnapshotRef)"))
  print(printable("  session   \(journey.productRuntimeSessionID) of \(journey.userID) in \(journey.marketCode)"))
  let ended = journey.endedAt.map { ", ended \(moment($0))" } ?? ""
  print("  started   \(moment(journey.startedAt))\(ended), revision \(journey.revision)")
  if let left = journey.tokensLeft { print("  tokens    \(left) left") }
  for (index, place) in journey.route.enumerated() {
    let sign = index < journey.nextStop ? "✓" : index == journey.nextStop ? "→" : " "
    print(printable("  \(index == 0 ? "route   " : "        ") \(sign) \(place)"))
  }
  for block in journey.blocks {
    let until = block.until.map { " until \(moment($0))" } ?? ""
    print(printable("  blocked   \(block.servicePointID)\(until): \(block.reason)"))
  }
  for signal in journey.signals { print(printable("  signal    \(signal.name) \(signal.value)")) }
  printTable(
    ["  NODE", "KIND", "STATE", "OUTCOME", "PLACE", "VISIT", "NOTE"],
    journey.nodes.map { node in
      var note = node.reason
      if let due = node.dueAt, node.state == .active { note = "until \(moment(due))" }
      if node.awaitsWork {
        note = "waits for an answer"
      } else if node.kind == "agent", node.state == .active {
        note = "waits for a decision"
      }
      if !node.options.isEmpty { note = node.options.joined(separator: " | ") }
      let stands = journey.standingNodeIds.contains(node.nodeID) ? "→ " : "  "
      return [
        stands + node.nodeID, node.kind, "\(node.state)", node.outcome, node.servicePointID,
        node.visitNumber == 0 ? "" : "\(node.visitNumber)",
        note,
      ]
    })
}

/// A moment as it was typed; nil for the empty text.
func moment(_ text: String, _ option: String) throws -> Google_Protobuf_Timestamp? {
  if text.isEmpty { return nil }
  guard let moment = Moment(argument: text) else {
    throw ValidationError("\(option) is a time such as 2026-05-04T09:00:00Z, not '\(text)'")
  }
  return moment.timestamp
}
