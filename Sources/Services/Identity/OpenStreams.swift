import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// The streams that callers from outside hold open, so that one whose credential no longer stands is ended.
///
/// There are as many as the transport lets in.
final class OpenStreams: Sendable {
  private struct Held {
    let call: any ServerCall
    /// What it was ended with; nil while it goes on.
    var verdict: RPCError?
  }

  private let held = Mutex<[ObjectIdentifier: Held]>([:])

  /// The contexts of those that go on.
  var contexts: [ServerContext] {
    held.withLock { $0.values.compactMap { $0.verdict == nil ? $0.call.context : nil } }
  }

  func open(_ call: any ServerCall) { held.withLock { $0[ObjectIdentifier(call.context)] = Held(call: call) } }

  /// The handler is done; returns what the stream was ended with, if it was.
  func close(_ context: ServerContext) -> RPCError? { held.withLock { $0.removeValue(forKey: ObjectIdentifier(context)) }?.verdict }

  /// Ends a stream that goes on.
  func end(_ context: ServerContext, with error: RPCError) {
    let call = held.withLock { held -> (any ServerCall)? in
      let id = ObjectIdentifier(context)
      guard let entry = held[id], entry.verdict == nil else { return nil }
      held[id]?.verdict = error
      return entry.call
    }
    call?.end(context, with: error)
  }
}

extension Principal {
  /// Whether somebody who was let in as this principal would be so again: nothing of it was taken away.
  func isStill(_ now: Principal) -> Bool {
    kind == now.kind && id == now.id && tenant == now.tenant && organization == now.organization && scopes == now.scopes
      && roles.allSatisfy(now.roles.contains) && segments.allSatisfy(now.segments.contains)
      && onBehalfOf.map { mine in now.onBehalfOf.map(mine.isStill) ?? false } ?? true
  }
}
