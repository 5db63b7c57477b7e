import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWorker
import Synchronization

/// Which handlers serve which intents: those of this process, registered at boot, and those of workers, named in rows.
///
/// Of several, whoever is healthy and has the lowest priority number.
final class IntentRegistry: Sendable {
  private struct HandlerKey: Hashable {
    var intentType: String
    var handlerName: String
  }

  private struct BuiltIn {
    var info: IntentHandlerInfo
    var run: IntentHandler
  }

  private struct State {
    var builtIn: [HandlerKey: BuiltIn] = [:]
    /// When a handler was not to be reached last; at most so many as there are handlers.
    var failures: [HandlerKey: Int64] = [:]
  }

  private let environment: ServiceEnvironment
  private let workers: AgentWorkerClient
  private let state = Mutex(State())

  init(environment: ServiceEnvironment, workers: AgentWorkerClient) {
    self.environment = environment
    self.workers = workers
  }

  /// Names a handler for an intent. With a function, it serves in this process; without, workers do under that name.
  func registerIntent(
    _ intentType: String, handlerName: String, priority: UInt32 = 100, handler: @escaping IntentHandler, metadata: [String: String] = [:]
  ) {
    let info = IntentHandlerInfo(
      intentType: intentType, handlerName: handlerName, priority: priority, metadata: .init(metadata), builtIn: true, healthy: true)
    state.withLock {
      $0.builtIn[HandlerKey(intentType: intentType, handlerName: handlerName)] = BuiltIn(info: info, run: handler)
    }
  }

  func function(_ handler: IntentHandlerInfo) -> IntentHandler? {
    state.withLock { $0.builtIn[HandlerKey(intentType: handler.intentType, handlerName: handler.handlerName)]?.run }
  }

  func isBuiltIn(_ intentType: String, _ handlerName: String) -> Bool {
    state.withLock { $0.builtIn[HandlerKey(intentType: intentType, handlerName: handlerName)] != nil }
  }

  /// Every handler that a tenant can use, of one intent or of all: its own word before that of tenant platform, before the built-in.
  func handlers(of intentType: String, tenant: String) async throws -> [IntentHandlerInfo] {
    let builtIn = state.withLock { state in
      state.builtIn.values.map(\.info).filter { intentType.isEmpty || $0.intentType == intentType }
    }
    let rows = try await environment.database.scan { snapshot in
      try HandlerStore.handlers(snapshot, tenant: Caller.platformTenant, intentType: intentType)
        + (tenant == Caller.platformTenant ? [] : try HandlerStore.handlers(snapshot, tenant: tenant, intentType: intentType))
    }
    var found: [HandlerKey: IntentHandlerInfo] = [:]
    for info in builtIn + rows {
      let key = HandlerKey(intentType: info.intentType, handlerName: info.handlerName)
      var info = info
      info.builtIn = found[key]?.builtIn ?? info.builtIn
      found[key] = info
    }
    return found.values.sorted {
      ($0.intentType, $0.priority, $0.handlerName) < ($1.intentType, $1.priority, $1.handlerName)
    }
  }

  /// The same with how they are at the moment.
  func examined(of intentType: String, tenant: String) async throws -> [IntentHandlerInfo] {
    var handlers = try await handlers(of: intentType, tenant: tenant)
    for index in handlers.indices {
      let handler = handlers[index]
      let failedAt = state.withLock { $0.failures[HandlerKey(intentType: handler.intentType, handlerName: handler.handlerName)] }
      handlers[index].failedAt = failedAt.map { .init(nanosecondsSinceEpoch: $0) }
      if !handler.builtIn {
        let offer = HandlerOffer(intentType: handler.intentType, handlerName: handler.handlerName)
        handlers[index].workers = try await workers.getHandlerCapacity(offer).workers
      }
      let hasRested = failedAt.map { environment.clock.now - $0 >= ExecutionsLimits.handlerRest.nanoseconds } ?? true
      handlers[index].healthy = !handler.disabled && hasRested && (handler.builtIn || handlers[index].workers > 0)
    }
    return handlers
  }

  /// Who is to serve an intent now; nil while nobody is there. One that rests is asked when there is no other.
  func choose(_ intentType: String, tenant: String) async throws -> IntentHandlerInfo? {
    let handlers = try await examined(of: intentType, tenant: tenant)
    return handlers.first(where: \.healthy) ?? handlers.first { !$0.disabled && ($0.builtIn || $0.workers > 0) }
  }

  /// A handler was not to be reached.
  func noteFailure(of handler: IntentHandlerInfo) {
    let key = HandlerKey(intentType: handler.intentType, handlerName: handler.handlerName)
    state.withLock { state in
      if state.failures.count >= ExecutionsLimits.handlers, state.failures[key] == nil { state.failures = [:] }
      state.failures[key] = environment.clock.now
    }
  }
}
