import ArgumentParser
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema

struct EffectsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "effects", abstract: "See what services must still cause elsewhere, and decide about what got stuck.",
    discussion: """
      An effect is a call that a service owes another, or a timer, written down with the change that wants it. It is tried until its callee \
      gives a verdict. One that gets none for about an hour is given up: it waits here, and what comes after it in its session or journey \
      waits too, until an operator has it tried again (redrive) or lets it fail (discard).
      """,
    subcommands: [EffectsList.self, EffectsRedrive.self, EffectsDiscard.self], defaultSubcommand: EffectsList.self)
}

struct EffectsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List effects that were given up, are pending, or failed.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "given-up, pending, or failed: refused by the callee, and its owner knows.") var state = "given-up"
  @Option(help: "How many at most.") var limit: Int = 50
  @Flag(help: "Print JSON, one effect a line.") var json = false

  func wantedState() throws -> EffectInfo.State {
    switch state {
    case "given-up": .givenUp
    case "pending": .pending
    case "failed": .failed
    default: throw ValidationError("--state is given-up, pending or failed, not '\(state)'")
    }
  }

  mutating func validate() throws {
    _ = try wantedState()
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
  }

  func run() async throws {
    try await reportingFailures {
      let events = EventsClient(try await connection.channel())
      var request = ListEffectsRequest(state: try wantedState())
      let (effects, _) = try await gather(upTo: limit) { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await events.listEffects(request)
        return (page.effects, page.nextPageToken)
      }
      if json {
        for effect in effects { try printJSON(effect) }
      } else {
        printTable(
          ["EFFECT", "STREAM", "OWNER", "METHOD", "TRIED", "DUE", "ERROR"],
          effects.map { effect in
            [
              effect.effectID, effect.stream, effect.owner, effect.method, "\(effect.attempts)", timeOfDay(effect.dueAt),
              effect.error.map { "\(RPCError.Code(rawValue: UInt8(clamping: $0.code))?.name ?? "\($0.code)"): \($0.message)" } ?? "",
            ]
          })
      }
    }
  }
}

/// What both decisions take.
struct EffectDecision: ParsableArguments {
  @Argument(help: "The effect's id, as the list shows it.") var id: String
  @Option(help: "Why, for the audit.") var reason: String
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  var request: DecideEffectRequest {
    DecideEffectRequest(idempotencyKey: idempotencyKey ?? newIdempotencyKey(), effectID: id, reason: reason)
  }

  func show(_ response: DecideEffectResponse, _ verdict: String) throws {
    if json { try printJSON(response) } else { print("\(printable(response.effectID)) is \(verdict), event \(response.eventID)") }
  }
}

struct EffectsRedrive: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "redrive", abstract: "Have an effect that was given up tried again.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var decision: EffectDecision

  func run() async throws {
    try await reportingFailures {
      try decision.show(try await EventsClient(try await connection.channel()).redriveEffect(decision.request), "tried again")
    }
  }
}

struct EffectsDiscard: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "discard", abstract: "Let an effect that was given up fail: its owner is told, and does what it does then.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var decision: EffectDecision

  func run() async throws {
    try await reportingFailures {
      try decision.show(try await EventsClient(try await connection.channel()).discardEffect(decision.request), "discarded")
    }
  }
}
