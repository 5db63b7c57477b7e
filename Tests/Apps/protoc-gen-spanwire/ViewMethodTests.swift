import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireRPCOverHTTP2
import SpanwireWellKnown
import Synchronization
import Testing

@testable import protoc_gen_spanwire

/// Methods whose handlers take views, by the caller's option or by that of the file.
@Suite(.timeLimit(.minutes(15))) struct ViewMethodTests {
  /// Keeps the views that it is given beyond their calls.
  final class Librarian: ShelfService {
    let kept = Mutex<[Books.View]>([])

    func count(_ request: Books.View, context: ServerContext) async throws -> Tally {
      kept.withLock { $0.append(request) }
      return Tally(count: UInt32(request.books.count), text: request.owner)
    }

    func sum(_ requests: RequestStream<Books.View>, context: ServerContext) async throws -> Tally {
      var count = 0
      for try await request in requests { count += request.books.reduce(0) { $0 + $1.pages.count } }
      return Tally(count: UInt32(count))
    }

    func plain(_ request: Books, context: ServerContext) async throws -> Tally { Tally(count: UInt32(request.books.count)) }
  }

  static func books(_ owner: String) -> Books {
    Books(books: [Book(title: "one of \(owner)", pages: ["a", "b"]), Book(title: "two", pages: ["c"])], owner: owner)
  }

  static func check(_ shelf: ShelfClient, _ librarian: Librarian) async throws {
    for index in 0..<5 {
      #expect(try await shelf.count(books("reader \(index)")) == Tally(count: 2, text: "reader \(index)"))
    }
    let sum = try await shelf.sum { writer in for _ in 0..<4 { try await writer.write(books("many")) } }
    #expect(sum.count == 12)
    #expect(try await shelf.plain(books("values")).count == 2)
    let kept = librarian.kept.withLock { $0 }
    #expect(kept.map { $0.value() } == (0..<5).map { books("reader \($0)") }, "a view owns its bytes")
  }

  @Test("Handlers take views in process, whether values or bytes cross", arguments: [InProcessChannel.Crossing.values, .bytes])
  func inProcess(crossing: InProcessChannel.Crossing) async throws {
    let librarian = Librarian()
    let channel = InProcessChannel(ServerRouter([Shelf.routes(librarian)]), crossing: crossing)
    try await Self.check(ShelfClient(channel), librarian)
  }

  @Test("Handlers take views over HTTP/2")
  func overHTTP2() async throws {
    let librarian = Librarian()
    let server = try HTTP2Server(ServerRouter([Shelf.routes(librarian)]), ServerConfiguration([.ip("127.0.0.1", port: 0)]))
    let port = try await server.start()[0].port!
    let channel = try HTTP2Channel(.host("127.0.0.1", port: port))
    try await Self.check(ShelfClient(channel), librarian)
    await channel.close()
    await server.shutDown(grace: .zero)
  }

  /// What the generator makes of a service of two methods whose first has this option in its file.
  static func generate(option: [UInt8], parameter: String = "c_module=C", input: String = ".p.In") -> (swift: String, error: String?) {
    let method = { (name: String, unknown: [UInt8]) in
      var options = Google_Protobuf_MethodOptions()
      options.unknownFields = UnknownFields(bytes: unknown)
      return Google_Protobuf_MethodDescriptorProto(name: name, inputType: input, outputType: ".p.In", options: options)
    }
    let file = Google_Protobuf_FileDescriptorProto(
      name: "p.proto", package: "p", messageType: [Google_Protobuf_DescriptorProto(name: "In")],
      service: [Google_Protobuf_ServiceDescriptorProto(name: "S", method: [method("First", option), method("Second", [])])],
      syntax: "proto3")
    let elsewhere = Google_Protobuf_FileDescriptorProto(
      name: "q.proto", package: "q", messageType: [Google_Protobuf_DescriptorProto(name: "In")], syntax: "proto3")
    let response = Generator.respond(
      to: Google_Protobuf_Compiler_CodeGeneratorRequest(
        fileToGenerate: ["p.proto"], parameter: parameter, protoFile: [elsewhere, file]))
    return (response.file.first?.content ?? "", response.error)
  }

  // Field 50103, a varint.
  @Test(
    "The option of a method, and that of the caller, make its request a view",
    arguments: [
      (option: [0xb8, 0xbb, 0x18, 1], parameter: "c_module=C", first: "P_In.View"),
      (option: [0xb8, 0xbb, 0x18, 0], parameter: "c_module=C", first: "P_In"),
      (option: [], parameter: "c_module=C", first: "P_In"),
      (option: [], parameter: "c_module=C,view=p.S.First", first: "P_In.View"),
    ] as [(option: [UInt8], parameter: String, first: String)])
  func option(option: [UInt8], parameter: String, first: String) throws {
    let (swift, error) = Self.generate(option: option, parameter: parameter)
    #expect(error == nil)
    #expect(swift.contains("func first(_ request: \(first), context"))
    #expect(swift.contains("func second(_ request: P_In, context"))
    #expect(swift.contains("struct View: ") == first.hasSuffix(".View"))
  }

  @Test("A view of what is generated elsewhere is refused")
  func elsewhere() throws {
    let (_, error) = Self.generate(option: [], parameter: "c_module=C,view=p.S.First", input: ".q.In")
    #expect(error == "p.S.First: q.In is generated elsewhere and has no view")
  }
}
