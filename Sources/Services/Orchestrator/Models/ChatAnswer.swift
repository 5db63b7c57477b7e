import Foundation

/// What a model answers, put together from the events of its stream. Pure.
struct ChatAnswer: Sendable {
  /// The tokens that a provider says were used.
  struct Usage: Sendable, Hashable {
    var prompt: Int
    var completion: Int
  }

  private(set) var text = ""
  /// What it says instead of an answer.
  private(set) var refusal = ""
  private(set) var finish = ""
  private(set) var usage: Usage?
  private(set) var isDone = false
  private var wishes: [Int: ChatToolCall] = [:]
  private var pieces = 0
  private var bytes = 0

  /// The functions it wants called, in its order.
  var calls: [ChatToolCall] { wishes.sorted { $0.key < $1.key }.map(\.value) }

  /// How many tokens it has at least: a piece is one or more.
  var tokens: Int { max(pieces, bytes / ModelTokens.bytesPerPiece) }

  /// Takes the data of one event. Returns the text that it adds.
  mutating func take(_ event: [UInt8]) throws(ModelFailure) -> String {
    if event.elementsEqual("[DONE]".utf8) {
      isDone = true
      return ""
    }
    guard String(validating: event, as: UTF8.self) != nil else { throw ModelFailure(.malformed, "a piece that is not UTF-8") }
    let chunk: Chunk
    do {
      chunk = try JSONDecoder().decode(Chunk.self, from: Data(event))
    } catch {
      throw ModelFailure(.malformed, "a piece that is no chunk of a completion")
    }
    if let error = chunk.error { throw ModelFailure(.serverError, error.message ?? "an error without a message") }
    if let said = chunk.usage {
      let counts = 0...OrchestratorLimits.modelTokens
      guard counts.contains(said.prompt_tokens), counts.contains(said.completion_tokens ?? 0) else {
        throw ModelFailure(.malformed, "a usage that cannot be")
      }
      usage = Usage(prompt: said.prompt_tokens, completion: said.completion_tokens ?? 0)
    }
    // Only one answer was asked for.
    guard let choice = chunk.choices?.first(where: { $0.index ?? 0 == 0 }) else { return "" }
    if let reason = choice.finish_reason, !reason.isEmpty { finish = reason }
    guard let delta = choice.delta else { return "" }
    refusal += delta.refusal ?? ""
    for wish in delta.tool_calls ?? [] { try take(wish) }
    let added = delta.content ?? ""
    count(added + (delta.refusal ?? ""))
    text += added
    return added
  }

  private mutating func take(_ wish: Chunk.Wish) throws(ModelFailure) {
    let index = wish.index ?? wishes.count
    guard (0..<OrchestratorLimits.modelCalls).contains(index) else { throw ModelFailure(.malformed, "too many calls of tools at once") }
    var call = wishes[index] ?? ChatToolCall(id: "", name: "", arguments: "")
    if let id = wish.id, !id.isEmpty { call.id = id }
    call.name += wish.function?.name ?? ""
    call.arguments += wish.function?.arguments ?? ""
    count((wish.function?.name ?? "") + (wish.function?.arguments ?? ""))
    guard call.arguments.utf8.count <= OrchestratorLimits.modelArgumentBytes, call.name.utf8.count <= 200, call.id.utf8.count <= 200 else {
      throw ModelFailure(.malformed, "a call of a tool that is too long")
    }
    wishes[index] = call
  }

  private mutating func count(_ added: String) {
    guard !added.isEmpty else { return }
    pieces += 1
    bytes += added.utf8.count
  }

  /// Gives each call an id of its own, where the provider gave none: what answers it must name it.
  mutating func nameCalls() {
    for (index, call) in wishes where call.id.isEmpty { wishes[index]?.id = "call-\(index)" }
  }
}

/// One chunk, of which nearly everything may be absent or null.
private struct Chunk: Decodable {
  struct Choice: Decodable {
    var index: Int?
    var delta: Delta?
    var finish_reason: String?
  }

  struct Delta: Decodable {
    var content: String?
    var refusal: String?
    var tool_calls: [Wish]?
  }

  struct Wish: Decodable {
    struct Function: Decodable {
      var name: String?
      var arguments: String?
    }

    var index: Int?
    var id: String?
    var function: Function?
  }

  struct Usage: Decodable {
    var prompt_tokens: Int
    var completion_tokens: Int?
  }

  struct Fault: Decodable {
    var message: String?
  }

  var choices: [Choice]?
  var usage: Usage?
  var error: Fault?
}
