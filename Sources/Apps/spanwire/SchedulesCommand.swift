import ArgumentParser
import SpanwireSchema

struct SchedulesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schedules", abstract: "Work that is begun again and again, by the clock.",
    discussion: """
      A schedule is due by a cron expression in a time zone (minute, hour, day of the month, month, day of the week) or every so often, and \
      begins an agent task or an execution then, in the name of whoever made it. Each time it is due counts once, over crashes too. It \
      fires; or it is skipped, because it is paused, its last work still runs, or incident mode suspends what is not critical; or it was \
      missed, because the platform was down: then all the missed times become one firing, or with --missed skip none.
      """,
    subcommands: [
      SchedulesCreate.self, SchedulesList.self, SchedulesShow.self, SchedulesPause.self, SchedulesResume.self, SchedulesDelete.self,
      SchedulesRuns.self,
    ],
    defaultSubcommand: SchedulesList.self)
}

extension Schedule.Overlap: NamedByWord {}
extension Schedule.Missed: NamedByWord {}
extension ScheduleRun.Outcome: NamedByWord {}

extension Schedule {
  fileprivate var whenText: String {
    switch timing {
    case .cron(let cron): "\(cron.expression)\(cron.timeZone.isEmpty ? "" : " \(cron.timeZone)")"
    case .every(let every): "every \(TimeSpan.text(every))"
    case nil: ""
    }
  }

  fileprivate var workText: String {
    switch work {
    case .task(let task): "\(task.task?.agentType ?? "") \(task.task?.intent ?? "")"
    case .execution(let execution): execution.intentType
    case nil: ""
    }
  }

  fileprivate var stateText: String { [paused ? "paused" : "", critical ? "critical" : ""].filter { !$0.isEmpty }.joined(separator: ", ") }
}

private func show(_ schedules: [Schedule], json: Bool) throws {
  if json { return try schedules.forEach { try printJSON($0) } }
  printTable(
    ["SCHEDULE", "WHEN", "NEXT", "BEGINS", "WHICH IS", "OVERLAP", "MISSED", "MADE BY", "TITLE"],
    schedules.map { schedule in
      [
        schedule.scheduleID, schedule.whenText, moment(schedule.nextDue), schedule.workText, schedule.stateText,
        schedule.overlap.word, schedule.missed.word, schedule.createdBy, schedule.title,
      ]
    })
}

struct SchedulesCreate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Make a schedule that begins an agent task, or an execution.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "Its id, of letters, digits, '.', '_' and '-'.") var id: String
  @Option(help: "When it is due: five fields, such as '0 9 * * mon-fri'.") var cron: String?
  @Option(help: "The time zone of the cron expression, such as Europe/Vienna; UTC unless told.") var zone: String = ""
  @Option(help: "Or how often: 30s, 10m, 2h, 1d.") var every: TimeSpan?
  @Option(help: "The kind of agent that it asks: ops_analyst, support, ….") var agentType: String = ""
  @Option(help: "What it asks for: explain_incident, ….") var intent: String = ""
  @Option(help: "Or the intent of an execution: settlement_report, ….") var execution: String?
  @Option(help: "The execution's parameters, a JSON object.") var parameters: String = "{}"
  @Option(help: "The market it is about; all agents but ops_analyst need one.") var market: String = ""
  @Option(help: "The product runtime session it is about.") var session: String = ""
  @Option(help: "What it is to look at: an incident, an event or a trace.") var subject: String = ""
  @Option(help: "In your own words.") var message: String = ""
  @Option(help: "What people call it.") var title: String = ""
  @Flag(help: "It fires in incident mode too.") var critical = false
  @Option(help: "When it is due while its last work still runs: skip, or allow.") var overlap: Schedule.Overlap = .skip
  @Option(help: "What becomes of times at which the platform was down: coalesce, or skip.") var missed: Schedule.Missed = .coalesce
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  mutating func validate() throws {
    if (cron == nil) == (every == nil) { throw ValidationError("say when it is due: --cron or --every") }
    if !zone.isEmpty, cron == nil { throw ValidationError("--zone goes with --cron") }
    if (execution == nil) == (agentType.isEmpty || intent.isEmpty) {
      throw ValidationError("say what it begins: --agent-type with --intent, or --execution")
    }
  }

  func run() async throws {
    try await reportingFailures {
      let timing: Schedule.Timing? = every.map { .every($0.duration) } ?? cron.map { .cron(CronTiming(expression: $0, timeZone: zone)) }
      let schedule = Schedule(
        scheduleID: id, title: title, timing: timing, critical: critical, overlap: overlap, missed: missed, work: try work())
      let made = try await OperationsClient(try await connection.channel()).createSchedule(
        CreateScheduleRequest(idempotencyKey: idempotencyKey ?? newIdempotencyKey(), schedule: schedule))
      try show([made], json: json)
    }
  }

  private func work() throws -> Schedule.Work {
    if let execution {
      return .execution(
        ScheduledExecution(
          intentType: execution, productRuntimeSessionID: session, input: try jsonObject(parameters, "the parameters")))
    }
    return .task(
      ScheduledTask(
        context: AgentContext(productRuntimeSessionID: session, marketCode: market),
        task: AgentTaskSpec(agentType: agentType, intent: intent, message: message, subjectID: subject)))
  }
}

struct SchedulesList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List schedules, by their ids.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let operations = OperationsClient(try await connection.channel())
      let (schedules, next) = try await page.collect { size, token in
        let page = try await operations.listSchedules(ListSchedulesRequest(pageSize: size, pageToken: token))
        return (page.schedules, page.nextPageToken)
      }
      try show(schedules, json: page.json)
      if !next.isEmpty, !page.json { print("more: --page-token \(next)") }
    }
  }
}

struct SchedulesShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one schedule.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "Its id.") var id: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let schedule = try await OperationsClient(try await connection.channel()).getSchedule(GetScheduleRequest(scheduleID: id))
      try show([schedule], json: json)
    }
  }
}

/// What every change of a schedule takes.
struct ScheduleChange: ParsableArguments {
  @Argument(help: "The schedule's id.") var id: String
  @Option(help: "Why, for the audit.") var reason: String
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func set(paused: Bool, over connection: ConnectionOptions) async throws {
    try await reportingFailures {
      let request = SetSchedulePausedRequest(
        idempotencyKey: idempotencyKey ?? newIdempotencyKey(), scheduleID: id, paused: paused, reason: reason)
      try show([try await OperationsClient(try await connection.channel()).setSchedulePaused(request)], json: json)
    }
  }
}

struct SchedulesPause: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "pause", abstract: "Let it skip its times until it is resumed.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var change: ScheduleChange

  func run() async throws { try await change.set(paused: true, over: connection) }
}

struct SchedulesResume: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "resume", abstract: "Let it fire again.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var change: ScheduleChange

  func run() async throws { try await change.set(paused: false, over: connection) }
}

struct SchedulesDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "delete", abstract: "Delete a schedule; what it began goes on.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var change: ScheduleChange

  func run() async throws {
    try await reportingFailures {
      let request = DeleteScheduleRequest(
        idempotencyKey: change.idempotencyKey ?? newIdempotencyKey(), scheduleID: change.id, reason: change.reason)
      let response = try await OperationsClient(try await connection.channel()).deleteSchedule(request)
      try change.json ? printJSON(response) : print("deleted \(change.id)")
    }
  }
}

struct SchedulesRuns: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "runs", abstract: "Show what became of the times at which a schedule was due, the latest first.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions
  @Argument(help: "The schedule's id.") var id: String

  func run() async throws {
    try await reportingFailures {
      let operations = OperationsClient(try await connection.channel())
      let (runs, next) = try await page.collect { size, token in
        let page = try await operations.listScheduleRuns(ListScheduleRunsRequest(scheduleID: id, pageSize: size, pageToken: token))
        return (page.runs, page.nextPageToken)
      }
      try page.show(runs, next: next, ["DUE", "OUTCOME", "TIMES", "BEGAN", "DECIDED", "WHY"]) { run in
        [moment(run.due), run.outcome.word, "\(run.firings)", run.subjectID, moment(run.decidedAt), run.reason]
      }
    }
  }
}
