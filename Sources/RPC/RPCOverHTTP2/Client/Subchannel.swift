import SpanwireEventLoop
import SpanwireRPC

/// One address of a channel on one loop: its connection, the pauses between attempts, and what its server says of its health.
///
/// Exits of each state: idle → connecting; connecting → ready, transientFailure; ready → idle (connection lost, told to go, too old),
/// transientFailure (the server says that it does not serve); transientFailure → idle when the pause is over, ready when the server serves
/// again; any → shutdown.
final class Subchannel {
  let address: SocketAddress
  let name: String
  let inspectionID = InspectionID.next()
  private(set) var state = ConnectivityState.idle
  /// The one that takes calls, or will.
  private(set) var connection: ClientConnection?
  /// Why it is not ready, from the first failure until it is ready again.
  private(set) var lastError: RPCError?

  private unowned let pool: ClientPool
  private var failures = 0
  private var attemptBegan: UInt64 = 0
  private var restTimer: LoopTimer?
  private var health: HealthWatch?

  init(_ address: SocketAddress, pool: ClientPool) {
    self.address = address
    name = address.description
    self.pool = pool
  }

  deinit { assert(state == .shutdown, "a subchannel is shut down before it is let go") }

  /// Whether one more call can begin now.
  var hasRoom: Bool { state == .ready && connection.unsafelyUnwrapped.hasRoom }

  // MARK: Connecting

  /// Begins an attempt if there is no connection and no pause under way.
  func connect() {
    guard state == .idle else { return }
    attemptBegan = pool.loop.clock.now()
    move(to: .connecting)
    do {
      connection = try ClientConnection(address, pool: pool, subchannel: self)
    } catch {
      failed(.unavailable("\(name): \(error)"))
    }
  }

  /// Gives up an attempt that is not needed any more.
  func disconnect() {
    if state == .connecting { connection?.leave() }
  }

  func becameReady() {
    failures = 0
    guard let service = pool.healthService, let connection else { return isUsable() }
    // Until the server has said that it serves, the subchannel stays in connecting.
    let watch = HealthWatch(service, on: connection, pool: pool) { [unowned self] in report(health: $0) }
    health = watch
    watch.start()
  }

  private func isUsable() {
    lastError = nil
    move(to: .ready)
  }

  private func report(health refusal: RPCError?) {
    guard connection != nil, state != .shutdown else { return }
    if let refusal {
      lastError = refusal
      move(to: .transientFailure)
    } else {
      isUsable()
    }
  }

  /// The attempt led nowhere: a pause, counted from the attempt's beginning, comes before the next.
  private func failed(_ error: RPCError) {
    failures += 1
    lastError = error
    let wait = pool.options.backoff.wait(afterFailures: failures, random: pool.options.random())
    let end = attemptBegan &+ UInt64(max(0, wait / .nanoseconds(1)))
    let timer = LoopTimer(on: pool.loop) { [unowned self] in
      restTimer = nil
      move(to: .idle)
    }
    restTimer = timer
    timer.arm(at: end)
    move(to: .transientFailure)
  }

  // MARK: Losing

  /// The connection takes no new calls: those to come use another.
  func isLeaving() {
    connection = nil
    stopHealth()
    if state != .shutdown { move(to: .idle) }
  }

  /// The connection is gone.
  func lost(_ error: RPCError, wasReady: Bool) {
    connection = nil
    stopHealth()
    if state == .shutdown { return }
    if wasReady { move(to: .idle) } else { failed(error) }
  }

  /// The end: calls under way go on to theirs.
  func shutDown() {
    guard state != .shutdown else { return }
    state = .shutdown
    restTimer?.disarm()
    restTimer = nil
    stopHealth()
    connection?.leave()
  }

  private func stopHealth() {
    health?.stop()
    health = nil
  }

  private func move(to next: ConnectivityState) {
    let before = state
    guard next != before, before != .shutdown else { return }
    state = next
    pool.changed(self, from: before)
  }
}
