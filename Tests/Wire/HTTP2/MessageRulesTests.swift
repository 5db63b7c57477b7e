import Testing

@testable import SpanwireHTTP2

/// The rules of RFC 9113, section 8, message by message; HTTP2RulesTests sees what a server makes of those that break them.
@Suite struct MessageRulesTests {
  typealias Fields = [(String, String)]

  struct Message: Sendable, CustomTestStringConvertible {
    let name: String
    var fields: Fields
    /// Blocks before the one at hand, each allowed.
    var before: [Fields] = []
    /// DATA after the fields.
    var bytes: Int?
    var endsBlock = true
    let isAllowed: Bool
    var testDescription: String { name }

    init(_ name: String, _ fields: Fields, after before: [Fields] = [], bytes: Int? = nil, ends: Bool = true, _ isAllowed: Bool) {
      self.name = name
      self.fields = fields
      self.before = before
      self.bytes = bytes
      endsBlock = ends
      self.isAllowed = isAllowed
    }
  }

  private static let web: Fields = [(":method", "POST"), (":scheme", "https"), (":path", "/s/m"), (":authority", "h:1")]
  private static let anonymous = web.filter { $0.0 != ":authority" }
  private static func web(_ changes: [String: String]) -> Fields { web.map { ($0, changes[$0] ?? $1) } }

  static let requests: [Message] = [
    Message("a request", web, true),
    Message("fields behind", web + [("te", "trailers"), ("te", "Trailers"), ("x", ""), ("x", "a b\t\u{e9}")], true),
    Message("no authority", anonymous, false),
    Message("a host instead", anonymous + [("host", "h")], true),
    Message("two hosts", web + [("host", "h"), ("host", "h")], false),
    Message("a host of odd bytes", web + [("host", "a/b")], false),
    Message("an authority that names a socket", web([":authority": "%2Ftmp%2Fsocket"]), true),
    Message("an authority with blanks", web([":authority": "h i"]), false),
    Message("a method of odd bytes", web([":method": "PO ST"]), false),
    Message("no method at all", web([":method": ""]), false),
    Message("any token as a method", web([":method": "M-SEARCH"]), true),
    Message("a relative path", web([":path": "s/m"]), false),
    Message("a path with a blank", web([":path": "/s m"]), false),
    Message("an asterisk", web([":path": "*"]), false),
    Message("an asterisk of OPTIONS", web([":method": "OPTIONS", ":path": "*"]), true),
    Message("a relative path of another scheme", web([":scheme": "coap", ":path": "s/m"]), true),
    Message("a scheme in upper case", web([":scheme": "HTTP", ":path": "s/m"]), false),
    Message("a scheme that begins with a digit", web([":scheme": "1http"]), false),
    Message("CONNECT", [(":method", "CONNECT"), (":authority", "h:1")], true),
    Message("CONNECT with a path", web([":method": "CONNECT"]), false),
    Message("CONNECT to nobody", [(":method", "CONNECT")], false),
    Message("a protocol of extended CONNECT", web([":method": "CONNECT"]) + [(":protocol", "websocket")], false),
    Message("a name with a colon", web + [("a:b", "c")], false),
    Message("a name of rare bytes", web + [("a!#$%&'*+^`|~b", "c")], true),
    Message("a name in upper case at its end", web + [("a-long-name-wit-H", "c")], false),
    Message("no name at all", web + [("", "c")], false),
    Message("keep-alive", web + [("keep-alive", "1")], false),
    Message("proxy-connection", web + [("proxy-connection", "close")], false),
    Message("upgrade", web + [("upgrade", "h2c")], false),
    Message("a length with a sign", web + [("content-length", "+1")], bytes: 1, false),
    Message("a length beyond 63 bits", web + [("content-length", "9223372036854775808")], ends: false, false),
    Message("two lengths", web + [("content-length", "1"), ("content-length", "1")], bytes: 1, false),
    Message("the length that was promised", web + [("content-length", "5")], bytes: 5, true),
    Message("less than was promised", web + [("content-length", "5")], bytes: 4, false),
    Message("more than was promised", web + [("content-length", "5")], bytes: 6, false),
    Message("trailers", [("x", "y")], after: [web], true),
    Message("no trailers at all", [], after: [web], true),
    Message("trailers with a pseudo-header", [(":path", "/")], after: [web], false),
    Message("trailers that do not end the message", [("x", "y")], after: [web], ends: false, false),
    Message("trailers of a body that is too short", [("x", "y")], after: [web + [("content-length", "5")]], false),
  ]

  static let responses: [Message] = [
    Message("a response", [(":status", "200"), ("x", "y")], bytes: 3, true),
    Message("no status", [("x", "y")], false),
    Message("a status behind a field", [("x", "y"), (":status", "200")], false),
    Message("two statuses", [(":status", "200"), (":status", "200")], false),
    Message("a status of four digits", [(":status", "2000")], false),
    Message("a status that is no number", [(":status", "2x0")], false),
    Message("a change of the protocol", [(":status", "101")], ends: false, false),
    Message("a pseudo-header of requests", [(":status", "200"), (":path", "/")], false),
    Message("an informational response before", [(":status", "200")], after: [[(":status", "103"), ("link", "x")]], bytes: 1, true),
    Message("an informational response as the last word", [(":status", "100")], false),
    Message("a body after an informational response", [(":status", "100")], bytes: 1, false),
    Message("an informational response with a length", [(":status", "100"), ("content-length", "0")], ends: false, false),
    Message("204 with a length", [(":status", "204"), ("content-length", "1")], ends: false, false),
    Message("204 with a body", [(":status", "204")], bytes: 1, false),
    Message("304 without the body that it speaks of", [(":status", "304"), ("content-length", "5")], true),
    Message("connection", [(":status", "200"), ("connection", "close")], false),
    Message("trailers", [("grpc-status", "0")], after: [[(":status", "200")]], true),
    Message("trailers with a status", [(":status", "200")], after: [[(":status", "200")]], false),
  ]

  @Test("requests as they may be, and not", arguments: requests)
  func request(message: Message) { check(message, .request) }

  @Test("responses as they may be, and not", arguments: responses)
  func response(message: Message) { check(message, .response) }

  private func check(_ message: Message, _ kind: MessageRules.Kind) {
    var rules = MessageRules()
    for fields in message.before {
      let isAllowed = allows(fields, &rules, kind, ends: false)
      #expect(isAllowed)
    }
    var isAllowed = allows(message.fields, &rules, kind, ends: message.bytes == nil && message.endsBlock)
    if let bytes = message.bytes { isAllowed = isAllowed && rules.allows(bytes: bytes) && rules.allowsEnd }
    #expect(isAllowed == message.isAllowed)
  }

  private func allows(_ fields: Fields, _ rules: inout MessageRules, _ kind: MessageRules.Kind, ends: Bool) -> Bool {
    for (name, value) in fields {
      let isAllowed = Array(name.utf8).withUnsafeBytes { name in
        Array(value.utf8).withUnsafeBytes { value in
          FieldRule(name, value, in: kind).map { rules.allows($0) } ?? false
        }
      }
      if !isAllowed { return false }
    }
    return rules.allowsEndOfBlock(in: kind, endsStream: ends)
  }

  @Test("every byte, at every place of texts of every length around a word's, is judged as by itself")
  func texts() {
    let isTokenInLowerCase = { (byte: UInt8) in
      UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
        || "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
    let isOfAuthority = { (byte: UInt8) in
      UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20 && byte < 0x80 || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
        || "!$%&'()*+,-.:;=@[]_~".utf8.contains(byte)
    }
    for count in 1...33 {
      for place in 0..<count {
        for byte in UInt8.min ... .max {
          var text = [UInt8](repeating: UInt8(ascii: "x"), count: count)
          text[place] = byte
          let (isName, isValue, isVisible, isOfHost) = text.withUnsafeBytes {
            (FieldText.isName($0), FieldText.isValue($0), FieldText.isVisible($0), FieldText.isAuthority($0))
          }
          let isExpected =
            isName == isTokenInLowerCase(byte) && isValue == (byte >= 0x20 && byte != 0x7F || byte == 0x09)
            && isVisible == (byte > 0x20 && byte != 0x7F) && isOfHost == isOfAuthority(byte)
          if !isExpected { Issue.record("byte \(byte) at \(place) of \(count)") }
        }
      }
    }
  }

  @Test("fields that come again, change, and come again in another place of their block are those that were sent")
  func remembered() throws {
    let (client, server) = (End(.client), End(.server))
    try exchange(client, server)
    for turn in 0..<40 {
      let more = [("x-same", "s"), ("x-turn", "\(turn / 3)"), (turn % 7 == 0 ? "x-odd" : "x-usual", " v ")]
      let fields = turn % 5 < 3 ? more : more.reversed()
      try client.session.submitRequest(RecordingStream(), SpanwireHTTP2Tests.request(fields), hasBody: false)
      try exchange(client, server)
      let sent = fields.map { "\($0): \($1 == " v " ? "v" : $1)" }
      guard case .headers(let received) = server.accepted.last?.events.first else {
        Issue.record("no request came")
        return
      }
      #expect(received.suffix(3) == sent[...])
    }
  }
}
