import SpanwireRPC
import Synchronization

/// `grpc.health.v1.Health`: whether the server, and each of its services, can serve.
///
/// The empty name stands for the whole server. A service that serves nothing any more is told by `set`; a server that is about to leave says
/// so for all by `drain`.
public final class HealthService: Grpc_Health_V1_HealthService {
  /// Whether a service can serve.
  public typealias Status = Grpc_Health_V1_HealthCheckResponse.ServingStatus

  private let state: Mutex<State>

  private struct State {
    var statuses: [String: Status]
    var isDraining = false
    var watchers: [Int: Watcher] = [:]
    var nextWatcher = 0

    func tell(_ service: String) {
      for watcher in watchers.values where watcher.service == service {
        watcher.feed.yield(statuses[service] ?? .serviceUnknown)
      }
    }
  }

  private struct Watcher {
    let service: String
    let feed: AsyncStream<Status>.Continuation
  }

  /// All services serve from the start.
  public init(services: [ServiceDescriptor]) {
    var statuses: [String: Status] = ["": .serving]
    for service in services { statuses[service.fullName] = .serving }
    state = Mutex(State(statuses: statuses))
  }

  /// The service, ready for a router.
  public var routes: ServiceRoutes { Grpc_Health_V1_Health.routes(self) }

  /// Says whether a service serves; `""` is the server. While draining nothing does.
  public func set(_ service: String, isServing: Bool) {
    state.withLock { state in
      state.statuses[service] = isServing && !state.isDraining ? .serving : .notServing
      state.tell(service)
    }
  }

  /// Says of everything that it serves no more, so that callers turn away before connections close. Watchers hear it and are dismissed, since
  /// nothing else would follow and their calls would hold the server up.
  public func drain() {
    state.withLock { state in
      state.isDraining = true
      for service in Array(state.statuses.keys) {
        state.statuses[service] = .notServing
        state.tell(service)
      }
      for watcher in state.watchers.values { watcher.feed.finish() }
    }
  }

  /// The status now; NOT_FOUND for a service that was never named.
  public func check(
    _ request: Grpc_Health_V1_HealthCheckRequest, context: ServerContext
  ) async throws -> Grpc_Health_V1_HealthCheckResponse {
    guard let status = state.withLock({ $0.statuses[request.service] }) else {
      throw RPCError.notFound("unknown service \(request.service)")
    }
    return Grpc_Health_V1_HealthCheckResponse(status: status)
  }

  /// The status of every service.
  public func list(
    _ request: Grpc_Health_V1_HealthListRequest, context: ServerContext
  ) async throws -> Grpc_Health_V1_HealthListResponse {
    let statuses = state.withLock { $0.statuses }
    var response = Grpc_Health_V1_HealthListResponse()
    for (service, status) in statuses.sorted(by: { $0.key < $1.key }) {
      response.statuses[service] = Grpc_Health_V1_HealthCheckResponse(status: status)
    }
    return response
  }

  /// Sends the status now and at every change; SERVICE_UNKNOWN for a service that is not there, or not yet.
  public func watch(
    _ request: Grpc_Health_V1_HealthCheckRequest, responses: ResponseWriter<Grpc_Health_V1_HealthCheckResponse>, context: ServerContext
  ) async throws {
    // A slow watcher needs the latest status only.
    let (changes, feed) = AsyncStream.makeStream(of: Status.self, bufferingPolicy: .bufferingNewest(1))
    let id = state.withLock { state in
      state.nextWatcher += 1
      state.watchers[state.nextWatcher] = Watcher(service: request.service, feed: feed)
      feed.yield(state.statuses[request.service] ?? .serviceUnknown)
      if state.isDraining { feed.finish() }
      return state.nextWatcher
    }
    defer { _ = state.withLock { $0.watchers.removeValue(forKey: id) } }
    var last: Status?
    for await status in changes where status != last {
      last = status
      try await responses.write(Grpc_Health_V1_HealthCheckResponse(status: status))
    }
    try context.checkCancellation()
    throw RPCError.unavailable("the server is shutting down")
  }
}
