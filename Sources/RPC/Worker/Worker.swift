import Glibc
import SpanwireRPC
import SpanwireSchema
import Synchronization

/// Does agents' work for a Spanwire platform, over any channel to it: registers, takes tasks, answers them, says that it lives.
///
/// ```swift
/// let worker = Worker(id: "guide-1", agents: [
///   "vienna-journey-guide": { task in
///     try await task.progress("reading", percent: 30)
///     return WorkerAnswer(text: "Have a coffee.")
///   }
/// ])
/// try await worker.run(over: channel)
/// ```
///
/// What an agent throws is a failure, after which the platform tries again, here or elsewhere; `GiveUp` says that this would not help. A
/// task that nobody wants any more is cancelled, as Swift tasks are.
public struct Worker: Sendable {
  /// Does one task of an agent.
  public typealias Agent = @Sendable (WorkerTask) async throws -> WorkerAnswer

  private let registration: WorkerRegistration
  private let agents: [String: Agent]
  private let handlers: [HandlerName: IntentHandler]
  private let residentBytes: @Sendable () -> UInt64

  /// - Parameters:
  ///   - id: the worker's own name in its tenant; whoever attaches under it later takes its place.
  ///   - concurrency: tasks it works on at a time.
  ///   - maxClaim: a task that it holds longer is taken from it; nil for the platform's default, 30 s.
  ///   - version: of its program, for operators.
  ///   - residentBytes: what it occupies of memory, told with every heartbeat; by default what Linux says of this process.
  ///   - agents: what it does, by the slugs of the agents; its credential must name them.
  ///   - handlers: the intents it serves; its credential must name the handlers.
  public init(
    id: String, concurrency: Int = 4, maxClaim: Duration? = nil, version: String = "",
    residentBytes: @escaping @Sendable () -> UInt64 = { ResidentMemory.bytes }, agents: [String: Agent] = [:],
    handlers: [HandlerName: IntentHandler] = [:]
  ) {
    let milliseconds = maxClaim.map { $0.components.seconds * 1_000 + $0.components.attoseconds / 1_000_000_000_000_000 } ?? 0
    registration = WorkerRegistration(
      workerID: id, agentSlugs: agents.keys.sorted(), concurrency: UInt32(clamping: concurrency),
      maxClaimMs: UInt32(clamping: milliseconds),
      version: version,
      handlers: handlers.keys.sorted { ($0.intentType, $0.handlerName) < ($1.intentType, $1.handlerName) }.map {
        HandlerOffer(intentType: $0.intentType, handlerName: $0.handlerName, priority: $0.priority)
      })
    self.agents = agents
    self.handlers = handlers
    self.residentBytes = residentBytes
  }

  /// Attaches and works until the platform asks it to drain, or its stream ends: then it throws the status that it ended with, and may be
  /// called again. Cancelling it lets go of the tasks it has, which are handed on.
  public func run(over channel: any Channel) async throws {
    let call = try await AgentWorkerClient(channel).attach()
    let (outgoing, queue) = AsyncStream.makeStream(of: AttachRequest.self)
    let desk = Desk(queue)
    desk.say(.registration(registration))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        defer { desk.finish() }
        for await request in outgoing {
          try await call.requests.write(request)
          desk.wrote()
        }
        call.requests.finish()
      }
      group.addTask {
        defer { desk.finish() }
        // Its own group, so that a stream that breaks takes the tasks with it.
        try await withThrowingDiscardingTaskGroup { work in
          defer { work.cancelAll() }
          while let response = try await call.responses.next() { try take(response, desk, channel, &work) }
        }
      }
      // The reader ends when the stream has; the writer then, or before it, once the worker has drained.
      while try await group.next() != nil {}
    }
  }

  private func take(
    _ response: AttachResponse, _ desk: Desk, _ channel: any Channel, _ group: inout ThrowingDiscardingTaskGroup<any Error>
  ) throws {
    switch response.kind {
    case .registered(let registered):
      let pause = Duration.milliseconds(Int64(registered.heartbeatMs))
      group.addTask {
        while !Task.isCancelled, !desk.isDone {
          desk.say(.heartbeat(WorkerHeartbeat(residentBytes: residentBytes())))
          guard (try? await Task.sleep(for: pause)) != nil else { return }
        }
      }
    case .work(let work):
      guard let claim = work.claim, let perform = performer(of: work, claim, desk, channel) else { return }
      let handle = WorkHandle()
      desk.begin(claim, handle)
      group.addTask {
        await handle.run { await Self.perform(perform, claim, desk) }
        desk.end(claim)
      }
    case .cancel(let cancel): if let claim = cancel.claim { desk.cancel(claim) }
    case .drain: desk.drain()
    case .refused, nil: break
    }
  }

  /// What does a piece of work; nil for work of nobody here.
  private func performer(
    of work: Work, _ claim: WorkClaim, _ desk: Desk, _ channel: any Channel
  ) -> (@Sendable () async throws -> WorkResult)? {
    if let execution = work.execution {
      let name = HandlerName(execution.intent?.intentType ?? "", by: work.handlerName)
      guard let handler = handlers[name] else { return nil }
      return { WorkResult(claim: claim, execution: try await handler(ExecutionRun(context: execution, over: channel))) }
    }
    guard let agent = agents[work.agentSlug] else { return nil }
    return {
      let answer = try await agent(WorkerTask(work: work, desk: desk))
      return WorkResult(claim: claim, text: answer.text, proposals: answer.proposals)
    }
  }

  private static func perform(_ body: () async throws -> WorkResult, _ claim: WorkClaim, _ desk: Desk) async {
    do {
      desk.say(.result(try await body()))
    } catch {
      let failure = WorkFailure(
        claim: claim, reason: "\(type(of: error))", message: String(describing: error), isFinal: error is GiveUp)
      desk.say(.failure(failure))
    }
  }
}

/// Which intent, served by which handler. Two that differ in priority alone are the same.
public struct HandlerName: Sendable, Hashable {
  /// `ingest_file`
  public let intentType: String
  /// The service that does it: `files`.
  public let handlerName: String
  /// Of several handlers that are there, the lowest number.
  public let priority: UInt32

  /// - Parameters:
  ///   - intentType: the intent.
  ///   - handlerName: the service that does it.
  ///   - priority: of several handlers that are there, the lowest number is asked.
  public init(_ intentType: String, by handlerName: String, priority: UInt32 = 0) {
    self.intentType = intentType
    self.handlerName = handlerName
    self.priority = priority
  }

  /// By intent and handler.
  public static func == (left: HandlerName, right: HandlerName) -> Bool {
    left.intentType == right.intentType && left.handlerName == right.handlerName
  }

  /// By intent and handler.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(intentType)
    hasher.combine(handlerName)
  }
}

/// A task in a worker's hands.
public struct WorkerTask: Sendable {
  /// What is asked, in which context, and how long it may take.
  public let work: Work
  fileprivate let desk: Desk

  /// Tells whoever asked how far it is. Waits while the platform is behind with what the worker says.
  public func progress(_ stage: String, percent: UInt32, _ message: String = "") async throws {
    try await desk.room()
    desk.say(.progress(WorkProgress(claim: work.claim, progress: Progress(stage: stage, percent: percent, message: message))))
  }

  /// Sends a piece of the answer ahead. Waits while the platform is behind with what the worker says.
  public func partial(_ text: String) async throws {
    try await desk.room()
    desk.say(.partial(WorkPartial(claim: work.claim, partial: Partial(text: text))))
  }
}

/// What comes of a task: words for whoever asked, and proposals for others to decide.
public struct WorkerAnswer: Sendable {
  /// The words.
  public var text: String
  /// What it proposes: summary, rationale, confidence and kind of each; the platform gives the rest.
  public var proposals: [Proposal]

  /// An answer.
  public init(text: String, proposals: [Proposal] = []) {
    self.text = text
    self.proposals = proposals
  }
}

/// The task cannot be done, now or later, by anybody.
public struct GiveUp: Error, CustomStringConvertible {
  /// Why.
  public let description: String

  /// - Parameter description: why; it stands with the dead letter.
  public init(_ description: String) { self.description = description }
}

/// What this process occupies of memory.
public enum ResidentMemory {
  /// Zero where the system does not say.
  public static var bytes: UInt64 {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 128)
    guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
    let words = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self).split(separator: " ")
    return words.count > 1 ? (UInt64(words[1]) ?? 0) * UInt64(getpagesize()) : 0
  }
}

/// What a worker has in hand and has to say. It holds at most its concurrency of tasks; what they tell on their way waits for room, what
/// ends them, and heartbeats, are few and do not.
private final class Desk: Sendable {
  private struct State {
    var tasks: [WorkClaim: WorkHandle] = [:]
    var isDraining = false
    /// Said and not yet written.
    var unwritten = 0
    var waiting: [CheckedContinuation<Void, Never>] = []
    var isOver = false
  }

  /// Enough that a stream of small pieces always has one to write.
  private static let mostUnwritten = 64

  private let state = Mutex(State())
  private let queue: AsyncStream<AttachRequest>.Continuation

  init(_ queue: AsyncStream<AttachRequest>.Continuation) { self.queue = queue }

  var isDone: Bool { state.withLock { $0.isDraining && $0.tasks.isEmpty } }

  func say(_ kind: AttachRequest.Kind) {
    state.withLock { $0.unwritten += 1 }
    queue.yield(AttachRequest(kind: kind))
  }

  /// Returns once something may be said, or nothing need be any more.
  func room() async throws {
    try Task.checkCancellation()
    await withCheckedContinuation { continuation in
      let mayGo = state.withLock { state in
        if state.isOver || state.unwritten < Self.mostUnwritten { return true }
        state.waiting.append(continuation)
        return false
      }
      if mayGo { continuation.resume() }
    }
    try Task.checkCancellation()
  }

  /// One of what was said is on its way.
  func wrote() {
    let next = state.withLock { state in
      state.unwritten -= 1
      return state.waiting.isEmpty ? nil : state.waiting.removeFirst()
    }
    next?.resume()
  }

  /// Nothing more is said: the last is written, or the stream has ended.
  func finish() {
    let waiting = state.withLock { state in
      state.isOver = true
      defer { state.waiting = [] }
      return state.waiting
    }
    for each in waiting { each.resume() }
    queue.finish()
  }

  func begin(_ claim: WorkClaim, _ handle: WorkHandle) { state.withLock { $0.tasks[claim] = handle } }

  func cancel(_ claim: WorkClaim) { state.withLock { $0.tasks[claim] }?.cancel() }

  func end(_ claim: WorkClaim) {
    let isDone = state.withLock { state in
      state.tasks[claim] = nil
      return state.isDraining && state.tasks.isEmpty
    }
    if isDone { finish() }
  }

  func drain() {
    let isDone = state.withLock { state in
      state.isDraining = true
      return state.tasks.isEmpty
    }
    say(.draining(WorkerDraining()))
    if isDone { finish() }
  }
}

/// Cancels one task of a group, which a group itself cannot.
private final class WorkHandle: Sendable {
  private enum State {
    case waiting, cancelled, over
    case running(Task<Void, Never>)
  }

  private let state = Mutex(State.waiting)

  /// Runs the work to its end; the group's own cancellation reaches it too.
  func run(_ body: @escaping @Sendable () async -> Void) async {
    let task = state.withLock { state -> Task<Void, Never>? in
      guard case .waiting = state else { return nil }
      let task = Task { await body() }
      state = .running(task)
      return task
    }
    await withTaskCancellationHandler {
      await task?.value
    } onCancel: {
      cancel()
    }
    state.withLock { $0 = .over }
  }

  func cancel() {
    let task = state.withLock { state -> Task<Void, Never>? in
      switch state {
      case .waiting: state = .cancelled
      case .running(let task): return task
      case .cancelled, .over: break
      }
      return nil
    }
    task?.cancel()
  }
}
