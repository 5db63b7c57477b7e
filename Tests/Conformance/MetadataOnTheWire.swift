import SpanwireHTTP2
import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Synchronization
import Testing

/// Metadata in headers: rows 7 to 10.
extension Checklist {
  static let metadataOnTheWire: [Case] = names + bytes + oddValues + listSizes

  /// Answers with the names of the metadata that the handler sees.
  private static let tellsNames = CustomEcho(get: { _, context in Text(value: context.metadata.names.joined(separator: " ")) })

  private static let names: [Case] = [
    .server(7, "names of all legal characters reach the handler", service: tellsNames) { echo in
      let call = try echo.client().call([("x-a0_.z", "1"), ("0", "1"), ("_", "1")])
      let names = Set(Frames.texts(call.body).first?.split(separator: " ").map { String($0) } ?? [])
      #expect(names.isSuperset(of: ["x-a0_.z", "0", "_"]))
    },
    .server(7, "the protocol's own fields are not the handler's", service: tellsNames) { echo in
      let fields = [("grpc-foo", "1"), ("grpc-timeout", "10S"), ("grpc-encoding", "identity"), ("grpc-accept-encoding", "gzip")]
      let names = Frames.texts(try echo.client().call(fields.map { ($0.0, $0.1) }).body).first ?? ""
      for name in fields.map({ $0.0 }) + [":path", ":method", "te", "content-type"] {
        #expect(!names.split(separator: " ").contains { $0 == name })
      }
    },
    .server(7, "duplicates keep their order, among themselves and with others") { echo in
      let fields: [(String, String?)] = [("x-d", "1"), ("x-e", "a"), ("x-d", "2"), ("x-d", "3"), ("x-e", "b")]
      let call = try echo.client().call(fields)
      #expect(call.leading.filter { $0.name == "x-d" }.map(\.value) == ["1", "2", "3"])
      #expect(call.trailing.filter { $0.name == "t-d" }.map(\.value) == ["1", "2", "3"])
      #expect(call.leading.filter { $0.name == "x-e" }.map(\.value) == ["a", "b"])
    },
    rawRequest(7, "an upper-case name is a PROTOCOL_ERROR", RawClient.usual + [("X-Upper", "1")]) { answers in
      #expect(answers.map(\.type) == [.reset] && answers.first?.number(at: 0) == 1, "\(answers)")
    },
    .server(7, "a name that HTTP allows and gRPC does not harms nobody, even when it is echoed", [("x-a!b~c", "1")], .ok),
    .server(7, "a handler cannot say what is the protocol's") { _ in
      for name in ["grpc-status", "grpc-message", "grpc-anything", ":status", "X-Upper\n", "", "a b", "ä"] {
        #expect(!Metadata.isLegal(name: name), "\(name)")
      }
      for name in ["x", "a-b_c.d", "0-bin"] { #expect(Metadata.isLegal(name: name)) }
    },
    .client(
      7, "duplicates keep their order in headers and trailers; the protocol's own are not the caller's",
      script: { _ in
        [
          .leading([("x-d", "1"), ("grpc-foo", "1"), ("x-e", "a"), ("x-d", "2")]), .hello,
          .trailers([("t-d", "1"), ("grpc-status", "0"), ("grpc-bar", "1"), ("t-d", "2")]),
        ]
      }
    ) { scripted in
      let response = try await scripted.channel.unary(Text(), Echo.Methods.get, CallOptions(), returning: Text.self)
      #expect(response.metadata.names == ["x-d", "x-e", "x-d"])
      #expect(response.metadata[all: "x-d"] == ["1", "2"])
      #expect(response.trailers.names == ["t-d", "t-d"] && response.trailers[all: "t-d"] == ["1", "2"])
    },
    .client(7, "duplicates are sent in their order", script: { _ in [.leading([]), .hello, .ok] }) { scripted in
      _ = try await scripted.echo.get(Text(), options: .metadata(["x-d": "1", "x-e": "a", "x-d": "2"]))
      #expect(scripted.call().fields.filter { $0.name.hasPrefix("x-") }.map(\.value) == ["1", "a", "2"])
    },
  ]

  /// What base64 text stands for, and what it comes back as.
  private static let base64: [(name: String, sent: String, values: [[UInt8]])] = [
    ("unpadded", "AAE", [[0, 1]]), ("padded", "AAE=", [[0, 1]]), ("two of padding", "AA==", [[0]]), ("empty", "", [[]]),
    ("whole", "AAEC", [[0, 1, 2]]), ("joined by commas, padded and not", "AAE=,/w,AQID", [[0, 1], [255], [1, 2, 3]]),
    ("all bits", "+/+/", [[0xFB, 0xFF, 0xBF]]),
  ]

  private static let bytes: [Case] =
    base64.map { row in
      .server(8, "\(row.name) base64 is read, and written unpadded") { echo in
        let call = try echo.client().call([("x-raw-bin", row.sent)])
        #expect(call.status == 0)
        #expect(call.leading.filter { $0.name == "x-raw-bin" }.map(\.value) == row.values.map { Base64.encode($0, padding: false) })
        #expect(!call.leading.contains { $0.name == "x-raw-bin" && $0.value.contains("=") })
      }
    }
    + base64.map { row in
      .client(
        8, "\(row.name) base64 is read",
        script: { _ in [.leading([("x-raw-bin", row.sent)]), .hello, .trailers([("grpc-status", "0"), ("t-raw-bin", row.sent)])] }
      ) { scripted in
        let response = try await scripted.channel.unary(Text(), Echo.Methods.get, CallOptions(), returning: Text.self)
        #expect(response.metadata[bytes: "x-raw-bin"] == row.values && response.trailers[bytes: "t-raw-bin"] == row.values)
      }
    }
    + [
      .server(8, "what is not base64 is left out, and harms nobody") { echo in
        let call = try echo.client().call([("x-raw-bin", "****"), ("x-raw-bin", "A"), ("x-raw-bin", "AAE")])
        #expect(call.status == 0)
        #expect(call.leading.filter { $0.name == "x-raw-bin" }.map(\.value) == ["AAE"])
      },
      .client(8, "bytes are written as unpadded base64", script: { _ in [.leading([]), .hello, .ok] }) { scripted in
        var metadata = Metadata()
        for value in [[0], [0, 1], [0, 1, 2], [], [0xFB, 0xFF]] as [[UInt8]] { metadata.add("x-raw-bin", bytes: value) }
        _ = try await scripted.echo.get(Text(), options: .metadata(metadata))
        #expect(scripted.call().fields.filter { $0.name == "x-raw-bin" }.map(\.value) == ["AA", "AAE", "AAEC", "", "+/8"])
      },
    ]

  private static let odd: [UInt8] = [0x61, 0x09, 0x62, 0x80, 0xFF, 0xC3, 0x28]

  private static let oddValues: [Case] = [
    .server(9, "text beyond ASCII is no error, and comes back", [("x-odd", "caf\u{e9} ☕")], .ok),
    .server(9, "bytes that are no UTF-8, and a tab, are no error and safe to echo") { echo in
      let client = try echo.client()
      let call = try client.begin(bytes: [("x-odd", odd)], body: Frames.hi)
      try client.run { call.closeCode1 != nil }
      #expect(call.status == 0 && call.headers1["x-odd"]?.hasPrefix("a\tb") == true)
    },
    .server(9, "an empty value is a value", [("x-empty", "")], .ok),
    .server(
      9, "blanks around a value are no error, and no part of it", [("x-blank", " \ta b ")],
      check: { call in
        #expect(call.status == 0 && call.headers1["x-blank"] == "a b")
      }),
    .client(
      9, "bytes that are no text are no error in an answer",
      script: { _ in
        let field = [0, 5] + Array("x-odd".utf8) + [UInt8(odd.count)] + odd
        var head = RawFrame.headers([(":status", "200"), ("content-type", "application/grpc")], stream: 0, ends: false)
        head.payload += field
        return [
          .raw([head, RawFrame(.data, payload: Frames.text("hello"))]),
          .raw([RawFrame.headers([("grpc-status", "0")], stream: 0, ends: true)]),
        ]
      }
    ) { scripted in
      let response = try await scripted.channel.unary(Text(), Echo.Methods.get, CallOptions(), returning: Text.self)
      let value = try #require(response.metadata["x-odd"])
      #expect(response.message.value == "hello" && value.hasPrefix("a\tb"))
      // Safe to send on.
      #expect(Metadata.isLegal(text: value))
      _ = try await scripted.echo.get(Text(), options: .metadata(response.metadata))
    },
  ]

  /// Fields that come to just this size, counted as HTTP/2 does, together with the usual ones.
  private static func fields(adding upTo: Int) -> [(String, String?)] {
    let usual = RawClient.usual.reduce(0) { $0 + $1.0.utf8.count + $1.1.utf8.count + 32 }
    return [("x-fill", String(repeating: "f", count: upTo - usual - 38))]
  }

  private static let listSizes: [Case] = [
    .server(10, "a list of just the limit passes, one more does not", configure: { $0.limits.maxHeaderListSize = 2048 }) { echo in
      let client = try echo.client()
      #expect(try client.call(fields(adding: 2048)).status == 0)
      let refused = try client.call(fields(adding: 2049))
      #expect(refused.status != 0, "\(refused.leading)")
      #expect(try client.call().status == 0)
    },
    .server(10, "each field counts for 32 more", configure: { $0.limits.maxHeaderListSize = 2048 }) { echo in
      let client = try echo.client()
      // 64 names and values of two bytes: 2176 as HTTP/2 counts, 128 as they stand.
      let refused = try client.call((0..<64).map { _ in ("a", "b") })
      #expect(refused.status != 0)
      #expect(try client.call((0..<40).map { _ in ("a", "b") }).status == 0)
    },
    .server(10, "the limit is announced", configure: { $0.limits.maxHeaderListSize = 2048 }) { echo in
      let client = try echo.client()
      try client.settle()
      #expect(client.frames.first { $0.type == .settings }?.settings[6] == 2048)
    },
    .server(10, "fields of a refused block can be referred to later", configure: { $0.limits.maxHeaderListSize = 4096 }) { echo in
      let client = try echo.client()
      let mark = ("x-mark", "kept in the table")
      #expect(
        try client.call([mark] + (0..<5).map { ("x-large-\($0)", String(repeating: "y", count: 1000)) } + [("x-last", "too")]).status != 0)
      let call = try client.call([mark, ("x-last", "too")])
      #expect(call.status == 0 && call.headers1["x-mark"] == mark.1 && call.headers1["x-last"] == "too")
    },
    .client(
      10, "an answer's list beyond the limit fails its call, and the table stays right",
      script: { number in
        let large = (0..<5).map { ("x-large-\($0)", String(repeating: "y", count: 10_000)) }
        return [
          .leading([("x-mark", "kept")] + (number == 0 ? large : [])), .hello, .trailers([("grpc-status", "0"), ("t-mark", "kept")]),
        ]
      }
    ) { scripted in
      #expect(await failure { try await scripted.echo.get(Text()) }?.code == .resourceExhausted)
      let response = try await scripted.channel.unary(Text(), Echo.Methods.get, CallOptions(), returning: Text.self)
      #expect(response.metadata["x-mark"] == "kept" && response.trailers["t-mark"] == "kept")
      #expect(scripted.server.log.lines.count { $0 == "connected" } == 1)
    },
  ]
}
