import ArgumentParser
import SpanwireSchema

struct SlaCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sla", abstract: "How long work takes, beside the targets of its type.",
    discussion: """
      A type is an agent task's intent, or an execution's intent_type. Its target says how soon somebody must see a first update, and how \
      soon the work must be done; targets are definitions of the registry (sla_targets in a bundle), and those of tenant platform hold for \
      who has none. A target that is missed is told of as the event sla.breach while the work still runs. What has ended is measured.
      """,
    subcommands: [SlaSummaryCommand.self, SlaList.self], defaultSubcommand: SlaSummaryCommand.self)
}

struct SlaSummaryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "summary", abstract: "Show by type what was measured within a day, beside the targets.")

  @OptionGroup var connection: ConnectionOptions
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let response = try await OperationsClient(try await connection.channel()).summarizeSla(SummarizeSlaRequest())
      if json { return try printJSON(response) }
      func target(_ milliseconds: Int64) -> String { milliseconds == 0 ? "any" : "\(milliseconds) ms" }
      printTable(
        ["TYPE", "MEASURED", "BREACHED", "FIRST UPDATE P50/P99", "TARGET", "COMPLETION P50/P99", "TARGET"],
        response.types.map { type in
          [
            type.jobType, "\(type.measured)", "\(type.breached)", "\(type.firstUpdateP50Ms)/\(type.firstUpdateP99Ms) ms",
            target(type.targetFirstUpdateMs), "\(type.completionP50Ms)/\(type.completionP99Ms) ms", target(type.targetCompletionMs),
          ]
        })
    }
  }
}

struct SlaList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List what was measured, the latest first.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions
  @Option(help: "Only work of this type.") var type: String = ""
  @Flag(help: "Only what missed a target.") var breached = false

  func run() async throws {
    try await reportingFailures {
      let operations = OperationsClient(try await connection.channel())
      var request = ListSlaMeasurementsRequest(jobType: type, breached: breached)
      let (measured, next) = try await page.collect { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await operations.listSlaMeasurements(request)
        return (page.measurements, page.nextPageToken)
      }
      try page.show(measured, next: next, ["WORK", "TYPE", "ENDED", "OUTCOME", "FIRST UPDATE", "COMPLETION", "TOOLS", "TARGET"]) { one in
        [
          one.subjectID, one.jobType, moment(one.createdAt), one.outcome, one.timeToFirstUpdateMs.map { "\($0) ms" } ?? "none",
          "\(one.timeToCompletionMs) ms", "\(one.toolRounds)", one.slaBreached ? "missed" : "met",
        ]
      }
    }
  }
}
