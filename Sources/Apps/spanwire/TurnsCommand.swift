import ArgumentParser
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

struct TurnsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "turns", abstract: "The turns that agents' work runs as: plans, evidence, replay; cancel one.",
    discussion: """
      Every attempt of a task runs as one turn. Before it opens, its lease epoch and its quotas are looked at and its plan is frozen; then it \
      is open, active, committed or aborted, and closed, each once. What it went by is its evidence: the plan's hash, the seed, what it read, \
      what was decided, who was asked, what came out. 'replay' makes plan and seed again and, where the agent is the platform's own, \
      the answer, and exits with 1 if something differs. What was refused before it opened is seen with 'watch'.
      """,
    subcommands: [TurnsList.self, TurnsShow.self, TurnsEvidence.self, TurnsReplay.self, TurnsWatch.self, TurnsCancel.self],
    defaultSubcommand: TurnsList.self)
}

struct TurnsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List turns, oldest first.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions
  @Option(help: "Only turns of this session.") var session: String = ""
  @Option(help: "Only turns of this task.") var task: String = ""
  @Option(help: "Only turns in this state.") var state: TurnState?
  @Option(help: "Only turns that ended so.") var outcome: TurnOutcome?

  func run() async throws {
    try await reportingFailures {
      let turns = TurnsClient(try await connection.channel())
      var request = ListTurnsRequest(
        productRuntimeSessionID: session, agentTaskID: task, state: state ?? .unspecified, outcome: outcome ?? .unspecified)
      let (found, next) = try await page.collect { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await turns.listTurns(request)
        return (page.turns, page.nextPageToken)
      }
      try page.show(found, next: next, ["TURN", "STATE", "OUTCOME", "OPENED", "CLOSED", "BY", "TASK", "EPOCH", "PLAN", "WHY"]) { turn in
        [
          turn.turnID, turn.state.word, turn.outcome == .unspecified ? "" : turn.outcome.word, timeOfDay(turn.openedAt),
          timeOfDay(turn.closedAt), turn.performer, turn.agentTaskID, "\(turn.leaseEpoch)", short(turn.planHash), turn.reason,
        ]
      }
    }
  }
}

struct TurnsShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show a turn: where it is, and how it ended.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The turn's id, TURN-….") var id: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let turn = try await TurnsClient(try await connection.channel()).getTurn(GetTurnRequest(turnID: id))
      try show(turn, json: json)
    }
  }
}

struct TurnsEvidence: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evidence", abstract: "Show what a turn went by: its plan, what it read, what was decided, what came out.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The turn's id, TURN-….") var id: String
  @Flag(help: "Print JSON, contents included.") var json = false

  func run() async throws {
    try await reportingFailures {
      let record = try await TurnsClient(try await connection.channel()).getTurnEvidence(GetTurnEvidenceRequest(turnID: id))
      if json { return try printJSON(record) }
      if let turn = record.turn { try show(turn, json: false) }
      if let plan = record.plan { printPlan(plan) }
      if let evidence = record.evidence { printEvidence(evidence) }
    }
  }

  private func printPlan(_ plan: TurnPlan) {
    print(printable("plan \(plan.rules): \(plan.agentSlug) version \(plan.agentVersion) does \(plan.intent)"))
    if let budgets = plan.budgets {
      let cost = budgets.maxCost.map { ", at most \(Micros.format($0.micros)) \($0.currency)" } ?? ""
      print("  budgets  \(budgets.timeoutMs) ms, \(budgets.maxTokens) tokens, \(budgets.maxSuggestions) suggestions\(cost)")
    }
    if let quota = plan.quota {
      let waiting = quota.deferredPerSession
      print("  quota    \(quota.openPerSession) open a session (\(waiting) may wait), \(quota.openPerTenant) a tenant")
    }
    for node in plan.nodes {
      let provider = node.provider ?? TurnProvider()
      let instead = provider.divertedFrom.isEmpty ? "" : " instead of \(provider.divertedFrom)"
      print(printable("  node     \(node.nodeID) by \(snakeCase("\(provider.kind)")) \(provider.name)\(instead)"))
    }
  }

  private func printEvidence(_ evidence: TurnEvidence) {
    for input in evidence.inputs {
      let kept = input.content.isEmpty && input.size > 0 ? "by hash" : "kept"
      print(printable("  read     \(timeOfDay(input.at))  \(input.name)  \(input.size) bytes, \(kept)  \(short(input.contentHash))"))
    }
    for decision in evidence.decisions {
      let why = [decision.rule, decision.reason].filter { !$0.isEmpty }.joined(separator: ", ")
      print(printable("  decided  \(timeOfDay(decision.at))  \(decision.kind)  \(decision.subject): \(decision.outcome)  \(why)"))
    }
    for attempt in evidence.providerAttempts {
      print(
        printable(
          "  asked    \(timeOfDay(attempt.begunAt)) – \(timeOfDay(attempt.endedAt))  \(attempt.provider): \(attempt.outcome)  "
            + attempt.error))
    }
    for output in evidence.outputs {
      print(printable("  output   \(timeOfDay(output.at))  \(output.outputID)  \(output.size) bytes  \(short(output.contentHash))"))
    }
    if evidence.omitted > 0 { print("  \(evidence.omitted) more were counted, not kept") }
    if evidence.isPartial { print("  the process ended with the turn: what came after its opening is not known") }
  }
}

struct TurnsReplay: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay", abstract: "Make a turn again from its evidence and compare; exits with 1 if something differs.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The turn's id, TURN-….") var id: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    var isSame = true
    try await reportingFailures {
      let replay = try await TurnsClient(try await connection.channel()).replayTurn(ReplayTurnRequest(turnID: id))
      isSame = replay.isSame
      if json { return try printJSON(replay) }
      printTable(["WHAT", "IS", "DETAIL"], replay.checks.map { [$0.name, snakeCase("\($0.verdict)"), $0.detail] })
    }
    if !isSame { throw ExitCode(1) }
  }
}

struct TurnsWatch: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch", abstract: "Follow turns' events, those of turns that were rejected or deferred among them.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only turns of this session.") var session: String = ""
  @Option(help: "Go on after this position of the log; from the beginning by default.") var cursor: String = ""
  @Flag(help: "Stop at the log's present end.") var untilEnd = false
  @Flag(help: "Print JSON, one event a line.") var json = false

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      try await follow(try await connection.channel())
    }
  }

  private func follow(_ channel: any Channel) async throws {
    let request = WatchTurnsRequest(productRuntimeSessionID: session, cursor: cursor, untilEnd: untilEnd)
    for try await response in try await TurnsClient(channel).watchTurns(request) {
      guard case .event(let event) = response.item else { continue }
      if json { try printJSON(event) } else { print(line(of: event)) }
    }
  }
}

struct TurnsCancel: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cancel", abstract: "Cancel a turn, and the task whose attempt it is; nothing that it still says is accepted.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The turn's id, TURN-….") var id: String
  @Option(help: "Why; it stands in the evidence.") var reason: String = ""
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let request = CancelTurnRequest(idempotencyKey: idempotencyKey ?? newIdempotencyKey(), turnID: id, reason: reason)
      try show(try await TurnsClient(try await connection.channel()).cancelTurn(request), json: json)
    }
  }
}

private func show(_ turn: Turn, json: Bool) throws {
  if json { return try printJSON(turn) }
  let outcome = turn.outcome == .unspecified ? "" : "  \(turn.outcome.word)  \(turn.reason)"
  print(printable("\(turn.turnID)  \(turn.state.word)\(outcome)"))
  print(printable("  task     \(turn.agentTaskID), epoch \(turn.leaseEpoch), by \(turn.performer)"))
  if !turn.productRuntimeSessionID.isEmpty { print(printable("  session  \(turn.productRuntimeSessionID)")) }
  print("  time     \(timeOfDay(turn.openedAt)) – \(timeOfDay(turn.closedAt))")
  print("  plan     \(turn.planHash.hex), seed \(turn.seed)")
  if !turn.evidenceHash.isEmpty { print("  evidence \(turn.evidenceHash.hex)") }
}

/// The beginning of a hash, for tables.
private func short(_ hash: [UInt8]) -> String { String(hash.hex.prefix(12)) }
