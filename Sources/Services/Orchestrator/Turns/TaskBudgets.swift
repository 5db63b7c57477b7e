import SpanwireSchema

/// What a task may take, nothing of it left open: what its constraints do not say is the contract's default.
struct TaskBudgets: Sendable, Hashable {
  let timeoutMilliseconds: UInt32
  let maxTokens: UInt32
  let maxSuggestions: UInt32

  init(_ constraints: AgentConstraints?) {
    func given(_ asked: UInt32?, _ otherwise: UInt32) -> UInt32 { (asked ?? 0) == 0 ? otherwise : asked ?? 0 }
    timeoutMilliseconds = given(constraints?.timeoutMs, OrchestratorLimits.defaultTimeoutMilliseconds)
    maxTokens = given(constraints?.maxTokens, OrchestratorLimits.defaultMaxTokens)
    maxSuggestions = min(
      given(constraints?.maxSuggestions, OrchestratorLimits.defaultMaxSuggestions), OrchestratorLimits.maxSuggestions)
  }

  /// Letters of text that the tokens pay for.
  var answerLetters: Int { Int(maxTokens) * OrchestratorLimits.lettersPerToken }
}
