import Glibc
import SpanwireEventLoop
import SpanwireRPCTestSupport
import Testing

/// In processes of their own, since what runs out is the process's.
@Suite(.timeLimit(.minutes(15))) struct DescriptorTests {
  @Test("a server without descriptors lets clients wait, and takes them once it has some")
  func runOut() async {
    await #expect(processExitsWith: .success) {
      let server = try await EchoServer.start()
      let port = server.server.addresses[0].port!
      var limit = rlimit()
      getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      limit.rlim_cur = 128
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      var taken: [Int32] = []
      while case let copy = dup(STDIN_FILENO), copy >= 0 { taken.append(copy) }
      // One is left, and the client takes it.
      close(taken.removeLast())
      let client = try RawClient(port: port)
      let call = try client.begin(body: RawClient.frame([]))
      // By the second round every loop has looked at its listener.
      for loop in EventLoopGroup.shared.loops + EventLoopGroup.shared.loops { await Task(executorPreference: loop) {}.value }
      guard server.server.connections == 0 else { exit(2) }
      for copy in taken { close(copy) }
      try client.run { call.closeCode1 != nil }
      exit(call.status == 0 ? 0 : 1)
    }
  }
}
