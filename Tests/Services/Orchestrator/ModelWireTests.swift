import SpanwireSchema
import Testing

@testable import SpanwireOrchestrator

/// What is read of models' streams, and what is said to them: without a network.
struct ModelWireTests {
  @Test(
    "Events are read however their lines end and wherever the pieces break",
    arguments: [
      ("data: a\n\ndata: b\n\n", ["a", "b"]),
      ("data: a\r\n\r\ndata:b\r\n\r\n", ["a", "b"]),
      ("data: a\r\rdata: b\r\r", ["a", "b"]),
      (": keepalive\n\nevent: x\nid: 1\nretry: 3\ndata: a\n\n", ["a"]),
      ("data: a\ndata: b\n\n", ["a\nb"]),
      ("data\n\n", [""]),
      ("\u{FEFF}data: a\n\n", ["a"]),
      ("data:  a\n\n", [" a"]),
      ("data: grüß ☕\n\n", ["grüß ☕"]),
      ("data: never ended", []),
      ("database: no\n\n", []),
    ])
  func events(text: String, expected: [String]) throws {
    for size in [1, 2, 3, 7, 1_000] {
      var reader = ServerSentEvents()
      var found: [String] = []
      let bytes = Array(text.utf8)
      for start in stride(from: 0, to: bytes.count, by: size) {
        let events = try reader.take(Array(bytes[start..<min(start + size, bytes.count)]))
        found += events.map { String(decoding: $0, as: UTF8.self) }
      }
      #expect(found == expected, "in pieces of \(size)")
    }
  }

  @Test("An event without end is given up where it is too long")
  func tooLong() {
    var reader = ServerSentEvents(atMost: 10)
    #expect(throws: ServerSentEvents.TooLong.self) { try reader.take(Array("data: 12345".utf8)) }
  }

  private func answer(_ events: [String]) throws -> ChatAnswer {
    var answer = ChatAnswer()
    for event in events { _ = try answer.take(Array(event.utf8)) }
    return answer
  }

  @Test("Text, calls of tools whose arguments come in pieces, the end and the usage are put together")
  func assembled() throws {
    let said = try answer([
      #"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}],"usage":null}"#,
      #"{"choices":[{"index":0,"delta":{"content":"Hel"}}]}"#,
      #"{"choices":[{"index":1,"delta":{"content":"another choice"}},{"index":0,"delta":{"content":"lo"}}]}"#,
      #"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"second","arguments":""}}]}}]}"#,
      #"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"first","arguments":"{\"x\""}}]}}]}"#,
      #"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}},{"index":1,"function":{"arguments":"{}"}}]}}]}"#,
      #"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
      #"{"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19}}"#,
      "[DONE]",
    ])
    #expect(said.text == "Hello" && said.finish == "tool_calls" && said.isDone)
    #expect(said.usage == ChatAnswer.Usage(prompt: 12, completion: 7))
    #expect(
      said.calls == [
        ChatToolCall(id: "a", name: "first", arguments: #"{"x":1}"#), ChatToolCall(id: "b", name: "second", arguments: "{}"),
      ])
    #expect(said.tokens >= 6)
  }

  @Test(
    "What is no chunk of a completion is told apart from silence",
    arguments: [
      ("{", ModelFailure.Reason.malformed), ("[]", .malformed), (#"{"choices":3}"#, .malformed),
      (#"{"usage":{"prompt_tokens":-1,"completion_tokens":1}}"#, .malformed),
      (#"{"usage":{"prompt_tokens":1,"completion_tokens":900000000000}}"#, .malformed),
      (#"{"choices":[{"delta":{"tool_calls":[{"index":99,"id":"a"}]}}]}"#, .malformed),
      (#"{"error":{"message":"overloaded"}}"#, .serverError),
    ])
  func malformed(event: String, reason: ModelFailure.Reason) {
    let failure = #expect(throws: ModelFailure.self) { try answer([event]) }
    #expect(failure?.reason == reason)
  }

  @Test(
    "An error's status and shape say what went wrong",
    arguments: [
      (429, #"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#, "7", ModelFailure.Reason.rateLimited),
      (400, #"{"error":{"message":"too long","code":"context_length_exceeded"}}"#, nil, .contextLengthExceeded),
      (400, #"{"error":{"message":"odd","code":400}}"#, nil, .badRequest),
      (401, "{}", nil, .unauthorized), (404, "no", nil, .unknownModel), (500, "", nil, .serverError), (503, "<html>", "x", .overloaded),
    ] as [(Int, String, String?, ModelFailure.Reason)])
  func shapes(status: Int, body: String, retryAfter: String?, reason: ModelFailure.Reason) {
    let failure = ModelFailure(status: status, body: Array(body.utf8), retryAfter: retryAfter)
    #expect(failure.reason == reason)
    #expect(failure.retryAfter == (retryAfter == "7" ? .seconds(7) : nil))
  }

  @Test("A key that a provider repeats is in nothing that is kept, and neither are line breaks")
  func redacted() {
    #expect("Incorrect API key provided: Bearer sk-1\nand more".redacted("sk-1") == "Incorrect API key provided: Bearer [key] and more")
  }

  @Test("A question is what the protocol asks for")
  func question() {
    let question = ChatQuestion(
      model: "m", messages: [.system("a\"b"), .assistant(text: "", calls: [ChatToolCall(id: "1", name: "f", arguments: "{}")])],
      functions: [ChatFunction(name: "f", description: "d", parameters: #"{"type":"object"}"#)], maxTokens: 9)
    #expect(
      String(decoding: question.body(), as: UTF8.self)
        == #"{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":9,"messages":[{"role":"system","content":"a\"b"},"#
        + #"{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}],"#
        + #""tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}]}"#)
  }

  @Test(
    "A price is exact to the micro-unit, a part of one counting as one",
    arguments: [(0, 0, 0), (1, 0, 3), (1_000_000, 0, 2_500_000), (3, 7, 78)])
  func price(prompt: Int, completion: Int, micros: Int64) {
    let offer = ModelOffer(
      model: "m", inputPrice: Money(micros: 2_500_000, currency: "USD"), outputPrice: Money(micros: 10_000_000, currency: "USD"))
    #expect(offer.cost(prompt: prompt, completion: completion) == micros)
    #expect(offer.completion(for: offer.cost(prompt: prompt, completion: completion), prompt: prompt) >= completion)
  }
}
