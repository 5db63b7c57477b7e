import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// Why a worker's attempt came to nothing: a further one may do better, by somebody else.
struct AttemptLost: Error, Sendable {
  /// `lost`, when nothing is known of what the worker did, or `failed`, when it said so.
  var outcome = "lost"
  var reason: String
  var message: String

  var text: String { message.isEmpty ? reason : "\(reason): \(message)" }
}

/// The workers attached to this process: what they hold, when they were heard last, and what they are to be told.
///
/// It decides nothing about tasks: who waits for an answer is told of it, or that it was lost. Whether an answer still counts is decided
/// by the task's row.
final class WorkerPool: Sendable {
  /// Work in a worker's hands.
  struct Claim: Sendable {
    var epoch: UInt64
    var since: Int64
    fileprivate var answer: UnsafeContinuation<AgentAnswer, any Error>
  }

  struct Attached: Sendable {
    let tenant: String
    let registration: WorkerRegistration
    let attachedAt: Int64
    var state = WorkerState.attached
    var heardAt: Int64
    var residentBytes: UInt64 = 0
    var reason = ""
    var claims: [AgentTaskKey: Claim] = [:]
    /// When its heartbeat was written into the log last.
    var toldAt: Int64 = 0
    /// What ends its stream, when the platform does.
    fileprivate var ending: RPCError?
    fileprivate let outbox: AsyncStream<AttachResponse>.Continuation

    var workerID: String { registration.workerID }
    var serves: String? { tenant == Caller.platformTenant ? nil : tenant }

    var info: WorkerInfo {
      WorkerInfo(
        workerID: workerID, tenantID: tenant, agentSlugs: registration.agentSlugs, concurrency: registration.concurrency, state: state,
        attachedAt: .init(nanosecondsSinceEpoch: attachedAt), heardAt: .init(nanosecondsSinceEpoch: heardAt),
        residentBytes: residentBytes,
        claims: claims.sorted { $0.key.id < $1.key.id }.map { WorkClaim($0.key, $0.value.epoch) },
        version: registration.version, reason: reason, handlers: registration.handlers)
    }
  }

  private struct State {
    var workers: [UInt64: Attached] = [:]
    var last: UInt64 = 0
    var isStopping = false
  }

  private let places: TaskPlaces
  private let state = Mutex(State())

  init(places: TaskPlaces) { self.places = places }

  var count: Int { state.withLock { $0.workers.count } }

  // MARK: A worker's coming and going

  /// Lets a worker in, in the place of one of the same name. Its messages come by the stream, which ends when it is to go.
  func attach(_ registration: WorkerRegistration, tenant: String, at now: Int64) throws -> (UInt64, AsyncStream<AttachResponse>) {
    let (outbox, writer) = AsyncStream.makeStream(
      of: AttachResponse.self, bufferingPolicy: .bufferingOldest(OrchestratorLimits.workerOutbox))
    let (id, before) = try state.withLock { state -> (UInt64, UInt64?) in
      if state.isStopping { throw RPCError.unavailable("the server stops") }
      let before = state.workers.first { $0.value.tenant == tenant && $0.value.workerID == registration.workerID }?.key
      if before == nil, state.workers.count >= OrchestratorLimits.workers {
        throw RPCError.later(.resourceExhausted, .queueFull, "as many workers are attached as may be", after: .seconds(10))
      }
      state.last += 1
      state.workers[state.last] = Attached(
        tenant: tenant, registration: registration, attachedAt: now, heardAt: now, toldAt: now, outbox: writer)
      return (state.last, before)
    }
    if let before {
      evict(before, .refusal(.aborted, .workerReplaced, "\(registration.workerID) attached again elsewhere"), state: .detached)
    }
    let registered = WorkerRegistered(
      workerID: registration.workerID, heartbeatMs: OrchestratorLimits.heartbeatMilliseconds,
      leaseMs: UInt32(OrchestratorLimits.leaseNanoseconds / 1_000_000))
    say(.registered(registered), to: id)
    places.add(
      worker: id, tenant: tenant == Caller.platformTenant ? nil : tenant,
      slugs: Set(registration.agentSlugs + registration.handlers.map(\.lane)),
      capacity: Int(registration.concurrency))
    return (id, outbox)
  }

  /// The stream has ended: what the worker held is lost. Returns it as it was, and what ended it if that was the platform.
  func detach(_ id: UInt64, _ why: String) -> (Attached, RPCError?)? {
    places.remove(worker: id)
    let worker = state.withLock { $0.workers.removeValue(forKey: id) }
    guard var worker else { return nil }
    lose(worker.claims, why)
    worker.claims = [:]
    worker.outbox.finish()
    if worker.ending == nil { (worker.state, worker.reason) = (.detached, why) }
    return (worker, worker.ending)
  }

  /// Has a worker's stream end with an error; what it holds is lost at once.
  func evict(_ id: UInt64, _ error: RPCError, state: WorkerState) {
    places.remove(worker: id)
    let worker = self.state.withLock { all -> Attached? in
      guard let worker = all.workers[id] else { return nil }
      all.workers[id]?.claims = [:]
      all.workers[id]?.ending = error
      all.workers[id]?.state = state
      all.workers[id]?.reason = error.message
      return worker
    }
    guard let worker else { return }
    lose(worker.claims, error.message)
    worker.outbox.finish()
  }

  /// Ends every stream: the process stops.
  func stop() {
    let ids = state.withLock { state in
      state.isStopping = true
      return Array(state.workers.keys)
    }
    for id in ids { evict(id, .unavailable("the server stops; attach again"), state: .detached) }
  }

  // MARK: What a worker says

  func heard(_ id: UInt64, residentBytes: UInt64, at now: Int64) {
    let isBack = state.withLock { state in
      state.workers[id]?.heardAt = now
      state.workers[id]?.residentBytes = residentBytes
      guard state.workers[id]?.state == .silent else { return false }
      state.workers[id]?.state = .attached
      state.workers[id]?.reason = ""
      return true
    }
    if isBack { places.set(worker: id, isOpen: true) }
  }

  /// Gives a worker no more work. Returns whether there is such a worker.
  @discardableResult
  func drain(_ id: UInt64, _ reason: String, saysSo: Bool) -> Bool {
    let isNew = state.withLock { state -> Bool? in
      guard let worker = state.workers[id] else { return nil }
      guard worker.state != .draining else { return false }
      state.workers[id]?.state = .draining
      state.workers[id]?.reason = reason
      return true
    }
    guard let isNew else { return false }
    places.set(worker: id, isOpen: false)
    if isNew, saysSo { say(.drain(DrainRequested(reason: reason)), to: id) }
    return true
  }

  /// Takes an answer of a worker; false when it does not hold that claim.
  func take(_ answer: Result<AgentAnswer, any Error>, of claim: WorkClaim, from id: UInt64) -> Bool {
    let key = claim.key
    let waiter = state.withLock { state -> UnsafeContinuation<AgentAnswer, any Error>? in
      guard state.workers[id]?.claims[key]?.epoch == claim.leaseEpoch else { return nil }
      return state.workers[id]?.claims.removeValue(forKey: key)?.answer
    }
    waiter?.resume(with: answer)
    return waiter != nil
  }

  /// Whether a worker holds a claim.
  func holds(_ id: UInt64, _ claim: WorkClaim) -> Bool {
    state.withLock { state in
      state.workers[id]?.claims[claim.key]?.epoch == claim.leaseEpoch
    }
  }

  // MARK: What a worker is told

  func say(_ kind: AttachResponse.Kind, to id: UInt64) {
    guard let outbox = state.withLock({ $0.workers[id]?.outbox }) else { return }
    if case .dropped = outbox.yield(AttachResponse(kind: kind)) {
      evict(id, .resourceExhausted("the worker does not read what it is told"), state: .dead)
    }
  }

  /// The tenant that a worker serves, nil within for every one; nil when it has gone.
  func serves(_ id: UInt64) -> String?? { state.withLock { $0.workers[id].map(\.serves) } }

  /// How many are there who serve a lane of a tenant's.
  func workers(for lane: String, of tenant: String) -> Int {
    state.withLock { state in
      state.workers.values.count { worker in
        worker.state == .attached && worker.ending == nil && (worker.serves ?? tenant) == tenant
          && worker.registration.handlers.contains { $0.lane == lane }
      }
    }
  }

  /// The name of a worker; nil when it has gone.
  func name(of id: UInt64) -> String? { state.withLock { $0.workers[id]?.workerID } }

  /// Hands work to a worker and waits for its answer. Throws `AttemptLost` when there will be none. When the one who waits is cancelled,
  /// the worker is told.
  func perform(_ work: Work, on id: UInt64, at now: Int64) async throws -> AgentAnswer {
    guard let claim = work.claim else { preconditionFailure("work has a claim") }
    let key = claim.key
    return try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        let failure = state.withLock { state -> (any Error)? in
          if Task.isCancelled { return CancellationError() }
          guard let worker = state.workers[id], worker.state != .silent, worker.ending == nil else {
            return AttemptLost(reason: "WORKER_LOST", message: "the worker went before it took the task")
          }
          state.workers[id]?.claims[key] = Claim(epoch: claim.leaseEpoch, since: now, answer: continuation)
          return nil
        }
        if let failure { return continuation.resume(throwing: failure) }
        say(.work(work), to: id)
      }
    } onCancel: {
      if take(.failure(CancellationError()), of: claim, from: id) {
        say(.cancel(CancelWork(claim: claim, reason: "nobody waits for it any more")), to: id)
      }
    }
  }

  // MARK: Supervision

  /// What came up when the workers were looked at.
  struct Finding: Sendable {
    enum Kind: Sendable, Hashable {
      /// Its heartbeats stopped; what it held was handed on.
      case silent(nanoseconds: Int64)
      case dead(nanoseconds: Int64)
      /// It held a task for too long.
      case stuck(AgentTaskKey, nanoseconds: Int64)
      /// It occupies too much memory and was asked to drain.
      case large(bytes: UInt64)
      /// It is well; what it held before the last such finding stands renewed.
      case well(renewed: [WorkClaim])
    }

    var kind: Kind
    var worker: WorkerInfo
  }

  /// Looks at a worker and does what must be done about it.
  func supervise(_ id: UInt64, at now: Int64) -> Finding? {
    guard let worker = state.withLock({ $0.workers[id] }), worker.ending == nil, let kind = judge(worker, at: now) else { return nil }
    act(kind, id, worker, now)
    return Finding(kind: kind, worker: state.withLock { $0.workers[id] }?.info ?? worker.info)
  }

  private func judge(_ worker: Attached, at now: Int64) -> Finding.Kind? {
    let silence = now - worker.heardAt
    if silence > OrchestratorLimits.deadAfterNanoseconds { return .dead(nanoseconds: silence) }
    // One that was about to go is not waited for.
    if silence > OrchestratorLimits.leaseNanoseconds, worker.state == .draining { return .dead(nanoseconds: silence) }
    if silence > OrchestratorLimits.leaseNanoseconds { return worker.state == .silent ? nil : .silent(nanoseconds: silence) }
    let longest = Int64(worker.registration.maxClaimMs) * 1_000_000
    // An execution has its own time, and is cancelled when that is over.
    if let (key, claim) = worker.claims.filter({ now - $0.value.since > longest && !$0.key.isExecution }).min(by: {
      $0.value.since < $1.value.since
    }) {
      return .stuck(key, nanoseconds: now - claim.since)
    }
    if worker.state == .attached, worker.residentBytes > worker.registration.maxResidentBytes {
      return .large(bytes: worker.residentBytes)
    }
    if now - worker.toldAt >= OrchestratorLimits.heartbeatEventNanoseconds {
      return .well(
        renewed: worker.claims.filter { $0.value.since <= worker.toldAt }.map { WorkClaim($0.key, $0.value.epoch) })
    }
    return nil
  }

  private func act(_ kind: Finding.Kind, _ id: UInt64, _ worker: Attached, _ now: Int64) {
    switch kind {
    case .silent:
      places.set(worker: id, isOpen: false)
      let claims = state.withLock { state in
        state.workers[id]?.state = .silent
        state.workers[id]?.reason = "its heartbeats stopped"
        defer { state.workers[id]?.claims = [:] }
        return state.workers[id]?.claims ?? [:]
      }
      lose(claims, "the lease expired without a heartbeat")
      for (key, claim) in claims {
        say(.cancel(CancelWork(claim: WorkClaim(key, claim.epoch), reason: "the lease expired without a heartbeat")), to: id)
      }
    case .dead(let nanoseconds):
      let seconds = nanoseconds / 1_000_000_000
      evict(id, .refusal(.aborted, .workerDead, "no heartbeat for \(seconds) s"), state: .dead)
    case .stuck(let key, let nanoseconds):
      evict(
        id, .refusal(.aborted, .workerDead, "it held \(key.id) for \(nanoseconds / 1_000_000) ms; restart and attach again"), state: .dead)
    case .large(let bytes): drain(id, "it occupies \(bytes >> 20) MiB: restart and attach again", saysSo: true)
    case .well: state.withLock { $0.workers[id]?.toldAt = now }
    }
  }

  // MARK: Looking

  func workers(of tenant: String) -> [WorkerInfo] {
    state.withLock { state in state.workers.values.filter { $0.tenant == tenant }.map(\.info) }
  }

  func worker(named name: String, of tenant: String) -> (UInt64, WorkerInfo)? {
    state.withLock { state in
      state.workers.first { $0.value.tenant == tenant && $0.value.workerID == name && $0.value.ending == nil }.map {
        ($0.key, $0.value.info)
      }
    }
  }

  private func lose(_ claims: [AgentTaskKey: Claim], _ why: String) {
    for claim in claims.values { claim.answer.resume(throwing: AttemptLost(reason: "WORKER_LOST", message: why)) }
  }
}
