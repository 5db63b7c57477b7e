import SpanwireEventLoop
import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCServices

/// Listens to what the server of one connection says of a service's health (`grpc.health.v1.Health/Watch`).
///
/// A server that does not know the method is taken for healthy, as gRPC has it. When the call ends otherwise the server is not, until a new
/// call, after a pause, says so.
final class HealthWatch: @unchecked Sendable {
  // Sendable: all of it belongs to the loop.
  private let service: String
  private let channel: PinnedChannel
  private let loop: EventLoop
  private let backoff: ChannelBackoff
  private let random: @Sendable () -> Double
  /// nil says that the service serves.
  private let report: (RPCError?) -> Void
  private var task: Task<Void, Never>?
  private var timer: LoopTimer?
  private var failures = 0
  private var isStopped = false

  init(_ service: String, on connection: ClientConnection, pool: ClientPool, report: @escaping (RPCError?) -> Void) {
    self.service = service
    channel = PinnedChannel(pool: pool, connection: connection)
    loop = pool.loop
    backoff = pool.options.backoff
    random = pool.options.random
    self.report = report
  }

  func start() {
    task = Task.detached(executorPreference: loop) { [self] in await watch() }
  }

  func stop() {
    isStopped = true
    task?.cancel()
    timer?.disarm()
    timer = nil
  }

  private func watch() async {
    do {
      let request = Grpc_Health_V1_HealthCheckRequest(service: service)
      for try await response in try await Grpc_Health_V1_HealthClient(channel).watch(request) {
        if isStopped { return }
        failures = 0
        report(response.status == .serving ? nil : .unavailable("\(channel.connection.peerAddress): \(service) is \(response.status)"))
      }
      pause(.unavailable("\(channel.connection.peerAddress): the health of \(service) is watched no more"))
    } catch let error as RPCError where error.code == .unimplemented {
      if !isStopped { report(nil) }
    } catch {
      pause(.unavailable("\(channel.connection.peerAddress): the health of \(service) is unknown: \(error)"))
    }
  }

  private func pause(_ error: RPCError) {
    if isStopped { return }
    failures += 1
    report(error)
    if isStopped { return }
    let timer = LoopTimer(on: loop) { [unowned self] in
      self.timer = nil
      start()
    }
    self.timer = timer
    timer.arm(after: backoff.wait(afterFailures: failures, random: random()))
  }
}

/// A channel whose calls go over one given connection or nowhere. Nobody observes them: they are the channel's own.
struct PinnedChannel: Channel {
  let pool: ClientPool
  let connection: ClientConnection

  func unary<Request: Message, Response: Message>(
    _ request: Request, _ method: MethodDescriptor, _ options: CallOptions, returning: Response.Type
  ) async throws -> UnaryResponse<Response> {
    try await start(method, options).exchange(request, returning: Response.self)
  }

  func start(_ method: MethodDescriptor, _ options: CallOptions) async throws -> any ClientCall {
    let call = ClientStream(OutgoingCall(method, options, startsTrace: false), pool: pool, pinned: connection)
    if pool.loop.isCurrent { call.begin() } else { pool.loop.execute { call.begin() } }
    return call
  }
}
