import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// The money for one call of a model: set aside piece by piece while the answer streams, so that nothing is passed on that is not paid for,
/// and nobody waits for money that a short answer never needed.
///
/// Its pieces are asked for one at a time, by the task that reads the answer.
final class ModelBudget: Sendable {
  /// What one piece came to, once it is known what was spent.
  struct Share: Sendable, Hashable {
    var reservationID: String
    /// Nil: all of it comes back.
    var spent: Int64?
  }

  private struct State {
    var pieces: [(id: String, micros: Int64)] = []
    var micros: Int64 = 0
    var slice = 0
    /// Tokens of answer that are paid for.
    var covered = 0
    var asked = 0
  }

  private let agentGuard: AgentGuard
  private let task: AgentTask
  private let provider: ModelProvider
  private let offer: ModelOffer
  private let callID: String
  /// Tokens of the question, and at most of the answer.
  private let prompt: Int
  private let maxTokens: Int
  private let state = Mutex(State())

  init(
    _ agentGuard: AgentGuard, _ task: AgentTask, _ provider: ModelProvider, _ offer: ModelOffer, callID: String, prompt: Int, maxTokens: Int
  ) {
    self.agentGuard = agentGuard
    self.task = task
    self.provider = provider
    self.offer = offer
    self.callID = callID
    self.prompt = prompt
    self.maxTokens = maxTokens
  }

  var reservationIDs: [String] { state.withLock { $0.pieces.map(\.id) } }

  /// Asks policy whether the model may be asked, and sets aside what the question costs and the first of the answer.
  ///
  /// Throws policy's refusal.
  func open() async throws {
    let slice = min(OrchestratorLimits.modelSlice, maxTokens)
    try await reserve(offer.cost(prompt: prompt, completion: slice))
    state.withLock { ($0.slice, $0.covered) = (slice, slice) }
  }

  /// Sets more aside, if so many tokens of answer are not paid for yet.
  ///
  /// Throws policy's refusal: the budget is exhausted. Each piece is twice the last, but when there is not so much left, what is needed.
  func cover(_ tokens: Int) async throws {
    let (covered, last, micros) = state.withLock { ($0.covered, $0.slice, $0.micros) }
    guard tokens > covered else { return }
    let need = tokens - covered
    var slice = max(need, min(last * 2, maxTokens - covered))
    do {
      try await reserve(offer.cost(prompt: prompt, completion: covered + slice) - micros)
    } catch let error as RPCError where error.reason == .policyDenied && slice > need {
      slice = need
      try await reserve(offer.cost(prompt: prompt, completion: covered + slice) - micros)
    }
    state.withLock { ($0.slice, $0.covered) = (slice, covered + slice) }
  }

  /// Sets aside what is still missing, now that it is known what was used.
  ///
  /// Throws policy's refusal: what was set aside is all that can be spent.
  func coverAll(of cost: Int64) async throws {
    let missing = cost - state.withLock { $0.micros }
    if missing > 0 { try await reserve(missing) }
  }

  /// What each piece came to, of a cost; at most what was set aside is spent.
  func shares(of cost: Int64) -> (spent: Int64, shares: [Share]) {
    state.withLock { state in
      var left = min(cost, state.micros)
      let spent = left
      let shares = state.pieces.map { piece in
        let part = min(left, piece.micros)
        left -= part
        return Share(reservationID: piece.id, spent: part > 0 ? part : nil)
      }
      return (spent, shares)
    }
  }

  private func reserve(_ micros: Int64) async throws {
    let (number, first) = state.withLock { state in
      state.asked += 1
      return (state.asked, state.pieces.first?.id ?? "")
    }
    // A model that costs nothing is asked under the rules of policy all the same, once.
    if micros == 0, number > 1 { return }
    let reservation = try await agentGuard.admit(
      model: provider, for: task, cost: micros == 0 ? nil : Money(micros: micros, currency: offer.currency), key: "\(callID)-\(number)",
      extending: first)
    guard let reservation else { return }
    state.withLock { state in
      state.pieces.append((reservation.reservationID, micros))
      state.micros += micros
    }
  }
}
