import ArgumentParser
import SpanwireProtobuf
import SpanwireSchema

struct EventsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "events", abstract: "Read the event log, and keep it.",
    subcommands: [
      EventsTail.self, EventsExport.self, EventsTypes.self, EventsConsumers.self, EventsReplay.self, EventsListen.self, EventsCompact.self,
    ], defaultSubcommand: EventsTail.self)
}

/// Which events a command is about.
struct EventFilterOptions: ParsableArguments {
  @Option(name: .customLong("type"), help: "Only types that match this glob, such as 'journey.*'; may be given several times.")
  var types: [String] = []
  @Option(help: "Only this session.") var session: String = ""
  @Option(help: "Only this journey.") var journey: String = ""
  @Option(help: "Only this trace, 32 hex digits.") var trace: String = ""
  @Option(name: .customLong("lane"), help: "Only this lane: control, data or telemetry; may be given several times.") var lanes: [String] =
    []

  func filter() throws -> EventFilter {
    let traceID: [UInt8]
    if trace.isEmpty {
      traceID = []
    } else if let id = bytes(hex: trace), id.count == 16 {
      traceID = id
    } else {
      throw ValidationError("a trace id has 32 hex digits, '\(trace)' does not")
    }
    let lanes: [Lane] = try lanes.map {
      switch $0 {
      case "control": .control
      case "data": .data
      case "telemetry": .telemetry
      default: throw ValidationError("a lane is control, data or telemetry, not '\($0)'")
      }
    }
    return EventFilter(types: types, productRuntimeSessionID: session, journeyInstanceID: journey, traceID: traceID, lanes: lanes)
  }

  mutating func validate() throws { _ = try filter() }
}

struct EventsTail: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tail", abstract: "Follow the events, from a cursor or from now on.",
    discussion: """
      Without --cursor and --from-start it begins with the next event. Every line begins with the event's position, which is the \
      cursor to resume after. With --until-end it stops at the log's present end. With --consumer the server keeps the place: the \
      command begins after what was acknowledged under that name, and acknowledges every event that it has printed.
      """)

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var wanted: EventFilterOptions
  @Option(help: "Resume after this position.") var cursor: String = ""
  @Flag(help: "Begin with the first event there is.") var fromStart = false
  @Flag(help: "Stop at the log's present end.") var untilEnd = false
  @Flag(help: "Shed events rather than fall behind; losses are told.") var live = false
  @Option(help: "Go on where this named consumer is, and move it along.") var consumer: String = ""
  @Option(help: "Stop after so many events.") var limit: Int?
  @Flag(help: "Print JSON, one envelope a line.") var json = false

  mutating func validate() throws {
    if !consumer.isEmpty, !cursor.isEmpty || fromStart {
      throw ValidationError("--consumer knows where to begin: no --cursor, no --from-start")
    }
  }

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      let events = EventsClient(try await connection.channel())
      var request = SubscribeRequest(filter: try wanted.filter(), cursor: cursor, consumer: consumer)
      request.fromNow = cursor.isEmpty && !fromStart && consumer.isEmpty
      request.mode = live ? .live : .complete
      request.untilEnd = untilEnd
      var seen = 0
      for try await response in try await events.subscribe(request) {
        switch response.item {
        case .event(let event):
          if json { try printJSON(event) } else { print(line(of: event)) }
          seen += 1
          let isLast = limit.map { seen >= $0 } ?? false
          // Whoever is cut off sees a few events again rather than never.
          if !consumer.isEmpty, isLast || seen.isMultiple(of: 100) { try await acknowledge(event.logPosition, events) }
          if isLast { return }
        case .discontinuity(let gap):
          print("… lost \(gap.count) events of lane \(gap.lane), \(gap.firstPosition) to \(gap.lastPosition)")
        case .heartbeat(let heartbeat):
          if !consumer.isEmpty { try await acknowledge(heartbeat.cursor, events) }
        case nil:
          continue
        }
      }
    }
  }

  private func acknowledge(_ cursor: String, _ events: EventsClient) async throws {
    _ = try await events.acknowledgeEvents(AcknowledgeEventsRequest(consumer: consumer, cursor: cursor))
  }
}

struct EventsTypes: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "types", abstract: "List the event types there are.")

  @OptionGroup var connection: ConnectionOptions
  @Flag(help: "Print JSON, one type a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let types = try await EventsClient(try await connection.channel()).listEventTypes(ListEventTypesRequest()).types
      if json {
        for type in types { try printJSON(type) }
      } else {
        printTable(
          ["TYPE", "LANE", "RETENTION", "PAYLOAD"], types.map { [$0.type, "\($0.lane)", "\($0.retention)", $0.messageType] })
      }
    }
  }
}

/// `12 14:03:21.123Z control ops.incident.created PRS-… {…}`
func line(of event: EventEnvelope) -> String {
  let lane: String =
    switch event.lane {
    case .control: "control  "
    case .data: "data     "
    case .telemetry: "telemetry"
    default: "?        "
    }
  var ids = [event.productRuntimeSessionID, event.journeyInstanceID, event.agentTaskID].filter { !$0.isEmpty }
  if ids.isEmpty { ids = [event.producer] }
  let payload = payloadJSON(event)
  return printable("\(event.logPosition) \(timeOfDay(event.occurredAt)) \(lane) \(event.type) \(ids.joined(separator: " ")) \(payload)")
}

/// The payload alone, as JSON; its type when this program does not know it.
func payloadJSON(_ event: EventEnvelope) -> String {
  guard let payload = event.payload else { return "" }
  let name = payload.typeURL.split(separator: "/").last.map(String.init) ?? ""
  return (try? DescriptorPool.generated.json(from: payload.value, type: name)) ?? "(\(payload.typeURL), \(payload.value.count) bytes)"
}
