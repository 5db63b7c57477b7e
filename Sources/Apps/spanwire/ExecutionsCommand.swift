import ArgumentParser
import SpanwireProtobuf
import SpanwireSchema
import SpanwireWellKnown

struct ExecutionsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "executions", abstract: "Have an intent done: submit it, follow it, find it again, cancel it.",
    discussion: """
      An intent (such as compose_journey, settlement_report or ingest_file) is given to the handler that serves it: one of the platform's \
      own, or one of an attached worker ('spanwire executions intents' shows who serves what). It works in steps. What a step gave is kept: \
      after a failure, or the server's end, the execution goes on at the first step that is not done. It goes created → running → \
      completed, failed or cancelled; what failed lies in 'spanwire dlq'. What it leaves behind: 'spanwire artifacts', 'spanwire state'. \
      What went on: 'spanwire timeline', 'spanwire replay', 'spanwire diff'.
      """,
    subcommands: [
      ExecutionsList.self, ExecutionsShow.self, ExecutionsRun.self, ExecutionsSubmit.self, ExecutionsWatch.self, ExecutionsCancel.self,
      ExecutionsRecords.self, ExecutionsIntents.self, ExecutionsRegister.self,
    ], defaultSubcommand: ExecutionsList.self)
}

struct ExecutionsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List executions, oldest first.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions
  @Option(help: "Only those of this session.") var session: String = ""
  @Option(help: "Only those of this intent.") var intent: String = ""
  @Option(help: "Only those in this state.") var status: ExecutionStatus?

  func run() async throws {
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      var request = ListExecutionsRequest(sessionID: session, intentType: intent, status: status ?? .unspecified)
      let (found, next) = try await page.collect { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await executions.listExecutions(request)
        return (page.executions, page.nextPageToken)
      }
      try page.show(found, next: next, ["EXECUTION", "STATUS", "INTENT", "HANDLER", "CREATED", "SESSION", "WHY"]) { execution in
        [
          execution.executionID, execution.status.word, execution.intent?.intentType ?? "", execution.handlerName,
          timeOfDay(execution.createdAt), execution.intent?.sessionID ?? "", why(execution),
        ]
      }
    }
  }
}

/// Why an execution ended without a result.
private func why(_ execution: Execution) -> String {
  [execution.reason, execution.error].filter { !$0.isEmpty }.joined(separator: ": ")
}

/// Prints an execution with its steps and attempts.
func printExecution(_ execution: Execution) {
  print(printable("\(execution.executionID)  \(execution.status.word)  \(why(execution))"))
  let intent = execution.intent ?? Intent()
  print(printable("\(intent.intentType) in session \(intent.sessionID) of \(intent.solutionID), by \(execution.handlerName)"))
  if !execution.replayOf.isEmpty {
    let from = execution.fromStep.isEmpty ? "" : " from \(execution.fromStep)"
    print(printable("does \(execution.replayOf) again\(from)\(execution.sandbox ? ", in a sandbox" : "")"))
  }
  for attempt in execution.attempts {
    print(
      printable(
        "  epoch \(attempt.leaseEpoch)  \(attempt.performer)  \(timeOfDay(attempt.begunAt)) – \(timeOfDay(attempt.endedAt))  "
          + "\(attempt.outcome.isEmpty ? "running" : attempt.outcome)  \(attempt.error)"))
  }
  for step in execution.steps {
    print(printable("  step \(step.position)  \(step.stepID)  \(step.state.word)  attempts \(step.attempts)"))
  }
  for id in execution.artifactIds { print(printable("  artifact \(id)")) }
  if let output = execution.output { print(printable((try? output.jsonString()) ?? "")) }
}

struct ExecutionsShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show an execution: who tried, which steps are done, what came of it.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The execution's id, EXE-….") var id: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      let execution = try await executions.getExecution(GetExecutionRequest(executionID: id))
      if json { try printJSON(execution) } else { printExecution(execution) }
    }
  }
}

/// What is to be done.
struct IntentOptions: ParsableArguments {
  @Argument(help: "The intent: compose_journey, settlement_report, ingest_file, or one that a worker serves.") var intent: String
  @Argument(help: "Its parameters, a JSON object.") var parameters: String = "{}"
  @Option(help: "The session it belongs to.") var session: String = "operations"
  @Option(help: "The solution it belongs to.") var solution: String = "operations"
  @Option(help: "How long it may take with all its attempts, in milliseconds; five minutes unless said.") var timeoutMs: UInt32 = 0
  @Option(help: "How often it is tried again; 3 unless said.") var retries: UInt32?
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func request() throws -> SubmitExecutionRequest {
    SubmitExecutionRequest(
      idempotencyKey: idempotencyKey ?? newIdempotencyKey(),
      intent: Intent(
        intentType: intent, sessionID: session, solutionID: solution, parameters: try jsonObject(parameters, "the parameters")),
      timeoutMs: timeoutMs, maxRetries: retries)
  }
}

/// A JSON object that somebody typed.
func jsonObject(_ text: String, _ what: String) throws -> Google_Protobuf_Struct {
  do { return try Google_Protobuf_Struct(jsonString: text) } catch {
    throw ValidationError("\(what): no JSON object: \(error)")
  }
}

/// Prints what was told of an execution.
private func printUpdate(_ update: ExecutionUpdate) {
  if let event = update.event { print(printable("  \(timeOfDay(event.occurredAt))  \(event.type)  \(summary(of: event))")) }
  if let execution = update.execution { printExecution(execution) }
}

/// What an event of an execution says, in a line.
func summary(of event: EventEnvelope) -> String {
  guard let payload = event.payload, let json = try? payload.jsonString() else { return "" }
  // Without the name of its type, which the event's own says.
  return json.replacing(/"@type":"[^"]*",?/, with: "")
}

struct ExecutionsRun: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "run", abstract: "Have an intent done and follow it to its end.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: IntentOptions

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      for try await update in try await executions.execute(options.request()) {
        try options.json ? printJSON(update) : printUpdate(update)
      }
    }
  }
}

struct ExecutionsSubmit: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "submit", abstract: "Have an intent done and do not wait: 'executions show' tells how it goes.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: IntentOptions

  func run() async throws {
    try await reportingFailures {
      let execution = try await ExecutionsClient(try await connection.channel()).submitExecution(options.request())
      if options.json { try printJSON(execution) } else { print(printable("\(execution.executionID)  \(execution.status.word)")) }
    }
  }
}

struct ExecutionsWatch: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "watch", abstract: "Follow an execution from its beginning to its end.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The execution's id, EXE-….") var id: String
  @Flag(help: "Print JSON, one a line.") var json = false

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      for try await update in try await executions.watchExecution(GetExecutionRequest(executionID: id)) {
        try json ? printJSON(update) : printUpdate(update)
      }
    }
  }
}

struct ExecutionsCancel: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "cancel", abstract: "Cancel an execution; its handler is told.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The execution's id, EXE-….") var id: String
  @Option(help: "Why; whoever follows it reads it.") var reason: String = ""
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let request = CancelExecutionRequest(idempotencyKey: idempotencyKey ?? newIdempotencyKey(), executionID: id, reason: reason)
      let execution = try await ExecutionsClient(try await connection.channel()).cancelExecution(request)
      if json { try printJSON(execution) } else { print(printable("\(execution.executionID)  \(execution.status.word)")) }
    }
  }
}

struct ExecutionsRecords: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "records", abstract: "List the records that an execution appended to the log; 'spanwire verify' checks their chain.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions
  @Argument(help: "The execution's id, EXE-….") var id: String

  func run() async throws {
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      let (records, next) = try await page.collect { size, token in
        let page = try await executions.listRecords(ListRecordsRequest(executionID: id, pageSize: size, pageToken: token))
        return (page.records, page.nextPageToken)
      }
      try page.show(records, next: next, ["NUMBER", "TYPE", "AT", "HASH", "PAYLOAD"]) { record in
        ["\(record.sequence)", record.recordType, timeOfDay(record.occurredAt), String(record.hash.hex.prefix(12)), record.payload]
      }
    }
  }
}

struct ExecutionsIntents: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "intents", abstract: "List who serves what, and who is there at the moment.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "Only this intent.") var intent: String = ""
  @Flag(help: "Print JSON, one a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      let handlers = try await executions.listIntents(ListIntentsRequest(intentType: intent)).handlers
      if json { return try handlers.forEach(printJSON) }
      printTable(
        ["INTENT", "HANDLER", "PRIORITY", "BY", "HEALTHY", "TITLE"],
        handlers.map { handler in
          [
            handler.intentType, handler.handlerName, "\(handler.priority)", handler.builtIn ? "platform" : "\(handler.workers) workers",
            handler.disabled ? "disabled" : handler.healthy ? "yes" : "no", handler.metadata["title"] ?? "",
          ]
        })
    }
  }
}

struct ExecutionsRegister: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "register", abstract: "Name a handler for an intent, give it another priority, or disable it.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The intent.") var intent: String
  @Argument(help: "The handler: the service that does it.") var handler: String
  @Option(help: "Of several that are healthy, the lowest number serves.") var priority: UInt32 = 100
  @Option(help: "What it does, for those who read the list.") var title: String = ""
  @Flag(help: "It gets nothing to do until it is registered again without this.") var disabled = false
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      var request = RegisterIntentRequest(intentType: intent, handlerName: handler, priority: priority, disabled: disabled)
      if !title.isEmpty { request.metadata["title"] = title }
      let info = try await ExecutionsClient(try await connection.channel()).registerIntent(request)
      if json { return try printJSON(info) }
      print(printable("\(info.intentType)  \(info.handlerName)  priority \(info.priority)\(info.disabled ? "  disabled" : "")"))
    }
  }
}
