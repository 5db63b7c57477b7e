import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Following the registry: past revisions from their rows, coming ones as the log tells of them.
extension RegistryServer {
  public func watch(_ request: WatchRequest, responses: ResponseWriter<RegistryChange>, context: ServerContext) async throws {
    let tenant = try Caller(context).tenant
    let database = environment.database
    let head = try await database.read { try RegistryStore.head($0, tenant).revision }
    guard request.afterRevision <= head else {
      throw RPCError.outOfRange("the registry is at revision \(head), \(request.afterRevision) lies ahead")
    }
    var told = request.afterRevision == 0 ? head : request.afterRevision
    // The log says that there is something new; the rows say what. A wake for what was sent already sends nothing.
    let (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let log = environment.log
    let follower = Task {
      defer { wake.finish() }
      try await log.deliver(
        LogFilter(types: ["registry.applied", "registry.rolled_back"], tenant: tenant), from: .now,
        to: LogSink(
          take: { delivery in
            if case .discontinuity = delivery { return true }
            wake.yield()
            return true
          }, drained: {}))
    }
    let token = context.onCancel {
      follower.cancel()
      wake.finish()
    }
    defer {
      context.forget(token)
      follower.cancel()
    }
    responses.sendMetadata()
    for await _ in wakes {
      try context.checkCancellation()
      told = try await send(after: told, tenant, responses)
    }
    try context.checkCancellation()
    throw RPCError.unavailable("the server stops; watch again after revision \(told)")
  }

  /// Sends the revisions there are after one; the last that was sent.
  private func send(after revision: UInt64, _ tenant: String, _ responses: ResponseWriter<RegistryChange>) async throws -> UInt64 {
    var told = revision
    while true {
      let after = told
      let page = try await environment.database.scan {
        try RegistryStore.revisions($0, tenant, after: after, limit: RegistryLimits.watchPage)
      }
      for revision in page {
        try await responses.write(revision.change)
        told = revision.revision
      }
      if page.count < RegistryLimits.watchPage { return told }
    }
  }
}
