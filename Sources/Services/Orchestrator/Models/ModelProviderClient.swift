import SpanwireOutbound
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization

/// Asks one provider, in the protocol of OpenAI's chat completions, and reads its answer as it streams.
struct ModelProviderClient: Sendable {
  let provider: ModelProvider
  let client: OutboundClient
  private let key: String?

  init(_ provider: ModelProvider, key: String?) {
    self.provider = provider
    self.key = key
    client = OutboundClient()
  }

  func offer(_ model: String) -> ModelOffer? { provider.models.first { $0.model == model } }

  /// What a call came to so far, also when it failed: it may have cost something.
  final class Progress: Sendable {
    struct State: Sendable {
      /// The provider has begun to answer.
      var hasBegun = false
      var firstAt: ContinuousClock.Instant?
      var answer = ChatAnswer()
    }

    let state = Mutex(State())
    let begun = ContinuousClock.now

    /// How long the first word took; nil when none came.
    var first: Duration? { state.withLock { $0.firstAt }.map { $0 - begun } }
  }

  /// Asks, and tells of each piece of text before the next is read.
  ///
  /// Throws a `ModelFailure` without secrets, or `CancellationError`; the connection is closed then.
  ///
  /// - Parameter heard: given the text that was added, and all of the answer so far.
  func ask(
    _ question: ChatQuestion, first: Duration, whole: Duration, _ progress: Progress,
    _ heard: @escaping @Sendable (String, ChatAnswer) async throws -> Void
  ) async throws -> ChatAnswer {
    var question = question
    question.boundName = provider.maxCompletionTokens ? "max_completion_tokens" : "max_tokens"
    var headers = [(name: "Content-Type", value: "application/json"), (name: "Accept", value: "text/event-stream")]
    if let key { headers.append((name: "Authorization", value: "Bearer \(key)")) }
    let base = provider.baseURL.hasSuffix("/") ? String(provider.baseURL.dropLast()) : provider.baseURL
    let request = OutboundRequest(method: "POST", url: base + "/chat/completions", headers: headers, body: question.body())
    let times = OutboundTimes(
      first: min(first, provider.firstTimeout?.duration ?? OrchestratorLimits.modelFirst),
      idle: provider.idleTimeout?.duration ?? OrchestratorLimits.modelIdle, whole: whole)
    do {
      return try await client.exchange(request, within: times) { reply in try await Self.read(reply, progress, heard) }
    } catch let failure as OutboundFailure {
      throw redacted(ModelFailure(failure))
    } catch let failure as ModelFailure {
      throw redacted(failure)
    }
  }

  private func redacted(_ failure: ModelFailure) -> ModelFailure {
    var failure = failure
    failure.text = failure.text.redacted(key)
    return failure
  }

  private static func read(
    _ reply: OutboundReply, _ progress: Progress, _ heard: @Sendable (String, ChatAnswer) async throws -> Void
  ) async throws -> ChatAnswer {
    guard reply.status == 200 else {
      // What does not say why in so many bytes has no answer that we know.
      let body = (try? await reply.rest(atMost: OrchestratorLimits.modelErrorBytes)) ?? []
      try Task.checkCancellation()
      throw ModelFailure(status: reply.status, body: body, retryAfter: reply["retry-after"])
    }
    let type = (reply["content-type"] ?? "").prefix { $0 != ";" }.lowercased().filter { $0 != " " }
    guard type == "text/event-stream" else { throw ModelFailure(.wrongType, "an answer of type '\(type.prefix(60))'") }
    progress.state.withLock { $0.hasBegun = true }
    var events = ServerSentEvents()
    var answer = ChatAnswer()
    var bytes = 0
    while !answer.isDone, let piece = try await reply.next() {
      bytes += piece.count
      guard bytes <= OrchestratorLimits.modelStreamBytes else { throw ModelFailure(.tooLarge, "an answer without end") }
      let ended: [[UInt8]]
      do throws(ServerSentEvents.TooLong) {
        ended = try events.take(piece)
      } catch {
        throw ModelFailure(.tooLarge, "a piece of more than \(OrchestratorLimits.modelEventBytes) bytes")
      }
      for event in ended where !answer.isDone {
        let added = try answer.take(event)
        let now = answer
        progress.state.withLock { state in
          if now.tokens > 0, state.firstAt == nil { state.firstAt = .now }
          state.answer = now
        }
        if now.tokens > 0 { try await heard(added, now) }
      }
    }
    // Some servers leave the last line out: an answer that says why it ended is whole.
    guard answer.isDone || !answer.finish.isEmpty else { throw ModelFailure(.truncated, "the answer broke off") }
    answer.nameCalls()
    return answer
  }
}
