import Synchronization

/// What a piece of work carries with it: until when, for whom, as part of which trace, and whether it is still wanted.
///
/// It is ambient: `CallContext.current` is set while a handler runs, and every client call made below inherits from it without being
/// told. There is one task-local value in the whole library, and this object is it.
public class CallContext: @unchecked Sendable {
  // Sendable: everything is immutable but the atomic and what `shared` locks.

  /// The context of the running task; nil outside of calls.
  @TaskLocal public static var current: CallContext?

  /// When the work must have ended.
  public let deadline: Deadline
  /// The span of this work; nil when nobody traces.
  public let trace: TraceContext?
  /// Where unstructured work of this call should run: the loop of the connection that it came in by.
  public let executor: (any TaskExecutor)?

  private let cancelled = Atomic<UInt8>(0)
  private let shared: Mutex<Shared>

  private struct Shared {
    var principal: Principal
    var handlers: [(id: Int, run: @Sendable () -> Void)] = []
    var nextHandler = 1
  }

  /// A context; without a deadline, a credential and a trace unless given.
  public init(
    deadline: Deadline = .never, principal: Principal = .anonymous, trace: TraceContext? = nil, executor: (any TaskExecutor)? = nil
  ) {
    self.deadline = deadline
    self.trace = trace
    self.executor = executor
    shared = Mutex(Shared(principal: principal))
  }

  /// Who asked for this work. Interceptors that check credentials set it before the handler runs.
  public var principal: Principal {
    get { shared.withLock { $0.principal } }
    set { shared.withLock { $0.principal = newValue } }
  }

  /// What is left until the deadline; nil without one.
  public var remaining: Duration? { deadline.remaining }

  /// Whether nobody waits for the result any more.
  public var isCancelled: Bool { cancelled.load(ordering: .acquiring) != 0 }

  /// CANCELLED or DEADLINE_EXCEEDED once the work is unwanted.
  public var cancellationCode: RPCError.Code? { RPCError.Code(rawValue: cancelled.load(ordering: .acquiring)) }

  /// Throws what ended the call, if something did.
  public func checkCancellation() throws {
    if let code = cancellationCode { throw RPCError(code, code == .deadlineExceeded ? "deadline exceeded" : "cancelled") }
    try Task.checkCancellation()
  }

  /// Runs an action as soon as the work is cancelled or its deadline passes, or now if that has happened.
  ///
  /// It runs on whatever thread cancels, a transport's loop often: it must return at once. The token takes it back.
  @discardableResult
  public func onCancel(_ action: @escaping @Sendable () -> Void) -> CancellationToken {
    let id = shared.withLock { shared -> Int in
      if isCancelled { return 0 }
      let id = shared.nextHandler
      shared.nextHandler += 1
      shared.handlers.append((id, action))
      return id
    }
    if id == 0 { action() }
    return CancellationToken(id: id)
  }

  /// Takes back an `onCancel` action that has not run.
  public func forget(_ token: CancellationToken) {
    shared.withLock { $0.handlers.removeAll { $0.id == token.id } }
  }

  /// How many `onCancel` actions wait.
  var pendingActions: Int { shared.withLock { $0.handlers.count } }

  /// Marks the work as unwanted and runs the `onCancel` actions; the first code stands.
  public func cancel(_ code: RPCError.Code = .cancelled) {
    let handlers = shared.withLock { shared -> [(id: Int, run: @Sendable () -> Void)] in
      guard cancelled.compareExchange(expected: 0, desired: code.rawValue, ordering: .acquiringAndReleasing).exchanged else { return [] }
      defer { shared.handlers = [] }
      return shared.handlers
    }
    for handler in handlers { handler.run() }
  }

  /// Runs an operation in a context of its own: a dispatcher that acts for somebody, a job with a deadline.
  public static func with<Result>(
    deadline: Deadline = .never, principal: Principal, trace: TraceContext? = nil, _ operation: () async throws -> Result
  ) async rethrows -> Result {
    let context = CallContext(deadline: deadline, principal: principal, trace: trace, executor: current?.executor)
    return try await $current.withValue(context, operation: operation)
  }
}

/// Names an `onCancel` action, to take it back.
public struct CancellationToken: Sendable, Hashable {
  let id: Int
}
