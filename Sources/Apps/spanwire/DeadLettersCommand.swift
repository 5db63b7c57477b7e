import ArgumentParser
import SpanwireSchema

struct DeadLettersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dlq", abstract: "Tasks and executions that ended without an answer: look at them, do them again, or let them lie.",
    discussion: """
      A task that failed as often as it may, that failed for good, or whose time ran out is a dead letter: with what was asked, every attempt, \
      and why the last one failed. Once what was wrong is put right, redrive it: it is done again as a new task. Or discard it, or \
      note that it was fixed by hand. Each is reviewed once, with a reason that stands in the audit.
      """,
    subcommands: [DeadLettersList.self, DeadLettersShow.self, DeadLettersRedrive.self, DeadLettersDiscard.self, DeadLettersFixed.self],
    defaultSubcommand: DeadLettersList.self)
}

struct DeadLettersList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List dead letters, oldest first; the pending ones unless told.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions
  @Option(help: "Only those with this resolution.") var resolution: DeadLetter.Resolution = .pending
  @Flag(help: "Whatever became of them.") var all = false
  @Option(help: "Only those of this agent, by its slug.") var agent: String = ""

  func run() async throws {
    try await reportingFailures {
      let agents = AgentOrchestratorClient(try await connection.channel())
      var request = ListDeadLettersRequest(resolution: all ? .unspecified : resolution, agentSlug: agent)
      let (items, next) = try await page.collect { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await agents.listDeadLetters(request)
        return (page.items, page.nextPageToken)
      }
      try page.show(items, next: next, ["ITEM", "RESOLUTION", "AGENT", "INTENT", "RETRIES", "SINCE", "WHY"]) { item in
        [
          item.itemID, item.resolution.word, item.task?.agentSlug ?? item.execution?.handlerName ?? "",
          item.task?.task?.intent ?? item.execution?.intent?.intentType ?? "", "\(item.retryCount)",
          timeOfDay(item.enqueuedAt), item.failureReason,
        ]
      }
    }
  }
}

/// Prints a dead letter with every attempt.
private func show(_ item: DeadLetter, json: Bool) throws {
  if json { return try printJSON(item) }
  print(printable("\(item.itemID)  \(item.resolution.word)  \(item.failureReason)"))
  if let execution = item.execution { printExecution(execution) }
  if let task = item.task {
    print(printable("\(task.agentTaskID)  \(task.task?.agentType ?? "") \(task.task?.intent ?? ""), by \(task.agentSlug)"))
    if let message = task.task?.message, !message.isEmpty { print(printable("  said: \(message)")) }
    printAttempts(task)
  }
  if !item.reviewedBy.isEmpty {
    print(printable("reviewed by \(item.reviewedBy): \(item.note)\(item.replayedAs.isEmpty ? "" : ", done again as \(item.replayedAs)")"))
  }
}

struct DeadLettersShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show a dead letter with every attempt.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The item's id, DLQ-….") var id: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      try show(
        try await AgentOrchestratorClient(try await connection.channel()).getDeadLetter(GetDeadLetterRequest(itemID: id)), json: json)
    }
  }
}

struct DeadLettersRedrive: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "redrive", abstract: "Do dead letters again: those named, or all pending ones, of one agent perhaps.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The items' ids, DLQ-….") var ids: [String] = []
  @Flag(help: "All pending ones.") var all = false
  @Option(help: "With --all, only those of this agent, by its slug.") var agent: String = ""
  @Option(help: "With --all, how many at most.") var limit: Int = 10_000
  @Option(help: "Why, for the audit.") var reason: String
  @Flag(help: "Print JSON, one a line.") var json = false

  mutating func validate() throws {
    if ids.isEmpty != all { throw ValidationError("name items, or say --all") }
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
  }

  func run() async throws {
    try await reportingFailures {
      /// What the service does in one call.
      let mostInCall = 100
      let agents = AgentOrchestratorClient(try await connection.channel())
      var left = all ? limit : ids.count
      while left > 0 {
        let named = Array(ids.suffix(left).prefix(mostInCall))
        let request = RedriveDeadLettersRequest(
          idempotencyKey: newIdempotencyKey(), itemIds: named, agentSlug: all ? agent : "", limit: all ? UInt32(min(left, mostInCall)) : 0,
          reason: reason)
        let response = try await agents.redriveDeadLetters(request)
        for item in response.redriven {
          try json ? printJSON(item) : print(printable("\(item.itemID) is done again as \(item.agentTaskID)\(item.executionID)"))
        }
        left -= response.redriven.count
        if response.redriven.isEmpty || all && response.pending == 0 {
          if response.pending > 0 { throw CheckFailed(message: "there is no room for \(response.pending) more now; try again later") }
          break
        }
      }
    }
  }
}

/// What both reviews take.
struct ReviewOptions: ParsableArguments {
  @Argument(help: "The item's id, DLQ-….") var id: String
  @Option(help: "Why, for the audit.") var reason: String
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func review(_ resolution: DeadLetter.Resolution, over connection: ConnectionOptions) async throws {
    try await reportingFailures {
      let request = ReviewDeadLetterRequest(
        idempotencyKey: idempotencyKey ?? newIdempotencyKey(), itemID: id, resolution: resolution, reason: reason)
      try show(try await AgentOrchestratorClient(try await connection.channel()).reviewDeadLetter(request), json: json)
    }
  }
}

struct DeadLettersDiscard: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "discard", abstract: "Let a dead letter lie: nobody needs its answer.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: ReviewOptions

  func run() async throws { try await options.review(.discarded, over: connection) }
}

struct DeadLettersFixed: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "fixed", abstract: "Note that what was asked was done by hand.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: ReviewOptions

  func run() async throws { try await options.review(.manualFix, over: connection) }
}
