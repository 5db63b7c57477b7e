import Glibc
import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireTLS

// Serves echo.proto for `tools/bench rpc`: typed handlers behind the whole server, with deadlines, metadata and tracing on.
//
//   spanwire-echo PORT [CERTIFICATE KEY]
//   spanwire-echo client --port PORT …    calls it, and prints what a call costs the caller (LoadClient.swift)

struct Echo: Echo_EchoService {
  func get(_ request: Echo_EchoRequest, context: ServerContext) async throws -> Echo_EchoResponse {
    Echo_EchoResponse(text: request.text)
  }

  func expand(_ request: Echo_ExpandRequest, responses: ResponseWriter<Echo_ExpandResponse>, context: ServerContext) async throws {
    let response = Echo_ExpandResponse(data: [UInt8](repeating: 0x61, count: 98))
    for _ in 0..<request.count { try await responses.write(response) }
  }
}

/// Runs what takes its time beside the first thread, which waits here itself: one that waits in asynchronous code ends, and valgrind, by which
/// tools/gate counts, does not survive that.
func run(_ body: @escaping @Sendable () async throws -> Void) -> Never {
  Task.detached {
    do {
      try await body()
      exit(0)
    } catch {
      print(error)
      exit(1)
    }
  }
  while true { pause() }
}

let arguments = CommandLine.arguments
if arguments.dropFirst().first == "client" {
  guard let client = LoadClient(arguments.dropFirst(2)) else {
    print(LoadClient.usage)
    exit(2)
  }
  run { try await client.run() }
}
guard arguments.count == 2 || arguments.count == 4, let port = UInt16(arguments[1]) else {
  print("usage: spanwire-echo PORT [CERTIFICATE KEY]")
  exit(2)
}
ProcessResources.raiseOpenFiles()
ProcessResources.returnFreedMemory()

let router = ServerRouter([Echo_Echo.routes(Echo())], observer: SpanRing.observer)
let tls =
  arguments.count == 4
  ? TLSServerConfiguration(certificateChain: .file(path: arguments[2]), privateKey: .file(path: arguments[3])) : nil
let server = try HTTP2Server(router, ServerConfiguration(port: port, tls: tls))
run { [server] in
  for address in try await server.start() { print("serving on \(address)") }
  fflush(nil)  // whoever waits for these lines reads them from a pipe
  await server.serveUntilTermination(grace: .seconds(1))
}
