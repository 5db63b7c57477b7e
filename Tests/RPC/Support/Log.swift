import SpanwireRPC
import Synchronization

/// Lines that concurrent parts of a test write down, and a way to wait for one.
public final class Log: Sendable {
  private let state = Mutex(State())

  private struct State {
    var lines: [String] = []
    var waiters: [(line: String, count: Int, continuation: CheckedContinuation<Void, Never>)] = []
  }

  public init() {}

  public var lines: [String] { state.withLock { $0.lines } }

  public func add(_ line: String) {
    let ready = state.withLock { state in
      state.lines.append(line)
      let lines = state.lines
      let isReady = { (line: String, count: Int) in lines.count { $0 == line } >= count }
      defer { state.waiters.removeAll { isReady($0.line, $0.count) } }
      return state.waiters.filter { isReady($0.line, $0.count) }
    }
    for waiter in ready { waiter.continuation.resume() }
  }

  /// Returns once a line has been written this often.
  public func wait(for line: String, count: Int = 1) async {
    await withCheckedContinuation { continuation in
      let isThere = state.withLock { state in
        if state.lines.count(where: { $0 == line }) >= count { return true }
        state.waiters.append((line, count, continuation))
        return false
      }
      if isThere { continuation.resume() }
    }
  }
}

/// Writes down what a `CallObserver` is told.
public struct RecordingObserver: CallObserver {
  public let log = Log()
  private let records = Records()

  private final class Records: Sendable {
    let list = Mutex<[CallRecord]>([])
  }

  public init() {}

  public var ended: [CallRecord] { records.list.withLock { $0 } }

  public func callStarted(_ call: CallStart) { log.add("\(call.side) \(call.method.name) started") }

  public func callEnded(_ call: CallRecord) {
    records.list.withLock { $0.append(call) }
    log.add("\(call.side) \(call.method.name) ended \(call.error?.code.name ?? "OK")")
  }
}
