import ArgumentParser
import SpanwireSchema

struct TimelineCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "timeline", abstract: "Every event of an execution in order, with the time since it was submitted.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions
  @Argument(help: "The execution's id, EXE-….") var id: String

  func run() async throws {
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      let (entries, next) = try await page.collect { size, token in
        let page = try await executions.getTimeline(GetTimelineRequest(executionID: id, pageSize: size, pageToken: token))
        return (page.entries, page.nextPageToken)
      }
      try page.show(entries, next: next, ["AFTER", "EVENT", "EPOCH", "WHAT"]) { entry in
        [spanOf(entry.offsetUs), entry.event?.type ?? "", "\(entry.event?.leaseEpoch ?? 0)", entry.event.map(summary) ?? ""]
      }
    }
  }
}

private func spanOf(_ microseconds: Int64) -> String {
  "\(microseconds / 1_000).\(String(abs(microseconds) % 1_000 + 1_000).dropFirst()) ms"
}

struct ReplayCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay", abstract: "Do an execution again, from a step on, to see what goes on in it.",
    discussion: """
      The replay is an execution of its own. What the steps before --from-step gave is taken from the old one. It runs in a sandbox: the \
      session's state is a copy, its artifacts and records are marked, and nothing it does counts. With --live it counts; that takes an \
      approval of category system_admin whose target is the execution ('spanwire approvals request').
      """)

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The execution's id, EXE-….") var id: String
  @Option(help: "The first step to do again; all of them unless said.") var fromStep: String = ""
  @Flag(help: "Let it count. Takes --approval.") var live = false
  @Option(help: "The approval of a live replay.") var approval: String = ""
  @Option(help: "Why, for the audit.") var reason: String
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Do not wait for its end.") var submit = false
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      var execution = try await executions.replayExecution(
        ReplayExecutionRequest(
          idempotencyKey: idempotencyKey ?? newIdempotencyKey(), executionID: id, fromStep: fromStep, live: live, approvalID: approval,
          reason: reason))
      if !submit {
        let request = GetExecutionRequest(executionID: execution.executionID)
        for try await _ in try await executions.watchExecution(request) {}
        execution = try await executions.getExecution(request)
      }
      if json { try printJSON(execution) } else { printExecution(execution) }
    }
  }
}

struct DiffCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff", abstract: "What is different between two executions: inputs, steps, outputs, times.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The one execution, EXE-….") var first: String
  @Argument(help: "The other.") var second: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let diff = try await ExecutionsClient(try await connection.channel()).diffExecutions(
        DiffExecutionsRequest(executionIDA: first, executionIDB: second))
      if json { return try printJSON(diff) }
      print(printable("\(first)  \(diff.a?.status.word ?? "")  \(spanOf(diff.durationUsA))"))
      print(printable("\(second)  \(diff.b?.status.word ?? "")  \(spanOf(diff.durationUsB))"))
      show("input", diff.input)
      for step in diff.steps {
        let what =
          step.onlyA ? "only in the first" : step.onlyB ? "only in the second" : step.sameInput ? "same input" : "another input"
        print(printable("step \(step.stepID)  \(what)  \(spanOf(step.durationUsA)) | \(spanOf(step.durationUsB))"))
        for field in step.output { print(printable("    \(field.path): \(field.a) | \(field.b)")) }
      }
      show("output", diff.output)
    }
  }

  private func show(_ name: String, _ fields: [FieldDifference]) {
    if fields.isEmpty { print("\(name)  same") }
    for field in fields { print(printable("\(field.path): \(field.a) | \(field.b)")) }
  }
}
