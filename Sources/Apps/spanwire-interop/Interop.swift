import Dispatch
import Glibc
import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireTLS

/// `spanwire-interop`: the server and the client of gRPC's public interoperability tests.
@main struct Interop {
  static func main() async {
    let arguments = CommandLine.arguments.dropFirst()
    let rest = arguments.dropFirst()
    do {
      if arguments.isEmpty || arguments.contains("--help") || arguments.contains("-h") {
        print(usage)
        exit(arguments.isEmpty ? 2 : 0)
      }
      switch arguments.first {
      case "server": try await serve(InteropFlags(rest, known: serverFlags))
      case "client": try await test(InteropFlags(rest, known: clientFlags))
      case "load": try await load(InteropFlags(rest, known: clientFlags + loadFlags))
      case let other: throw InteropFlags.Misuse(description: "\(other ?? "") is neither server nor client nor load")
      }
    } catch let error as InteropFlags.Misuse {
      complain("\(error)\n\n\(usage)")
      exit(2)
    } catch {
      complain("\(error)")
      exit(1)
    }
  }

  static func complain(_ text: String) {
    let line = Array("spanwire-interop: \(text)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
  }

  // MARK: The server

  static func serve(_ flags: InteropFlags) async throws {
    var configuration = ServerConfiguration(host: flags["host"] ?? "0.0.0.0", port: try flags.port("port"))
    configuration.compression = .gzip
    if try flags.bool("use_tls") {
      let folder = InteropCertificates(flags)
      guard (flags["tls_cert_file"] == nil) == (flags["tls_key_file"] == nil) else {
        throw InteropFlags.Misuse(description: "--tls_cert_file and --tls_key_file go together")
      }
      configuration.tls = TLSServerConfiguration(
        certificateChain: .file(path: flags["tls_cert_file"] ?? folder.path("server1.pem")),
        privateKey: .file(path: flags["tls_key_file"] ?? folder.path("server1.key")))
    }
    ProcessResources.raiseOpenFiles()
    ProcessResources.returnFreedMemory()
    let server = try HTTP2Server(InteropService.router(), configuration)
    let sources = [
      on(SIGHUP) {
        // Bad certificates leave the old ones in place.
        do { try server.reloadCertificates() } catch { complain("the certificates stay as they are: \(error)") }
      },
      on(SIGUSR1) {
        Task {
          let calls = await server.inspect().calls
          print(
            "connections \(server.connections) calls \(calls.started) open \(calls.started - calls.succeeded - calls.failed)",
            "allocated \(ProcessResources.allocatedBytes)")
          fflush(nil)
        }
      },
    ]
    for address in try await server.start() { print("serving on \(address)") }
    fflush(nil)
    await server.serveUntilTermination(grace: .seconds(1))
    for source in sources { source.cancel() }
  }

  private static func on(_ number: Int32, _ handler: @escaping @Sendable () -> Void) -> any DispatchSourceSignal {
    signal(number, SIG_IGN)
    let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
    source.setEventHandler(handler: handler)
    source.resume()
    return source
  }

  // MARK: The client

  static func test(_ flags: InteropFlags) async throws {
    guard let name = flags["test_case"] else { throw InteropFlags.Misuse(description: "--test_case is missing") }
    let cases = name == "all" ? InteropCase.all : InteropCase.all.filter { $0.name == name }
    guard !cases.isEmpty else { throw InteropFlags.Misuse(description: "there is no case \(name)") }
    var settings = InteropSettings()
    settings.concurrentCalls = try flags.number("concurrent_calls", default: settings.concurrentCalls)
    settings.soak = try SoakSettings(flags)
    let client = try InteropClient(settings: settings, connect: try connector(flags))
    var failed = 0
    for each in cases {
      do {
        try await each.run(client)
        print("\(each.name): ok")
      } catch {
        failed += 1
        complain("\(each.name): \(error)")
      }
    }
    await client.connection.close()
    if failed > 0 { exit(1) }
  }

  // MARK: Load

  static func load(_ flags: InteropFlags) async throws {
    let load = Load(
      connect: try connector(flags), workers: try flags.number("workers", default: 8), seconds: try flags.number("seconds", default: 10),
      seed: UInt64(try flags.number("seed", default: 1)))
    for (what, count) in try await load.run().all { print("\(count) \(what)") }
  }

  /// How the flags want the client to connect.
  private static func connector(_ flags: InteropFlags) throws -> @Sendable () throws -> InteropClient.Connection {
    let target = ChannelTarget.host(flags["server_host"] ?? "localhost", port: try flags.port("server_port"))
    var options = HTTP2ChannelOptions()
    options.authority = flags["server_host_override"]
    options.serviceConfig = try flags["service_config_json"].map { try ServiceConfig(json: $0) }
    var tls: TLSClientConfiguration?
    if try flags.bool("use_tls") {
      let usesTestAuthority = try flags.bool("use_test_ca")
      let authorities = flags["ca_file"] ?? (usesTestAuthority ? InteropCertificates(flags).path("ca.pem") : nil)
      tls = TLSClientConfiguration(
        trust: authorities.map { .authorities(.file(path: $0)) } ?? .system, serverName: flags["server_host_override"])
    }
    let metadata = try AdditionalMetadata(flags["additional_metadata"] ?? "")
    return { [options, tls] in
      let channel = try HTTP2Channel(target, tls: tls, options: options)
      return InteropClient.Connection(channel: channel.intercepted(by: metadata.pairs.isEmpty ? [] : [metadata])) { await channel.close() }
    }
  }
}

/// Sends the same metadata with every call: `name:value;name:value`.
struct AdditionalMetadata: ClientInterceptor {
  let pairs: [(name: String, value: String)]

  init(_ text: String) throws(InteropFlags.Misuse) {
    var pairs: [(name: String, value: String)] = []
    for pair in text.split(separator: ";") {
      let parts = pair.split(separator: ":", maxSplits: 1).map(String.init)
      guard parts.count == 2, Metadata.isLegal(name: parts[0].lowercased()), !parts[0].hasSuffix("-bin"), Metadata.isLegal(text: parts[1])
      else { throw InteropFlags.Misuse(description: "--additional_metadata is NAME:VALUE;NAME:VALUE, not \(text)") }
      pairs.append((parts[0], parts[1]))
    }
    self.pairs = pairs
  }

  func intercept(_ method: MethodDescriptor, _ options: CallOptions, next: NextClientCall) async throws -> any ClientCall {
    var options = options
    for pair in pairs { options.metadata.add(pair.name, pair.value) }
    return try await next(method, options)
  }
}

/// Where the certificates of the tests lie, under the names that they have in public: `ca.pem`, `server1.pem`, `server1.key`.
struct InteropCertificates {
  private let folder: String

  init(_ flags: InteropFlags) { folder = flags["test_certificates"] ?? ".build/interop/certificates" }

  func path(_ name: String) -> String { "\(folder)/\(name)" }
}
