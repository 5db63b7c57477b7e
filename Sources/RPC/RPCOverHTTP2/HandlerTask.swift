import SpanwireEventLoop
import SpanwireRPC

/// A task that runs the handlers of a loop's calls, one after the other.
///
/// To make a task and to take it apart costs as much as all else that a short call asks of the task machinery. So a task whose handler has
/// ended waits for the next call instead of ending. One that was cancelled stays cancelled: it ends with its call.
final class HandlerTask: @unchecked Sendable {
  // Sendable: everything belongs to the loop.

  private let home: ServerLoop
  private var task: Task<Void, Never>?
  private var call: ServerStream?
  private var isCancelled = false
  private var idle: UnsafeContinuation<Void, Never>?
  /// Links the tasks that wait for a call.
  var nextIdle: HandlerTask?

  init(_ home: ServerLoop) { self.home = home }

  /// Begins to serve a call. A new task runs at once until its handler first waits; one that has served before runs when the loop next
  /// runs its tasks.
  func serve(_ call: ServerStream) {
    self.call = call
    if let idle {
      self.idle = nil
      idle.resume()
    } else {
      let task = Task.immediate(executorPreference: home.loop) { await self.run() }
      if self.call != nil || idle != nil { self.task = task }
    }
  }

  /// Tells the handler that nobody waits for its result.
  func cancel() {
    isCancelled = true
    task?.cancel()
  }

  /// Ends a task that waits for a call.
  func dismiss() {
    idle?.resume()
    idle = nil
  }

  private func run() async {
    let home = self.home
    let router = home.router
    while call != nil {
      // In a scope of its own, so that nothing of the call is held while the task waits.
      do {
        let call = self.call!
        let route = call.route!.takeUnretainedValue()
        let context = call.context
        let start: Deadline
        var error: RPCError?
        (start, error) = router.begin(route, context)
        if error == nil {
          do {
            try await CallContext.$current.withValue(context) { try await route.body(call) }
          } catch let failure {
            error = RPCError.outcome(of: failure, in: context)
          }
        }
        call.handlerEnded(router.end(route, call, context, start, error))
        self.call = nil
      }
      // Off its loop after a handler that left by a task executor of its own, it must not touch the loop's state.
      guard home.loop.isCurrent, !isCancelled, home.keep(self) else { break }
      // The spelling that stays where it is: the plain one asks the task for its executor before and after.
      await _unsafeInheritExecutor_withUnsafeContinuation { idle = $0 }
    }
    task = nil
  }
}
