import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireSchema

/// One traveller, who makes one call after the other and waits for each.
final class LoadCaller: @unchecked Sendable {
  // Sendable: one task at a time has it, on one loop.
  let number: Int
  private let options: LoadOptions
  private let gateway: ProductRuntimeGatewayClient
  private let decisions: LoadDecisions
  private var operations = 0
  /// The session whose journey she walks, and where.
  private var walked = ""
  private var node = "left"
  private(set) var journey = ""

  /// What was acknowledged: sessions by key, and the steps of the journey.
  private(set) var sessions: [(key: String, id: String)] = []
  private var steps = 0
  var stepsTaken: (journey: String, steps: Int) { (journey, steps) }
  private(set) var microseconds: [UInt32] = []
  /// Calls made again because no answer had come.
  private(set) var again = 0

  init(number: Int, channel: HTTP2Channel, options: LoadOptions) {
    self.number = number
    self.options = options
    decisions = LoadDecisions(channel)
    gateway = ProductRuntimeGatewayClient(
      channel.intercepted(by: [CallCredentials.bearer("dev:user:USR-\(options.run)-\(number):vienna:traveller")]))
  }

  func prepare() async throws {
    _ = try await gateway.listSessions(ListSessionsRequest(pageSize: 1))  // the connection
    guard options.work == .steps || options.work == .mixed else { return }
    walked = try await open("\(key)-walked", product: "PRD-TURNS")
    let request = StartSessionJourneyRequest(idempotencyKey: "\(key)-start", productRuntimeSessionID: walked)
    journey = try await insist { try await self.gateway.startJourney(request, options: $0) }.journeyInstanceID
  }

  /// The next operation, acknowledged.
  func operate() async throws {
    let begin = Deadline.now()
    operations += 1
    switch options.work {
    case .decisions, .flags, .tools: try await ask()
    case .sessions: _ = try await open("\(key)-\(operations)", product: "PRD-VIEN-COFFEE-PASS")
    case .mixed where operations % 5 == 0: _ = try await open("\(key)-\(operations)", product: "PRD-VIEN-COFFEE-PASS")
    case .steps, .mixed: try await step("\(key)-\(operations)")
    }
    microseconds.append(UInt32(clamping: (Deadline.now().nanoseconds - begin.nanoseconds) / 1_000))
  }

  private func ask() async throws {
    switch options.work {
    case .flags: try await decisions.flag()
    case .tools: try await decisions.tool(number)
    default: try await decisions.ask(number + operations)
    }
  }

  private var key: String { "\(options.run)-\(number)" }

  private func open(_ key: String, product: String) async throws -> String {
    let request = OpenSessionRequest(idempotencyKey: key, productID: product, marketCode: "AT-VIE", segments: ["tourist"])
    let session = try await insist { try await self.gateway.openSession(request, options: $0) }
    guard session.state == .ready else { throw RPCError(.failedPrecondition, "the session is not ready: \(session.stateReason)") }
    sessions.append((key, session.productRuntimeSessionID))
    return session.productRuntimeSessionID
  }

  private func step(_ key: String) async throws {
    let request = AdvanceSessionJourneyRequest(
      idempotencyKey: key, productRuntimeSessionID: walked, nodeID: node, step: .choose(Choose(option: "on")))
    _ = try await insist { try await self.gateway.advanceJourney(request, options: $0) }
    steps += 1
    node = node == "left" ? "right" : "left"
  }

  /// Makes a call until it is answered: what may or may not have happened is asked again under the same key.
  private func insist<Response>(_ call: (CallOptions) async throws -> Response) async throws -> Response {
    let end = Deadline.after(.seconds(options.patience))
    while true {
      do {
        return try await call(CallOptions(timeout: .seconds(30), waitForReady: options.patience > 0))
      } catch let error as RPCError where error.code == .unavailable && Deadline.now() < end {
        again += 1
        try await Task.sleep(for: .milliseconds(10))
      }
    }
  }
}
