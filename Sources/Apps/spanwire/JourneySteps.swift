import ArgumentParser
import SpanwireRPC
import SpanwireSchema

/// What every step of the traveller's says.
struct StepOptions: ParsableArguments {
  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The session whose journey it is, PRS-….") var session: String
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print the journey as JSON.") var json = false

  var key: String { idempotencyKey ?? newIdempotencyKey() }

  /// Takes a step and shows where the journey stands then.
  ///
  /// - Parameters:
  ///   - node: where the step is taken; nil where the traveller stands, if that is one node of the kind.
  ///   - kind: the kind of node that takes the step; nil for a step that needs no node.
  func take(_ step: AdvanceSessionJourneyRequest.Step, at node: String? = nil, kind: String?) async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await connection.channel())
      var request = AdvanceSessionJourneyRequest(idempotencyKey: key, productRuntimeSessionID: session, step: step)
      if let node {
        request.nodeID = node
      } else if let kind {
        request.nodeID = try await standing(kind, gateway)
      }
      try show(try await gateway.advanceJourney(request), json: json)
    }
  }

  private func standing(_ kind: String, _ gateway: ProductRuntimeGatewayClient) async throws -> String {
    let journey = try await gateway.getJourney(GetSessionJourneyRequest(productRuntimeSessionID: session))
    let nodes = journey.nodes.filter { journey.standingNodeIds.contains($0.nodeID) && $0.kind == kind }
    switch nodes.count {
    case 1: return nodes[0].nodeID
    case 0:
      let stands = journey.standingNodeIds.isEmpty ? "\(journey.state)" : "at " + journey.standingNodeIds.joined(separator: ", ")
      throw CheckFailed(message: "the journey is \(stands): no \(kind) takes this step")
    default: throw ValidationError("name the node with --node: \(nodes.map(\.nodeID).joined(separator: ", "))")
    }
  }
}

struct JourneyStart: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "start", abstract: "Start the session's journey.")

  @OptionGroup var step: StepOptions
  @Option(help: "Where the document is entered.") var entryPoint: String = "start"

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await step.connection.channel())
      let request = StartSessionJourneyRequest(
        idempotencyKey: step.key, productRuntimeSessionID: step.session, entryPoint: entryPoint)
      try show(try await gateway.startJourney(request), json: step.json)
    }
  }
}

struct JourneyArrive: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "arrive", abstract: "Arrive at the place the visit is for.")

  @OptionGroup var step: StepOptions
  @Option(help: "The place, to be sure that it is the one.") var place: String = ""
  @Option(help: "The visit's node, where several are open.") var node: String?

  func run() async throws { try await step.take(.arrived(Arrived(servicePointID: place)), at: node, kind: "visit") }
}

struct JourneyRedeem: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "redeem", abstract: "Redeem at the place last arrived at; again, after it has failed.")

  @OptionGroup var step: StepOptions
  @Option(help: "The node, where several are open.") var node: String?

  func run() async throws { try await step.take(.redeem(Redeem()), at: node, kind: "redeem") }
}

struct JourneyChoose: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "choose", abstract: "Choose one of the options that are offered.")

  @OptionGroup var step: StepOptions
  @Argument(help: "The option; 'spanwire journeys show' lists them.") var option: String
  @Option(help: "The choice's node, where several are open.") var node: String?

  func run() async throws { try await step.take(.choose(Choose(option: option)), at: node, kind: "choice") }
}

struct JourneyRead: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "read", abstract: "Say that a message was read.")

  @OptionGroup var step: StepOptions
  @Option(help: "The message's node, where several are open.") var node: String?

  func run() async throws { try await step.take(.acknowledge(Acknowledge()), at: node, kind: "message") }
}

struct JourneySignal: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "signal", abstract: "Send the journey a signal.",
    discussion: "It is recorded, ends every node that waits for it, and later conditions can ask for it.")

  @OptionGroup var step: StepOptions
  @Argument(help: "The signal's name.") var name: String
  @Argument(help: "What goes with it.") var value: String = ""

  func run() async throws { try await step.take(.signal(Signal(name: name, value: value)), kind: nil) }
}

struct JourneyAbandon: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "abandon", abstract: "Give the journey up; the session goes on without it.")

  @OptionGroup var step: StepOptions
  @Option(help: "Why.") var reason: String = ""

  func run() async throws {
    try await reportingFailures {
      let gateway = ProductRuntimeGatewayClient(try await step.connection.channel())
      let request = AbandonSessionJourneyRequest(idempotencyKey: step.key, productRuntimeSessionID: step.session, reason: reason)
      try show(try await gateway.abandonJourney(request), json: step.json)
    }
  }
}
