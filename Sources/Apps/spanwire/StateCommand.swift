import ArgumentParser
import SpanwireSchema

struct StateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "state", abstract: "State of sessions and executions, as handlers share it.",
    discussion: """
      A state is one JSON object with a revision that grows with every write. Writing names the revision that was read, so that nobody \
      overwrites what somebody else wrote meanwhile: then the write is refused, with the revision that stands.
      """,
    subcommands: [StateList.self, StateGet.self, StateSet.self, StateDelete.self], defaultSubcommand: StateList.self)
}

struct StateList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List which states there are.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      let (states, next) = try await page.collect { size, token in
        let page = try await executions.listStates(ListStatesRequest(pageSize: size, pageToken: token))
        return (page.states, page.nextPageToken)
      }
      try page.show(states, next: next, ["KEY", "REVISION", "UPDATED", "EXPIRES"]) { state in
        [state.key, "\(state.revision)", timeOfDay(state.updatedAt), state.expiresAt == nil ? "never" : timeOfDay(state.expiresAt)]
      }
    }
  }
}

/// Whose state.
struct StateOptions: ParsableArguments {
  @Argument(help: "The session's id; or with --execution, the execution's.") var id: String
  @Flag(help: "The state of an execution, not of a session.") var execution = false
  @Flag(help: "Print JSON.") var json = false

  var key: StateKey { StateKey(scope: execution ? .executionID(id) : .sessionID(id)) }

  func show(_ document: StateDocument) throws {
    if json { return try printJSON(document) }
    print(printable("\(document.key)  revision \(document.revision)"))
    if let state = document.state { print(printable(try state.jsonString())) }
  }
}

struct StateGet: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "get", abstract: "Show a state with its revision.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: StateOptions

  func run() async throws {
    try await reportingFailures {
      try options.show(try await ExecutionsClient(try await connection.channel()).getState(GetStateRequest(key: options.key)))
    }
  }
}

struct StateSet: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "set", abstract: "Write a state, the whole of it.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: StateOptions
  @Argument(help: "The state, a JSON object.") var state: String
  @Option(help: "Only if it is at this revision; 0: only if there is none.") var ifAt: UInt64?
  @Option(help: "Forget it after so many milliseconds; 0: never.") var ttlMs: Int64 = 0

  func run() async throws {
    try await reportingFailures {
      let request = SetStateRequest(
        key: options.key, state: try jsonObject(state, "the state"), expectedRevision: ifAt, ttlMs: ttlMs)
      try options.show(try await ExecutionsClient(try await connection.channel()).setState(request))
    }
  }
}

struct StateDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "delete", abstract: "Forget a state.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: StateOptions
  @Option(help: "Only if it is at this revision.") var ifAt: UInt64?

  func run() async throws {
    try await reportingFailures {
      let response = try await ExecutionsClient(try await connection.channel()).deleteState(
        DeleteStateRequest(key: options.key, expectedRevision: ifAt))
      if options.json { try printJSON(response) } else { print(printable("forgotten: \(options.id)")) }
    }
  }
}
