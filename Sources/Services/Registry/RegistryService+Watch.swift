import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// Following the registry: past revisions from their rows, coming ones as the log tells of them.
extension RegistryServer {
  /// The events that tell of a revision.
  static let changeTypes: [TypeGlob] = ["registry.applied", "registry.rolled_back"]

  public func watch(_ request: WatchRequest, responses: ResponseWriter<RegistryChange>, context: ServerContext) async throws {
    let news = RevisionNews()
    var tenant: String?
    if request.everyTenant {
      // A service that acts for nobody but itself, such as the gateway that keeps what it resolved.
      guard context.principal.subject.kind == .service else {
        throw RPCError.denied(.policyDenied, rule: "R3-cross-tenant", "only a service follows all tenants, and for itself alone")
      }
      guard request.afterRevision == 0 else {
        throw RPCError.invalidField("after_revision", "is a revision of one tenant: every_tenant begins with the next change")
      }
    } else {
      let own = try Caller(context).tenant
      let head = try await environment.database.read { try RegistryStore.head($0, own).revision }
      guard request.afterRevision <= head else {
        throw RPCError.outOfRange("the registry is at revision \(head), \(request.afterRevision) lies ahead")
      }
      news.tell((request.afterRevision == 0 ? head : request.afterRevision) + 1, of: own)
      tenant = own
    }
    try await follow(tenant, news, responses, context)
  }

  private func follow(
    _ tenant: String?, _ news: RevisionNews, _ responses: ResponseWriter<RegistryChange>, _ context: ServerContext
  ) async throws {
    // The log says that there is something new; the rows say what. A wake for what was sent already sends nothing.
    let (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let log = environment.log
    let follower = Task {
      defer { wake.finish() }
      try await log.deliver(
        LogFilter(types: Self.changeTypes, tenant: tenant), from: .now,
        to: LogSink(
          take: { delivery in
            if case .event(let event) = delivery, let revision = try ToldRevision(event) {
              news.tell(revision.number, of: event.header.tenant)
            }
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
    var told: [String: UInt64] = [:]
    var isLive = false
    // The first wake says that the log is followed. Only then do the headers go out, so that whoever has them misses nothing.
    for await _ in wakes {
      try context.checkCancellation()
      if !isLive { responses.sendMetadata() }
      isLive = true
      for (tenant, first) in news.take() {
        told[tenant] = try await send(after: max(first - 1, told[tenant] ?? 0), tenant, responses)
      }
    }
    try context.checkCancellation()
    throw RPCError.unavailable("the server stops; watch again")
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

/// Which tenants have revisions that a watcher was not sent, and from which on: as many entries as there are tenants.
private final class RevisionNews: Sendable {
  private let first = Mutex<[String: UInt64]>([:])

  func tell(_ revision: UInt64, of tenant: String) {
    first.withLock { $0[tenant] = min($0[tenant] ?? revision, revision) }
  }

  func take() -> [String: UInt64] {
    first.withLock { first in
      defer { first = [:] }
      return first
    }
  }
}
