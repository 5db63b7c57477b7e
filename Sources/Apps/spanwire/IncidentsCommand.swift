import ArgumentParser
import SpanwireSchema

struct IncidentsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "incidents", abstract: "Incident mode: how the platform is, what it goes by, and your hand on it.",
    discussion: """
      Three figures are watched: how much of the work of five minutes failed (more than 20 %), what an hour cost beside the average one of \
      the day before (more than twice), and how many workers fell silent (more than 3). One of them over its mark makes normal degraded; \
      after a minute, or with a second one, that is an incident: daily budgets are halved, what fails is tried once more and not three \
      times, only critical schedules fire, and the webhook of 'serve --incident-webhook' is called. When every figure has been below its \
      lower mark for five minutes, all of it is normal again. An operator can force a mode for a while.
      """,
    subcommands: [IncidentsMode.self, IncidentsList.self, IncidentsForce.self, IncidentsRelease.self],
    defaultSubcommand: IncidentsMode.self)
}

extension IncidentMode: NamedByWord {}

private func show(_ status: IncidentStatus, json: Bool) throws {
  if json { return try printJSON(status) }
  print(printable("\(status.mode.word)  since \(status.since.map { moment($0) } ?? "the beginning")  \(status.incidentID)"))
  if !status.forcedBy.isEmpty {
    print(printable("forced by \(status.forcedBy) until \(moment(status.forcedUntil)): \(status.forcedReason)"))
  }
  if status.readings.isEmpty { return }
  func number(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }
  printTable(
    ["FIGURE", "NOW", "DECLARES ABOVE", "CALM BELOW", "WHICH IS"],
    status.readings.map { [$0.trigger, number($0.value), number($0.declaresAbove), number($0.calmBelow), $0.text] })
}

struct IncidentsMode: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mode", abstract: "Show the mode; to operators of tenant platform also what it goes by.")

  @OptionGroup var connection: ConnectionOptions
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      try show(
        try await OperationsClient(try await connection.channel()).getIncidentMode(GetIncidentModeRequest()), json: json)
    }
  }
}

struct IncidentsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List what was declared, the latest first; for operators of tenant platform.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let operations = OperationsClient(try await connection.channel())
      let (entries, next) = try await page.collect { size, token in
        let page = try await operations.listIncidentLog(ListIncidentLogRequest(pageSize: size, pageToken: token))
        return (page.entries, page.nextPageToken)
      }
      try page.show(entries, next: next, ["INCIDENT", "WORST", "DECLARED", "RESOLVED", "BY", "ALERT", "WHY"]) { entry in
        [
          entry.incidentID, entry.worst.word, moment(entry.declaredAt), moment(entry.resolvedAt),
          entry.declaredBy.isEmpty ? "triggers" : entry.declaredBy, entry.alert, entry.triggerReason,
        ]
      }
    }
  }
}

struct IncidentsForce: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "force", abstract: "Choose the mode, whatever the figures say, for an hour unless told.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "normal, degraded or incident.") var mode: IncidentMode
  @Option(name: .customLong("for"), help: "For how long, such as 30m or 2h; at most a day.") var span: TimeSpan?
  @Option(help: "Why, for the audit.") var reason: String
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let request = ForceIncidentModeRequest(
        idempotencyKey: idempotencyKey ?? newIdempotencyKey(), mode: mode, reason: reason, lasts: span?.duration)
      try show(try await OperationsClient(try await connection.channel()).forceIncidentMode(request), json: json)
    }
  }
}

struct IncidentsRelease: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "release", abstract: "Let the mode go by the figures again: an incident ends when they have been calm for five minutes.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Why, for the audit.") var reason: String
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let request = ForceIncidentModeRequest(idempotencyKey: idempotencyKey ?? newIdempotencyKey(), reason: reason)
      try show(try await OperationsClient(try await connection.channel()).forceIncidentMode(request), json: json)
    }
  }
}
