import SpanwireSchema
import Synchronization

/// Answers about coverage, for the second that they were given in: every session that opens asks, and nearly all ask the same.
final class CoverageMemo: Sendable {
  struct Question: Hashable {
    var tenant: String
    /// Of the city: every change of it is another.
    var version: Int64
    var market: String
    var tags: [String]
  }

  private struct State {
    var second: UnixSeconds = 0
    var answers: [Question: CheckCoverageResponse] = [:]
  }

  private let state = Mutex(State())

  func answer(to question: Question, at second: UnixSeconds) -> CheckCoverageResponse? {
    state.withLock { $0.second == second ? $0.answers[question] : nil }
  }

  /// Keeps an answer that holds all through a second; those of another second are dropped.
  func keep(_ answer: CheckCoverageResponse, to question: Question, at second: UnixSeconds) {
    state.withLock { state in
      if state.second != second { state = State(second: second) }
      if state.answers.count < CityGraphLimits.coverageAnswers { state.answers[question] = answer }
    }
  }
}

extension City {
  /// Whether what is blocked is the same at any moment of a second. Opening hours are.
  func blocksHold(through second: UnixSeconds) -> Bool {
    blocks.values.allSatisfy { block in block.until.map { UnixTime.seconds($0) != second } ?? true }
  }
}
