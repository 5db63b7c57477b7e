import SpanwireEventLog
import SpanwireRPC

/// Who asked for a task and in which trace, as it is kept with the task: a run after a restart acts for the same.
struct CallerRecord: Sendable {
  var principal: Principal
  var trace: TraceContext?

  init(principal: Principal, trace: TraceContext?) {
    self.principal = principal
    self.trace = trace
  }

  /// One line for the principal, one for the trace.
  var text: String { "\(principal.storedText)\n\(trace?.traceparent ?? "")" }

  /// Nil for what was never ours.
  init?(text: String) {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    guard lines.count == 2, let principal = Principal(storedText: lines[0]) else { return nil }
    self.init(principal: principal, trace: TraceContext(traceparent: lines[1]))
  }
}
