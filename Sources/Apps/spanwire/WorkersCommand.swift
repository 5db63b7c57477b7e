import ArgumentParser
import SpanwireSchema

struct WorkersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "workers", abstract: "The workers that do agents' tasks: who is attached, what each holds; ask one to go.",
    discussion: """
      A worker is a program in any language that attaches by AgentWorker.Attach and takes tasks under leases. It is attached, draining (it \
      finishes what it has), silent (its heartbeats stopped; its work was handed on), detached, or dead (silent for a minute, or it held on \
      to a task). A worker's credential names the agents it may work for.
      """,
    subcommands: [WorkersList.self, WorkersDrain.self], defaultSubcommand: WorkersList.self)
}

struct WorkersList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List workers by name, those that have gone too.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let client = AgentWorkerClient(try await connection.channel())
      var request = ListWorkersRequest()
      var load = (waiting: UInt32(0), running: UInt32(0))
      let (workers, next) = try await page.collect { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await client.listWorkers(request)
        load = (page.waiting, page.running)
        return (page.workers, page.nextPageToken)
      }
      try page.show(workers, next: next, ["WORKER", "STATE", "AGENTS", "HOLDS", "HEARD", "MiB", "VERSION", "WHY"]) { worker in
        [
          worker.workerID, worker.state.word, worker.agentSlugs.joined(separator: " "), "\(worker.claims.count)/\(worker.concurrency)",
          timeOfDay(worker.heardAt), "\(worker.residentBytes >> 20)", worker.version, worker.reason,
        ]
      }
      if !page.json { print("tasks waiting: \(load.waiting), running: \(load.running)") }
    }
  }
}

struct WorkersDrain: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drain", abstract: "Ask a worker to finish what it has, to take no more, and to go.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The worker's name, as the list shows it.") var id: String
  @Option(help: "Why, for the worker and the audit.") var reason: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let request = DrainWorkerRequest(workerID: id, reason: reason)
      let worker = try await AgentWorkerClient(try await connection.channel()).drainWorker(request)
      if json { try printJSON(worker) } else { print(printable("\(worker.workerID)  \(worker.state.word), holds \(worker.claims.count)")) }
    }
  }
}
