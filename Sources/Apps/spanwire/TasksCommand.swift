import ArgumentParser
import SpanwireSchema

struct TasksCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tasks", abstract: "What agents are asked: give a task, follow it, find it again, cancel it.",
    discussion: """
      A task goes received → running → completed, and may fail, time out or be cancelled. It is done by the platform's own agent, or, where \
      the registry says by_workers, by an attached worker ('spanwire workers'), or, where it says by_model, by a language model \
      ('spanwire models'). A worker that is lost loses its work to another, under a \
      higher lease epoch. What ends without an answer and was not cancelled lies in 'spanwire dlq'. Travellers' tasks come in by \
      'spanwire sessions ask'; operators give theirs here.
      """,
    subcommands: [
      TasksList.self, TasksShow.self, TasksRun.self, TasksSubmit.self, TasksCancel.self, TasksProposals.self, TasksImpact.self,
    ], defaultSubcommand: TasksList.self)
}

struct TasksList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List tasks, oldest first.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions
  @Option(help: "Only tasks of this session.") var session: String = ""
  @Option(help: "Only tasks of this agent, by its slug.") var agent: String = ""
  @Option(help: "Only tasks in this state.") var state: AgentTaskState?
  @Option(help: "Only tasks for this kind of agent, such as support.") var type: String = ""
  @Option(help: "Only tasks of this intent, such as explain_limits.") var intent: String = ""
  @Option(help: "Only tasks that came in at this moment or later, in RFC 3339.") var since: String = ""
  @Option(help: "Only tasks that came in before this moment.") var before: String = ""

  func run() async throws {
    try await reportingFailures {
      let agents = AgentOrchestratorClient(try await connection.channel())
      var request = ListTasksRequest(
        productRuntimeSessionID: session, state: state ?? .unspecified, agentSlug: agent, agentType: type, intent: intent,
        receivedFrom: try moment(since, "--since"), receivedBefore: try moment(before, "--before"))
      let (tasks, next) = try await page.collect { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await agents.listTasks(request)
        return (page.tasks, page.nextPageToken)
      }
      try page.show(tasks, next: next, ["TASK", "STATE", "AGENT", "INTENT", "RECEIVED", "SESSION", "WHY"]) { task in
        [
          task.agentTaskID, task.state.word, task.agentSlug, task.task?.intent ?? "", timeOfDay(task.receivedAt),
          task.context?.productRuntimeSessionID ?? "", task.failure,
        ]
      }
    }
  }
}

struct TasksShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show a task: what was asked, who tried, what came of it and of what it proposes.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The task's id, ATASK-….") var id: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let task = try await AgentOrchestratorClient(try await connection.channel()).getTask(GetTaskRequest(agentTaskID: id))
      if json { return try printJSON(task) }
      print(printable("\(task.agentTaskID)  \(task.state.word)  \(task.failure)"))
      print(printable("\(task.task?.agentType ?? "") \(task.task?.intent ?? ""), by \(task.agentSlug), for \(task.invoker)"))
      if !task.redrivenFrom.isEmpty { print(printable("does \(task.redrivenFrom) again")) }
      if let cost = task.cost { print(printable("costs \(cost.text)")) }
      printAttempts(task)
      if !task.text.isEmpty { print(printable(task.text)) }
      for proposal in task.proposals {
        printProposal(proposal)
        printDecisions(proposal)
      }
    }
  }
}

/// Prints what became of a proposal: who decided what and why, and what it changed.
func printDecisions(_ proposal: Proposal) {
  for decision in proposal.decisions {
    print(
      printable("      \(timeOfDay(decision.decidedAt))  \(decision.state.word)  \(decision.actor)  \(decision.reason)  \(decision.change)")
    )
  }
}

/// Prints who tried a task, and whom they asked.
func printAttempts(_ task: AgentTask) {
  for attempt in task.attempts {
    print(
      printable(
        "  epoch \(attempt.leaseEpoch)  \(attempt.performer)  \(timeOfDay(attempt.begunAt)) – \(timeOfDay(attempt.endedAt))  "
          + "\(attempt.outcome.isEmpty ? "running" : attempt.outcome)  \(attempt.turnID)  \(attempt.error)"))
    for call in attempt.modelCalls {
      let tokens = "\(call.promptTokens) + \(call.completionTokens) tokens\(call.isEstimate ? " (estimated)" : "")"
      print(
        printable(
          "    \(call.provider)/\(call.model)  \(call.outcome.isEmpty ? "running" : call.outcome)  \(call.finishReason)  \(tokens)  "
            + "\(call.cost?.text ?? "")  \(call.reason)  \(call.error)"))
    }
  }
}

/// What an operator asks of an agent.
struct TaskOptions: ParsableArguments {
  @Argument(help: "The kind of agent: ops_analyst, or one that travellers ask too.") var agent: String
  @Argument(help: "What is wanted of it, such as explain_incident or suggest_mitigation.") var intent: String
  @Option(help: "What to look at: an incident, event, trace or session.") var subject: String = ""
  @Option(help: "What to say to it.") var message: String = ""
  @Option(help: "The session it is about.") var session: String = ""
  @Option(help: "The market it is about; agents other than the analyst need one.") var market: String = ""
  @Option(help: "How long it may take, in milliseconds; 5000 unless said.") var timeoutMs: UInt32 = 0
  @Option(help: "How many suggestions at most; 3 unless said.") var suggestions: UInt32 = 0
  @Option(help: "How many tokens its answer may have; 4000 unless said.") var maxTokens: UInt32 = 0
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  var request: RunTaskRequest {
    RunTaskRequest(
      idempotencyKey: idempotencyKey ?? newIdempotencyKey(), invoker: "ops_console",
      context: AgentContext(productRuntimeSessionID: session, marketCode: market),
      task: AgentTaskSpec(
        agentType: agent, intent: intent,
        constraints: AgentConstraints(maxTokens: maxTokens, timeoutMs: timeoutMs, maxSuggestions: suggestions),
        message: message,
        subjectID: subject))
  }
}

struct TasksRun: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Give a task and follow it: receipt, progress, parts, proposals, result.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: TaskOptions

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      let agents = AgentOrchestratorClient(try await connection.channel())
      for try await update in try await agents.runTask(options.request) { try options.json ? printJSON(update) : printUpdate(update) }
    }
  }
}

struct TasksSubmit: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "submit", abstract: "Give a task and do not wait: 'tasks show' tells how it goes.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: TaskOptions

  func run() async throws {
    try await reportingFailures {
      let task = try await AgentOrchestratorClient(try await connection.channel()).submitTask(options.request)
      if options.json { try printJSON(task) } else { print(printable("\(task.agentTaskID)  \(task.state.word)  \(task.agentSlug)")) }
    }
  }
}

struct TasksCancel: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "cancel", abstract: "Cancel a task; a worker that has it is told.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The task's id, ATASK-….") var id: String
  @Option(help: "Why; whoever follows the task reads it.") var reason: String = ""
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let request = CancelTaskRequest(idempotencyKey: idempotencyKey ?? newIdempotencyKey(), agentTaskID: id, reason: reason)
      let task = try await AgentOrchestratorClient(try await connection.channel()).cancelTask(request)
      if json { try printJSON(task) } else { print(printable("\(task.agentTaskID)  \(task.state.word)")) }
    }
  }
}

struct TasksProposals: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "proposals", abstract: "List what agents proposed, and what became of it: who decided, why, and what it changed.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions
  @Option(help: "Only those of this agent, by its slug.") var agent: String = ""
  @Option(help: "Only those of this session.") var session: String = ""
  @Option(help: "Only route_change, product, recommendation, explanation or requested_action.") var kind: String = ""
  @Option(help: "Only those in this state.") var state: ProposalState?

  func run() async throws {
    try await reportingFailures {
      let agents = AgentOrchestratorClient(try await connection.channel())
      var request = ListProposalsRequest(
        state: state ?? .unspecified, agentSlug: agent, productRuntimeSessionID: session, kind: kind)
      let (proposals, next) = try await page.collect { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await agents.listProposals(request)
        return (page.proposals, page.nextPageToken)
      }
      try page.show(proposals, next: next, ["PROPOSAL", "STATE", "AGENT", "TASK", "PROPOSED", "WHAT", "DECIDED BY", "CHANGED"]) {
        proposal in
        [
          proposal.proposalID, proposal.state.word, proposal.agentSlug, proposal.agentTaskID, timeOfDay(proposal.createdAt),
          proposal.summary, proposal.decisions.last?.actor ?? proposal.refusedRule, proposal.decisions.last?.change ?? "",
        ]
      }
    }
  }
}

struct TasksImpact: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "impact", abstract: "Count what agents proposed and what came of it, by agent and kind.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only what this agent proposed, by its slug.") var agent: String = ""
  @Option(help: "Only what was proposed at this moment or later, in RFC 3339.") var since: String = ""
  @Flag(help: "Print JSON, one a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let agents = AgentOrchestratorClient(try await connection.channel())
      let request = SummarizeImpactRequest(agentSlug: agent, createdFrom: try moment(since, "--since"))
      let impacts = try await agents.summarizeImpact(request).impacts
      if json { return try impacts.forEach { try printJSON($0) } }
      printTable(
        ["AGENT", "KIND", "PROPOSED", "UNDECIDED", "ACCEPTED", "REJECTED", "APPLIED", "REFUSED"],
        impacts.map { impact in
          [impact.agentSlug, impact.kind]
            + [impact.proposed, impact.undecided, impact.accepted, impact.rejected, impact.applied, impact.refused].map { "\($0)" }
        })
    }
  }
}
