import Foundation

/// What is said in a conversation with a model, in the words of OpenAI's chat completions.
enum ChatMessage: Sendable, Hashable {
  case system(String)
  case user(String)
  case assistant(text: String, calls: [ChatToolCall])
  case tool(callID: String, text: String)
}

/// A model's wish to have a function called.
struct ChatToolCall: Sendable, Hashable {
  var id: String
  var name: String
  /// JSON, as the model wrote it.
  var arguments: String
}

/// A function that a model may ask for.
struct ChatFunction: Sendable, Hashable {
  /// Letters, digits, `_` and `-`.
  var name: String
  var description: String
  /// JSON Schema of the arguments, as JSON.
  var parameters: String
}

/// One question to a model: the conversation so far, and what it may call.
struct ChatQuestion: Sendable {
  var model: String
  var messages: [ChatMessage]
  var functions: [ChatFunction]
  var maxTokens: Int
  /// What the bound is called: `max_tokens`, or `max_completion_tokens`.
  var boundName = "max_tokens"

  /// As the request's body.
  func body() -> [UInt8] {
    var fields: [(String, String)] = [
      ("model", Self.quoted(model)), ("stream", "true"), ("stream_options", #"{"include_usage":true}"#), (boundName, "\(maxTokens)"),
      ("messages", Self.list(messages.map(\.json))),
    ]
    if !functions.isEmpty { fields.append(("tools", Self.list(functions.map(\.json)))) }
    return Array(Self.object(fields).utf8)
  }

  /// About how many tokens the model reads, rather more than fewer.
  var tokens: Int { ModelTokens.estimate(body().count) }

  static func object(_ fields: [(String, String)]) -> String {
    "{" + fields.map { "\(quoted($0.0)):\($0.1)" }.joined(separator: ",") + "}"
  }

  static func list(_ values: [String]) -> String { "[" + values.joined(separator: ",") + "]" }

  static func quoted(_ text: String) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    guard let data = try? encoder.encode(text) else { preconditionFailure("a string has a JSON form") }
    return String(decoding: data, as: UTF8.self)
  }
}

extension ChatMessage {
  fileprivate var json: String {
    let quoted = ChatQuestion.quoted
    switch self {
    case .system(let text): return ChatQuestion.object([("role", #""system""#), ("content", quoted(text))])
    case .user(let text): return ChatQuestion.object([("role", #""user""#), ("content", quoted(text))])
    case .assistant(let text, let calls):
      let wishes = calls.map { call in
        let function = ChatQuestion.object([("name", quoted(call.name)), ("arguments", quoted(call.arguments))])
        return ChatQuestion.object([("id", quoted(call.id)), ("type", #""function""#), ("function", function)])
      }
      let content = text.isEmpty && !calls.isEmpty ? "null" : quoted(text)
      return ChatQuestion.object(
        [("role", #""assistant""#), ("content", content)] + (calls.isEmpty ? [] : [("tool_calls", ChatQuestion.list(wishes))]))
    case .tool(let id, let text):
      return ChatQuestion.object([("role", #""tool""#), ("tool_call_id", quoted(id)), ("content", quoted(text))])
    }
  }
}

extension ChatFunction {
  fileprivate var json: String {
    let function = ChatQuestion.object([
      ("name", ChatQuestion.quoted(name)), ("description", ChatQuestion.quoted(description)), ("parameters", parameters),
    ])
    return ChatQuestion.object([("type", #""function""#), ("function", function)])
  }
}

/// Counting tokens without their tokenizer.
enum ModelTokens {
  /// Of English, German and JSON a token holds three bytes at least, on the average; where one holds fewer, what the provider says counts.
  static let bytesPerToken = 3

  /// Of an answer, a piece is a token with most providers, and hardly ever has more bytes than these.
  static let bytesPerPiece = 6

  static func estimate(_ bytes: Int) -> Int { (bytes + bytesPerToken - 1) / bytesPerToken }
}
