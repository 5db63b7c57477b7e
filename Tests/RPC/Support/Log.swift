import SpanwireRPC
import Synchronization

/// Lines that concurrent parts of a test write down, and a way to wait for one.
public final class Log: Sendable {
  private let state = Mutex(State())

  private struct State {
    var lines: [String] = []
    var waiters: [Waiter] = []
    var nextWaiter = 0
  }

  private struct Waiter {
    let id: Int
    let line: String
    let count: Int
    let continuation: CheckedContinuation<Void, Never>
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

  /// Returns once a line has been written this often, or when the waiting task is cancelled.
  public func wait(for line: String, count: Int = 1) async {
    let id = state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isThere = state.withLock { state in
          if Task.isCancelled || state.lines.count(where: { $0 == line }) >= count { return true }
          state.waiters.append(Waiter(id: id, line: line, count: count, continuation: continuation))
          return false
        }
        if isThere { continuation.resume() }
      }
    } onCancel: {
      let waiter = state.withLock { state -> Waiter? in
        guard let index = state.waiters.firstIndex(where: { $0.id == id }) else { return nil }
        return state.waiters.remove(at: index)
      }
      waiter?.continuation.resume()
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
