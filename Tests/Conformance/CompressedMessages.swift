import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Testing

/// Compression of messages: rows 12 and 13.
extension Checklist {
  static let compression: [Case] = encodings + negotiation

  private static let flagged = Frames.text("hi", flag: 1)

  private static let encodings: [Case] =
    [
      .server(12, "a compressed message without an encoding", body: flagged, .error(.internal)),
      .server(12, "a compressed message of identity", [("grpc-encoding", "identity")], body: flagged, .error(.internal)),
      .server(12, "an encoding that no message uses", [("grpc-encoding", "gzip")], .ok),
      .server(
        12, "an unknown encoding names those that are known", [("grpc-encoding", "snappy")], body: flagged,
        check: { call in
          call.check(.error(.unimplemented))
          let accepted = call.headers1["grpc-accept-encoding"]?.split(separator: ",").map { $0.filter { $0 != " " } } ?? []
          #expect(Set(accepted).isSuperset(of: ["gzip", "identity"]) && !accepted.contains("snappy"))
        }),
      .server(12, "a flag that is neither 0 nor 1", [("grpc-encoding", "gzip")], body: Frames.text("hi", flag: 2), .error(.internal)),
      .server(12, "a compressed message in a stream without an encoding") { echo in
        let call = try echo.client().call([(":path", "/spanwire.test.Echo/Collect")], body: Frames.hi + flagged)
        #expect(call.status == 13)
      },
    ]
    + (["gzip", "deflate"] as [String]).map { name in
      .server(
        12, "\(name) is read", [("grpc-encoding", name)], body: deflated(Text(value: "hi").encoded(), Compression(rawValue: name)!), .ok)
    }
    + (["gzip", "deflate"] as [String]).map { name in
      .client(
        12, "\(name) is read",
        [.leading([("grpc-encoding", name)]), .data(deflated(Text(value: "hello").encoded(), Compression(rawValue: name)!)), .ok],
        .text("hello"))
    }
    + [
      .client(12, "a compressed answer without an encoding", [.leading([]), .data(flagged), .ok], .error(.internal)),
      .client(12, "a compressed answer of identity", [.leading([("grpc-encoding", "identity")]), .data(flagged), .ok], .error(.internal)),
      .client(12, "an unknown encoding", [.leading([("grpc-encoding", "foo")]), .data(flagged), .ok], .error(.internal)),
      .client(12, "an encoding that the answer does not use", [.leading([("grpc-encoding", "gzip")]), .hello, .ok], .text("hello")),
      .client(
        12, "a flag that is neither 0 nor 1", [.leading([("grpc-encoding", "gzip")]), .data(Frames.text("hi", flag: 2)), .ok],
        .error(.internal)),
    ]

  private static let long = String(repeating: "compressible ", count: 100)

  private static let negotiation: [Case] =
    [
      (nil, nil), ("identity", nil), ("gzipped", nil), ("", nil), ("gzip", "gzip"), ("identity, deflate,gzip", "gzip"),
      ("deflate", "deflate"),
    ]
    .map { (accepted: String?, encoding: String?) in
      .server(
        13, "a server that would have gzip, a client that accepts '\(accepted ?? "nothing")'", configure: { $0.compression = .gzip }
      ) { echo in
        let call = try echo.client().call(accepted.map { [("grpc-accept-encoding", $0)] } ?? [], body: Frames.text(long))
        #expect(call.status == 0)
        #expect(Frames.split(call.body).map(\.flag) == [encoding == nil ? 0 : 1])
        #expect(call.headers1["grpc-encoding"].flatMap { $0 == "identity" ? nil : $0 } == encoding)
        #expect(texts(call.body, encoding.flatMap { Compression(rawValue: $0) } ?? .gzip) == [long])
      }
    }
    + [
      .server(
        13, "each message stands alone",
        service: CustomEcho(expand: { _, responses, _ in for _ in 0..<3 { try await responses.write(Text(value: long)) } }),
        configure: { $0.compression = .gzip }
      ) { echo in
        let call = try echo.client().call([(":path", "/spanwire.test.Echo/Expand"), ("grpc-accept-encoding", "gzip")])
        #expect(Frames.split(call.body).map(\.flag) == [1, 1, 1])
        #expect(texts(call.body, .gzip) == [long, long, long])
      },
      .server(
        13, "a handler may leave out a message",
        service: CustomEcho(expand: { _, responses, context in
          for number in 0..<3 {
            context.compressesResponses = number != 1
            try await responses.write(Text(value: long))
          }
        }), configure: { $0.compression = .gzip }
      ) { echo in
        let call = try echo.client().call([(":path", "/spanwire.test.Echo/Expand"), ("grpc-accept-encoding", "gzip")])
        #expect(Frames.split(call.body).map(\.flag) == [1, 0, 1])
        #expect(texts(call.body, .gzip) == [long, long, long])
      },
      .client(13, "a caller may leave out a request", script: { _ in [.awaitEnd, .leading([]), .hello, .ok] }) { scripted in
        _ = try await scripted.echo.collect(options: CallOptions(compression: .gzip)) { requests in
          for number in 0..<3 {
            requests.compresses = number != 1
            try await requests.write(Text(value: long))
          }
        }
        #expect(Frames.split(scripted.call().body).map(\.flag) == [1, 0, 1])
      },
      .client(13, "requests are compressed if the caller says so", script: { _ in [.awaitEnd, .leading([]), .hello, .ok] }) { scripted in
        for (number, compression) in [nil, .gzip, .deflate].enumerated() as EnumeratedSequence<[Compression?]> {
          _ = try await scripted.echo.get(Text(value: long), options: CallOptions(compression: compression))
          let call = scripted.call(number)
          #expect(call.fields.first { $0.name == "grpc-encoding" }?.value == compression?.rawValue)
          #expect(Frames.split(call.body).map(\.flag) == [compression == nil ? 0 : 1])
          #expect(texts(call.body, compression ?? .gzip) == [long])
        }
      },
      .client(13, "each request of a stream stands alone", script: { _ in [.awaitEnd, .leading([]), .hello, .ok] }) { scripted in
        _ = try await scripted.echo.collect(options: CallOptions(compression: .gzip)) { requests in
          for _ in 0..<3 { try await requests.write(Text(value: long)) }
        }
        #expect(Frames.split(scripted.call().body).map(\.flag) == [1, 1, 1])
        #expect(texts(scripted.call().body, .gzip) == [long, long, long])
      },
    ]

  /// The texts of a body whose flagged messages are compressed, each on its own.
  private static func texts(_ body: [UInt8], _ compression: Compression) -> [String] {
    Frames.split(body).compactMap { frame in
      try? frame.message.withUnsafeBytes { bytes throws in
        if frame.flag == 0 { return try Text(decoding: bytes).value }
        let plain = try MessageCompression.inflate(bytes, compression, limits: .default)
        return try plain.withUnsafeBytes { plain throws in try Text(decoding: plain).value }
      }
    }
  }
}
