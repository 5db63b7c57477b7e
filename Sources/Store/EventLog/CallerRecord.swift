import SpanwireRPC

/// Who asked for work and in which trace, as it is kept with the work: a run after a restart acts for the same.
package struct CallerRecord: Sendable {
  package var principal: Principal
  package var trace: TraceContext?

  package init(principal: Principal, trace: TraceContext?) {
    self.principal = principal
    self.trace = trace
  }

  /// One line for the principal, one for the trace.
  package var text: String { "\(principal.storedText)\n\(trace?.traceparent ?? "")" }

  /// Nil for what was never ours.
  package init?(text: String) {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    guard lines.count == 2, let principal = Principal(storedText: lines[0]) else { return nil }
    self.init(principal: principal, trace: TraceContext(traceparent: lines[1]))
  }
}
