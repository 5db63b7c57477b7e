import Glibc
import SpanwireDatabase
import SpanwireEventLoop
import Synchronization

@testable import SpanwireEventLog

/// A folder of its own for a test, gone with it.
final class TemporaryFolder: Sendable {
  let path: String

  init() {
    var template = Array("/tmp/spanwire-log-XXXXXX".utf8CString)
    path = String(cString: mkdtemp(&template)!)
  }

  deinit {
    for suffix in ["", "-wal", "-shm", ".lock"] { unlink(file + suffix) }
    rmdir(path)
  }

  var file: String { path + "/test.db" }
}

/// A small generator, so that a failing round can be played again.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}

/// A log on a temporary database.
struct TestLog: Sendable {
  let folder = TemporaryFolder()
  let database: SQLiteDatabase
  let loops: EventLoopGroup
  let log: EventLog

  init(ring: Int = EventLogLimits.ring, pageCacheBytes: Int = EventLogLimits.pageCacheBytes, loops count: Int = 2) async throws {
    database = try await SQLiteDatabase.open(
      path: folder.file, durability: .off, migrations: [LogStore.migrations, EffectStore.migrations])
    loops = EventLoopGroup(loops: count)
    log = EventLog(database: database, loops: loops, ring: ring, pageCacheBytes: pageCacheBytes)
    try await log.start()
  }

  func end() async {
    await log.stop()
    await database.close()
    loops.stop()
  }
}

extension Transaction {
  /// An event whose envelope is its position and session.
  @discardableResult
  func append(
    _ type: String, tenant: String = "t", session: String = "", lane: EventLane = .data, trace: [UInt8] = [], bytes: Int = 0
  ) throws -> Int64 {
    try append(
      EventHeader(type: type, tenant: tenant, session: session, trace: trace, lane: lane, producer: "test"),
      encode: { position, sequence in Array("\(position)/\(session)/\(sequence)".utf8) + [UInt8](repeating: 0, count: bytes) }
    ).position
  }
}

/// Keeps what it is given; takes `room` deliveries before it says that it is full.
final class Recorder: Sendable {
  private struct State {
    var positions: [Int64] = []
    var losses: [(lane: EventLane, count: Int64, first: Int64, last: Int64)] = []
    var heartbeats: [(position: Int64, isLive: Bool)] = []
    var room: Int
    var waiting: [CheckedContinuation<Void, Never>] = []
    var watchers: [(Int, CheckedContinuation<Void, Never>)] = []
    var hasGoneLive = false
    var isCancelled = false
  }

  private let state: Mutex<State>

  init(room: Int = .max) { state = Mutex(State(room: room)) }

  var positions: [Int64] { state.withLock { $0.positions } }
  var losses: [(lane: EventLane, count: Int64, first: Int64, last: Int64)] { state.withLock { $0.losses } }
  var heartbeats: [(position: Int64, isLive: Bool)] { state.withLock { $0.heartbeats } }

  var sink: LogSink {
    LogSink(
      take: { delivery in
        let (hasRoom, resumed) = self.state.withLock { state -> (Bool, [CheckedContinuation<Void, Never>]) in
          switch delivery {
          case .event(let event): state.positions.append(event.position)
          case .discontinuity(let lane, let count, let first, let last): state.losses.append((lane, count, first, last))
          case .heartbeat(let position, let isLive): state.heartbeats.append((position, isLive))
          }
          if state.room != .max { state.room -= 1 }
          let done = state.watchers.filter { $0.0 <= state.positions.count || ($0.0 == 0 && state.heartbeats.contains { $0.isLive }) }
          state.watchers.removeAll { $0.0 <= state.positions.count || ($0.0 == 0 && state.heartbeats.contains { $0.isLive }) }
          return (state.room > 0, done.map(\.1))
        }
        for continuation in resumed { continuation.resume() }
        return hasRoom
      },
      drained: {
        await withTaskCancellationHandler {
          await withCheckedContinuation { continuation in
            let go = self.state.withLock { state in
              if state.room > 0 || state.isCancelled { return true }
              state.waiting.append(continuation)
              return false
            }
            if go { continuation.resume() }
          }
        } onCancel: {
          let waiting = self.state.withLock { state in
            state.isCancelled = true
            defer { state.waiting = [] }
            return state.waiting
          }
          for continuation in waiting { continuation.resume() }
        }
      })
  }

  /// Makes room for so many more deliveries.
  func allow(_ room: Int) {
    let waiting = state.withLock { state in
      state.room = room
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }

  /// Returns once that many events have arrived; with 0, once the subscription is live.
  func wait(for count: Int) async {
    await withCheckedContinuation { continuation in
      let isDone = state.withLock { state in
        if count == 0 ? state.heartbeats.contains(where: \.isLive) : state.positions.count >= count { return true }
        state.watchers.append((count, continuation))
        return false
      }
      if isDone { continuation.resume() }
    }
  }
}
