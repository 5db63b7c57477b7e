import SpanwireProtobuf
import SpanwireRPC
import Testing

@Suite struct MetadataTests {
  @Test("keeps the order and the duplicates of names, and finds them whatever their case")
  func multimap() {
    var metadata: Metadata = ["x-one": "1", "x-two": "2", "X-One": "3"]
    #expect(metadata.names == ["x-one", "x-two", "x-one"])
    #expect(metadata["X-ONE"] == "1")
    #expect(metadata[all: "x-one"] == ["1", "3"])
    #expect(metadata["x-three"] == nil)
    metadata.set("x-one", "4")
    #expect(metadata.names == ["x-two", "x-one"])
    metadata.removeAll("x-two")
    #expect(metadata == ["x-one": "4"])
    metadata.add(contentsOf: ["x-five": ""])
    #expect(metadata.count == 2 && metadata["x-five"] == "")
  }

  @Test("carries bytes under names that end in -bin, as set and as they come off the wire")
  func bytes() {
    var metadata = Metadata()
    metadata.add("trace-bin", bytes: [0, 255, 7])
    #expect(metadata[bytes: "trace-bin"] == [[0, 255, 7]])
    #expect(metadata["trace-bin"] == "AP8H")

    var received = Metadata()
    for text in ["AP8H", "AQ==,AQ", "***"] {
      Array("trace-bin".utf8).withUnsafeBytes { name in
        Array(text.utf8).withUnsafeBytes { received.appendWire(name: name, value: $0) }
      }
    }
    #expect(received[bytes: "trace-bin"] == [[0, 255, 7], [1], [1]])
    var sent = Metadata()
    sent.add("trace-bin", bytes: [0, 255, 7])
    #expect(sent == metadata)
  }

  @Test("an empty one equals another, and one with pairs does not")
  func equality() {
    #expect(Metadata() == Metadata())
    #expect(Metadata() != ["a": "b"])
    #expect(["a": "b"] as Metadata != ["a": "c"])
  }

  @Test(
    "names are lower-case, short and not the protocol's own",
    arguments: [
      ("x-user", true), ("a", true), ("0_.-", true), ("", false), ("grpc-status", false), ("X", false), ("a b", false), ("ä", false),
      (":path", false), (String(repeating: "a", count: 256), false),
    ])
  func names(name: String, isLegal: Bool) {
    #expect(Metadata.isLegal(name: name) == isLegal)
  }
}

@Suite struct Base64Tests {
  @Test(
    "reads padded and unpadded text of both alphabets, and nothing else",
    arguments: [
      ("", []), ("AA==", [0]), ("AA", [0]), ("AAE=", [0, 1]), ("AAE", [0, 1]), ("AAEC", [0, 1, 2]), ("+/+/", [0xFB, 0xFF, 0xBF]),
      ("-_-_", [0xFB, 0xFF, 0xBF]), ("A", nil), ("A===", nil), ("AA=", nil), ("A*==", nil), ("AAAAA", nil),
    ] as [(String, [UInt8]?)])
  func decode(text: String, bytes: [UInt8]?) {
    #expect(Array(text.utf8).withUnsafeBytes { Base64.decode($0) } == bytes)
  }

  @Test("what is written is read back, at every length")
  func roundTrip() {
    for length in 0..<50 {
      let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
      for padding in [true, false] {
        let text = Base64.encode(bytes, padding: padding)
        #expect(Array(text.utf8).withUnsafeBytes { Base64.decode($0) } == bytes)
        #expect(!padding || text.utf8.count % 4 == 0)
      }
    }
  }
}
