import SpanwireRPC
import Synchronization

/// What a call ended with: settled once, by whoever is first, and awaited by one.
final class CallEnd: Sendable {
  private let state = Mutex(State())

  private struct State {
    var outcome: RPCError??
    var waiter: UnsafeContinuation<RPCError?, Never>?
  }

  func settle(_ outcome: RPCError?) {
    let waiter = state.withLock { state -> UnsafeContinuation<RPCError?, Never>? in
      guard state.outcome == nil else { return nil }
      state.outcome = .some(outcome)
      defer { state.waiter = nil }
      return state.waiter
    }
    waiter?.resume(returning: outcome)
  }

  func outcome() async -> RPCError? {
    await withUnsafeContinuation { continuation in
      let settled = state.withLock { state -> RPCError?? in
        if state.outcome == nil { state.waiter = continuation }
        return state.outcome
      }
      if let settled { continuation.resume(returning: settled) }
    }
  }
}

/// Leading metadata that is there at some moment and then stays.
final class MetadataGate: Sendable {
  private let state = Mutex(State())

  private struct State {
    var metadata: Metadata?
    var waiters: [Int: UnsafeContinuation<Void, Never>] = [:]
    var next = 0
  }

  /// The first opening counts.
  func open(_ metadata: Metadata) {
    let waiters = state.withLock { state -> [Int: UnsafeContinuation<Void, Never>] in
      guard state.metadata == nil else { return [:] }
      state.metadata = metadata
      defer { state.waiters = [:] }
      return state.waiters
    }
    for waiter in waiters.values { waiter.resume() }
  }

  func metadata() async throws -> Metadata {
    let id = state.withLock { state in
      state.next += 1
      return state.next
    }
    while true {
      if let metadata = state.withLock({ $0.metadata }) { return metadata }
      try Task.checkCancellation()
      await withTaskCancellationHandler {
        await withUnsafeContinuation { continuation in
          let now = state.withLock { state in
            if state.metadata != nil || Task.isCancelled { return true }
            state.waiters[id] = continuation
            return false
          }
          if now { continuation.resume() }
        }
      } onCancel: {
        state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
      }
    }
  }
}

/// Ends a call when its deadline passes.
struct DeadlineTimer: Sendable {
  private let task: Task<Void, Never>

  init(_ context: ServerContext) {
    let remaining = context.deadline.remaining ?? .zero
    task = Task { [weak context] in
      do { try await Task.sleep(for: remaining, clock: .continuous) } catch { return }
      context?.cancel(.deadlineExceeded)
    }
  }

  func stop() { task.cancel() }
}
