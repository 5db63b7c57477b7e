import ArgumentParser
import Foundation
import SpanwireProtobuf
import SpanwireRPC
import SpanwireWellKnown

struct CallCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "call", abstract: "Call any method of any gRPC server that has reflection, in JSON.",
    discussion: """
      METHOD is SERVICE/METHOD, such as spanwire.city.v1.Lem/CheckCoverage. Without one the server's services are listed; a service \
      alone lists its methods. --json holds the request; several objects, one after the other, are the requests of a streaming call; \
      '-' reads them from standard input as they come. Responses are printed as JSON, one a line.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "SERVICE/METHOD, a SERVICE, or nothing.") var method: String?
  @Option(help: "The request in proto3 JSON; several for a streaming call; - for standard input.") var json: String = "{}"
  @Option(name: .customLong("metadata"), help: "NAME:VALUE to send along; may be given several times.") var metadata: [String] = []
  @Option(help: "Give up after so many seconds.") var timeout: Double = 60
  @Flag(help: "Print response metadata and trailers on standard error.") var verbose = false

  func sentMetadata() throws -> Metadata {
    var result = Metadata()
    for entry in metadata {
      guard let colon = entry.firstIndex(of: ":") else { throw ValidationError("--metadata is NAME:VALUE, not '\(entry)'") }
      let name = entry[..<colon].trimmingCharacters(in: .whitespaces).lowercased()
      let value = entry[entry.index(after: colon)...].trimmingCharacters(in: .whitespaces)
      guard !name.isEmpty, !name.hasPrefix("grpc-") else { throw ValidationError("'\(name)' is no name for metadata") }
      result.add(name, value)
    }
    return result
  }

  mutating func validate() throws {
    _ = try sentMetadata()
    if timeout <= 0 { throw ValidationError("--timeout must be more than 0") }
  }

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      let channel = try await connection.channel()
      let server = ReflectedServer(channel: channel)
      guard let method else {
        for service in try await server.services() { print(printable(service)) }
        return
      }
      let parts = method.split(separator: "/").map(String.init)
      guard (1...2).contains(parts.count) else { throw ValidationError("METHOD is SERVICE/METHOD, not '\(method)'") }
      let pool = try await server.pool(for: parts[0])
      guard let service = pool.service(parts[0]) else { throw RPCError.notFound("the server tells of no service \(parts[0])") }
      guard parts.count == 2 else {
        for method in service.methods {
          let request = (method.clientStreaming ? "stream " : "") + method.inputType
          let response = (method.serverStreaming ? "stream " : "") + method.outputType
          print(printable("\(service.fullName)/\(method.name)(\(request)) returns (\(response))"))
        }
        return
      }
      guard let schema = service.methods.first(where: { $0.name == parts[1] }) else {
        throw RPCError.notFound("\(parts[0]) has no method \(parts[1])")
      }
      try await call(schema, of: service, pool, channel)
    }
  }

  private func call(_ schema: MethodSchema, of service: ServiceSchema, _ pool: DescriptorPool, _ channel: any Channel) async throws {
    let kind: MethodKind =
      switch (schema.clientStreaming, schema.serverStreaming) {
      case (false, false): .unary
      case (false, true): .serverStreaming
      case (true, false): .clientStreaming
      case (true, true): .bidirectional
      }
    let method = MethodDescriptor(
      service: service.fullName, name: schema.name, kind: kind, inputType: schema.inputType, outputType: schema.outputType)
    var options = CallOptions(timeout: .nanoseconds(Int64(min(timeout, 1e9) * 1e9)), metadata: try sentMetadata())
    options.waitForReady = false
    let call = try await channel.start(method, options)

    let sending = Task {
      do {
        var count = 0
        for try await text in requests() {
          count += 1
          guard kind == .clientStreaming || kind == .bidirectional || count == 1 else {
            throw ValidationError("\(method.path) takes one request")
          }
          if try !call.send(encoded: try pool.bytes(fromJSON: text, type: schema.inputType)) { try await call.drained() }
        }
        call.finishSending()
      } catch {
        call.cancel()
        throw error
      }
    }
    var failure: (any Error)?
    do {
      // Every field of the response is unknown to Empty, so it keeps the bytes as they came.
      while let response = try await call.receive(Google_Protobuf_Empty.self) {
        print(printable(try pool.json(from: response.unknownFields.bytes, type: schema.outputType)))
      }
    } catch {
      failure = error
    }
    if verbose {
      let leading = (try? await call.responseMetadata()) ?? Metadata()
      for line in ["response metadata: \(leading)", "trailers: \(call.trailers)"] {
        FileHandle.standardError.write(Data((printable(line) + "\n").utf8))
      }
    }
    // What was wrong with a request says more than the cancelled call that it left behind.
    if failure != nil { sending.cancel() }
    do { try await sending.value } catch let error where !(error is RPCError) && !(error is CancellationError) { throw invalid(error) }
    if let failure { throw failure }
  }

  private func invalid(_ error: any Error) -> any Error {
    error is JSONError ? RPCError(.invalidArgument, "the request is not \(method ?? "")'s: \(error)") : error
  }

  /// The texts of the requests: objects one after the other.
  private func requests() -> AsyncThrowingStream<String, any Error> {
    AsyncThrowingStream { continuation in
      if json != "-" {
        var splitter = ObjectSplitter()
        for object in splitter.take(json) { continuation.yield(object) }
        continuation.finish(throwing: splitter.complaint)
        return
      }
      Thread.detachNewThread {
        var splitter = ObjectSplitter()
        while let line = readLine(strippingNewline: false) {
          for object in splitter.take(line) { continuation.yield(object) }
        }
        continuation.finish(throwing: splitter.complaint)
      }
    }
  }
}

/// Cuts a text into its JSON objects, which may stand one after the other, on one line or over many.
struct ObjectSplitter {
  private var text = ""
  private var depth = 0
  private var inString = false
  private var escaped = false

  /// The objects that end within this piece of text.
  mutating func take(_ piece: String) -> [String] {
    var objects: [String] = []
    for character in piece.unicodeScalars {
      text.unicodeScalars.append(character)
      if inString {
        if escaped { escaped = false } else if character == "\\" { escaped = true } else if character == "\"" { inString = false }
        continue
      }
      switch character {
      case "\"": inString = true
      case "{", "[": depth += 1
      case "}", "]":
        depth -= 1
        if depth == 0 {
          objects.append(text)
          text = ""
        }
      default: break
      }
    }
    return objects
  }

  /// What is left at the end and is no object.
  var complaint: (any Error)? {
    let rest = text.trimmingCharacters(in: .whitespacesAndNewlines)
    return rest.isEmpty ? nil : ValidationError("the request is not a JSON object: \(rest.prefix(80))")
  }
}
