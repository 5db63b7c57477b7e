import ArgumentParser
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema

struct EventsExport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Print events as JSON lines in CloudEvents' format.",
    discussion: """
      One line an event, CloudEvents 1.0 in JSON: the envelope's fields are attributes, the payload is 'data'. Ends at the log's present \
      end. What goes on, such as a nightly export, names --cursor: the 'logposition' of the last line of the one before.
      """)

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var wanted: EventFilterOptions
  @Option(help: "Only events after this position.") var cursor: String = ""
  @Option(help: "Stop after so many events.") var limit: Int?

  func run() async throws {
    try await reportingFailures {
      let events = EventsClient(try await connection.channel())
      var left = limit ?? .max
      let stream = try await events.subscribe(SubscribeRequest(filter: try wanted.filter(), cursor: cursor, untilEnd: true))
      for try await response in stream {
        guard case .event(let event) = response.item else { continue }
        guard left > 0 else { return stream.cancel() }
        print(try event.cloudEvent())
        left -= 1
      }
    }
  }
}

struct EventsConsumers: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consumers", abstract: "List the readers whose place in the log is kept, or forget one.",
    discussion: """
      A consumer is made by 'spanwire events tail --consumer NAME', or by any client that acknowledges under a name. Old events that a \
      consumer has not acknowledged are kept for it, so one that nobody uses any more should be forgotten: --forget NAME.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Forget this consumer and its place.") var forget: String?
  @Flag(help: "Print JSON, one consumer a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let events = EventsClient(try await connection.channel())
      if let forget {
        _ = try await events.deleteEventConsumer(DeleteEventConsumerRequest(consumer: forget))
        return
      }
      let consumers = try await events.listEventConsumers(ListEventConsumersRequest()).consumers
      if json {
        for consumer in consumers { try printJSON(consumer) }
      } else {
        printTable(
          ["CONSUMER", "CURSOR", "BEHIND", ""],
          consumers.map { [$0.name, $0.cursor, "\($0.behind)", $0.internal ? "the platform's own" : ""] })
      }
    }
  }
}

struct EventsReplay: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay", abstract: "Send past events again, to those who listen to a channel.",
    discussion: """
      For analysis and simulation. The events are marked replay_only, reach the channel's listeners ('spanwire events listen CHANNEL') and \
      nobody else, and cause nothing. Only a server that was started with --sandbox replays.
      """)

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var wanted: EventFilterOptions
  @Argument(help: "The channel.") var channel: String
  @Option(help: "Only events after this position.") var cursor: String = ""
  @Option(help: "Only events up to this position.") var until: String = ""
  @Option(help: "Why, for whoever asks later.") var reason: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let events = EventsClient(try await connection.channel())
      let done = try await events.replayEvents(
        ReplayEventsRequest(channel: channel, filter: try wanted.filter(), cursor: cursor, until: until, reason: reason))
      if json { try printJSON(done) } else { print("replayed \(done.events) events to \(done.listeners) listeners") }
    }
  }
}

struct EventsListen: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "listen", abstract: "Print what is replayed to a channel, until a replay ends.",
    discussion: "Start it before 'spanwire events replay CHANNEL'. --forever goes on to the next replay.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var wanted: EventFilterOptions
  @Argument(help: "The channel.") var channel: String
  @Flag(help: "Do not end with a replay.") var forever = false
  @Flag(help: "Print JSON, one envelope a line.") var json = false

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      let events = EventsClient(try await connection.channel())
      let stream = try await events.subscribe(SubscribeRequest(filter: try wanted.filter(), channel: channel))
      for try await response in stream {
        switch response.item {
        case .event(let event): if json { try printJSON(event) } else { print(line(of: event)) }
        case .heartbeat(let heartbeat) where !heartbeat.live && !forever: return stream.cancel()
        default: continue
        }
      }
    }
  }
}

struct EventsCompact: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compact", abstract: "Remove events past their retention now, instead of within the hour.",
    discussion: """
      Business events are kept for ever, operational and transient ones as long as the server's --keep-operational and --keep-transient \
      say ('spanwire events types' shows which is which). What a named consumer has not acknowledged is kept for it. Events of your own \
      tenant go; of every tenant's, with a role of the platform's own people in the tenant platform.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let done = try await EventsClient(try await connection.channel()).compactEvents(CompactEventsRequest())
      if json { try printJSON(done) } else { print("removed \(done.removed) events from \(done.pages) pages") }
    }
  }
}
