import Glibc
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireTLS
import Synchronization

/// Mixed load on a test server, as `tools/soak` wants it: all kinds of call, ended in all ways, over connections that come and go. The
/// same seed makes the same calls in the same order for each worker.
struct Load: Sendable {
  typealias Client = Grpc_Testing_TestServiceClient

  var connect: @Sendable () throws -> InteropClient.Connection
  var workers: Int
  var seconds: Int
  var seed: UInt64

  /// What calls did, and how many of them.
  final class Counts: Sendable {
    private let counts = Mutex<[String: Int]>([:])
    func add(_ what: String) { counts.withLock { $0[what, default: 0] += 1 } }
    var all: [(String, Int)] { counts.withLock { $0.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } } }
  }

  /// Calls that a worker makes over one connection, at most.
  private static let callsOnConnection = 200

  /// Runs until the time is up. Throws when a call ended otherwise than it was meant to.
  func run() async throws -> Counts {
    let counts = Counts()
    let end = Deadline.after(.seconds(seconds))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for worker in 0..<workers {
        var random = Random(state: seed &+ UInt64(worker) &* 0x9E37_79B9)
        group.addTask {
          while !end.hasPassed {
            let connection = try connect()
            counts.add("connections")
            let client = Client(connection.channel)
            for _ in 0..<Int.random(in: 1...Self.callsOnConnection, using: &random) where !end.hasPassed {
              try await call(client, &random, counts)
            }
            await connection.close()
          }
        }
      }
      try await group.waitForAll()
    }
    return counts
  }

  private func call(_ client: Client, _ random: inout Random, _ counts: Counts) async throws {
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<40:
      let size = Int.random(in: 0...20_000, using: &random)
      let payload = InteropClient.zeros(Int.random(in: 0...20_000, using: &random))
      let request = Grpc_Testing_SimpleRequest(responseSize: Int32(size), payload: payload)
      guard try await client.unaryCall(request).payload?.body.count ?? 0 == size else { throw InteropFailure("a response of another size") }
      counts.add("unary")
    case 40..<52:
      let messages = Int.random(in: 0...20, using: &random)
      let size = Int.random(in: 0...5_000, using: &random)
      let response = try await client.streamingInputCall { requests in
        for _ in 0..<messages { try await requests.write(.init(payload: InteropClient.zeros(size))) }
      }
      guard response.aggregatedPayloadSize == messages * size else { throw InteropFailure("a sum of another size") }
      counts.add("client streaming")
    case 52..<64:
      let wanted = (0..<Int.random(in: 0...20, using: &random)).map { _ in Int.random(in: 0...20_000, using: &random) }
      var sizes: [Int] = []
      let responses = try await client.streamingOutputCall(Self.request(wanted))
      for try await response in responses { sizes.append(response.payload?.body.count ?? 0) }
      guard sizes == wanted else { throw InteropFailure("responses of other sizes") }
      counts.add("server streaming")
    case 64..<76:
      let call = try await client.fullDuplexCall()
      for _ in 0..<Int.random(in: 0...10, using: &random) {
        let size = Int.random(in: 0...5_000, using: &random)
        try await call.requests.write(Self.request([size]))
        guard try await call.responses.next()?.payload?.body.count == size else { throw InteropFailure("a response of another size") }
      }
      call.requests.finish()
      guard try await call.responses.next() == nil else { throw InteropFailure("a response that nobody asked for") }
      counts.add("bidirectional")
    case 76..<86:
      // Cancelled after some of its answers: the server's handler is in the middle of its writing, or waits for room.
      let stream = try await client.streamingOutputCall(Self.request(Array(repeating: 10_000, count: 100)))
      for _ in 0..<Int.random(in: 0...20, using: &random) { _ = try await stream.next() }
      stream.cancel()
      counts.add("cancelled")
    case 86..<90:
      // Reads nothing for a while, so that windows and queues fill, then everything.
      let stream = try await client.streamingOutputCall(Self.request(Array(repeating: 20_000, count: 50)))
      try await Task.sleep(for: .milliseconds(Int.random(in: 1...300, using: &random)))
      var count = 0
      while try await stream.next() != nil { count += 1 }
      guard count == 50 else { throw InteropFailure("a slow reader got \(count) of 50") }
      counts.add("read slowly")
    case 90..<96:
      var request = Self.request([10])
      request.responseParameters[0].intervalUs = 1_000_000
      let timeout = Duration.milliseconds(Int.random(in: 1...50, using: &random))
      try await expect(.deadlineExceeded) {
        let stream = try await client.streamingOutputCall(request, options: CallOptions(timeout: timeout))
        while try await stream.next() != nil {}
      }
      counts.add("past their deadline")
    default:
      let code = Int32.random(in: 1...16, using: &random)
      try await expect(RPCError.Code(rawValue: UInt8(code))) {
        _ = try await client.unaryCall(Grpc_Testing_SimpleRequest(responseStatus: .init(code: code, message: "as asked")))
      }
      counts.add("refused")
    }
  }

  private static func request(_ sizes: [Int]) -> Grpc_Testing_StreamingOutputCallRequest {
    Grpc_Testing_StreamingOutputCallRequest(responseParameters: sizes.map { Grpc_Testing_ResponseParameters(size: Int32($0)) })
  }

  private func expect(_ code: RPCError.Code?, _ body: () async throws -> Void) async throws {
    do {
      try await body()
    } catch let error as RPCError where error.code == code {
      return
    }
    throw InteropFailure("a call went well that should have ended with \(code.map(\.name) ?? "an error")")
  }
}

/// SplitMix64.
struct Random: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}
