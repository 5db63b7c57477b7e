import Glibc

/// What is fed with arbitrary bytes: by libFuzzer (tools/fuzz), and by the tests with all that was ever found.
///
/// A target must survive whatever it is given, and checks what must hold for every input; it traps where that does not. It is
/// deterministic but for the randomness of TLS.
public enum FuzzTarget: String, CaseIterable, Sendable {
  /// The decoder: typed, dynamic and as a view, with protobuf-c and JSON behind it.
  case decoder
  /// JSON text to messages and back.
  case json
  /// FileDescriptorProtos from anywhere, as reflection brings them, into a pool.
  case descriptors
  /// Header fields as metadata, `-bin` values, traceparent.
  case metadata
  /// `grpc-message`.
  case percent
  /// `grpc-timeout`.
  case timeout
  /// What a client may send to a server, from the preface on.
  case http2Server = "http2-server"
  /// What a server may send to a client with calls open.
  case http2Client = "http2-client"
  /// Length-prefixed messages, compressed or not, in any cuts.
  case messages
  /// Records of TLS, from the start or in a handshake under way.
  case tls

  public func run(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    switch self {
    case .decoder: fuzzDecoder(&input)
    case .json: fuzzJSON(&input)
    case .descriptors: fuzzDescriptors(&input)
    case .metadata: fuzzMetadata(&input)
    case .percent: fuzzPercent(&input)
    case .timeout: fuzzTimeout(&input)
    case .http2Server: fuzzServerSession(&input)
    case .http2Client: fuzzClientSession(&input)
    case .messages: fuzzMessages(&input)
    case .tls: fuzzTLS(&input)
    }
  }
}

/// The bytes of one input, taken from the front.
struct FuzzInput {
  private(set) var rest: UnsafeRawBufferPointer

  init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

  var isEmpty: Bool { rest.isEmpty }

  /// The next byte; 0 at the end.
  mutating func byte() -> UInt8 {
    guard let first = rest.first else { return 0 }
    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst())
    return first
  }

  mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer {
    let taken = UnsafeRawBufferPointer(rebasing: rest.prefix(count))
    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
    return taken
  }

  mutating func all() -> [UInt8] { Array(bytes(rest.count)) }
}

/// Copies bytes to where a sanitizer sees who reads beyond them.
func withCopy<Value>(_ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
  let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
  defer { copy.deallocate() }
  copy.copyMemory(from: bytes)
  return body(UnsafeRawBufferPointer(copy))
}

/// What must hold for every input does not: says so and ends the process, in release builds too.
func violated(_ what: @autoclosure () -> String, line: UInt = #line, file: StaticString = #fileID) -> Never {
  let text = "violated at \(file):\(line): \(what())\n"
  _ = write(2, text, text.utf8.count)
  abort()
}

func require(_ holds: Bool, _ what: @autoclosure () -> String = "", line: UInt = #line, file: StaticString = #fileID) {
  if !holds { violated(what(), line: line, file: file) }
}
