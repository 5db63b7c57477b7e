import Testing

@testable import SpanwireEventLoop

@Suite struct SocketTests {
  @Test(
    "addresses are written as gRPC writes peers",
    arguments: [
      ("127.0.0.1", UInt16(5000), "ipv4:127.0.0.1:5000"), ("::1", 80, "ipv6:[::1]:80"), ("0.0.0.0", 0, "ipv4:0.0.0.0:0"),
    ])
  func descriptions(ip: String, port: UInt16, text: String) {
    #expect(SocketAddress(ip: ip, port: port)?.description == text)
    #expect(SocketAddress(ip: ip, port: port)?.port == port)
  }

  @Test("what is no address is refused", arguments: ["", "localhost", "256.0.0.1", "1.2.3", ":::"])
  func noAddress(text: String) {
    #expect(SocketAddress(ip: text, port: 1) == nil)
  }

  @Test("a path must fit")
  func paths() {
    #expect(SocketAddress(unixPath: "/run/s.sock")?.unixPath == "/run/s.sock")
    #expect(SocketAddress(unixPath: String(repeating: "a", count: 107)) != nil)
    #expect(SocketAddress(unixPath: String(repeating: "a", count: 108)) == nil)
  }

  @Test("bytes go to and fro between sockets on one loop", arguments: ["127.0.0.1", "::1"])
  func echo(ip: String) async throws {
    final class Accepting: ReadinessHandler {
      let listener: Socket
      let loop: EventLoop
      var echo: Echo?
      init(_ listener: Socket, _ loop: EventLoop) { (self.listener, self.loop) = (listener, loop) }
      func ready(_ readiness: Readiness) {
        guard let (socket, _) = try? listener.accept() else { return }
        echo = Echo(socket)
        echo!.registration = try! loop.register(socket.descriptor, .readable, echo!)
      }
    }
    final class Echo: ReadinessHandler {
      let socket: Socket
      var registration: Registration?
      init(_ socket: Socket) { self.socket = socket }
      func ready(_ readiness: Readiness) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 100, alignment: 1)
        defer { buffer.deallocate() }
        guard let count = try? socket.receive(into: buffer) else { return }
        if count == 0 {
          registration?.close()
          socket.close()
        } else {
          _ = try? socket.send(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
      }
    }
    final class Client: ReadinessHandler {
      let socket: Socket
      var registration: Registration?
      let done: CheckedContinuation<[UInt8], Never>
      init(_ socket: Socket, _ done: CheckedContinuation<[UInt8], Never>) { (self.socket, self.done) = (socket, done) }
      func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) {
          #expect(socket.connectionError() == nil)
          registration?.wait(for: .readable)
          _ = [1, 2, 3].withUnsafeBytes { try? socket.send(UnsafeRawBufferPointer(rebasing: $0[..<3])) }
          return
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 100, alignment: 1)
        defer { buffer.deallocate() }
        guard let count = try? socket.receive(into: buffer), count > 0 else { return }
        registration?.close()
        socket.close()
        done.resume(returning: Array(buffer[..<count]))
      }
    }
    let loop = EventLoop(name: "sockets")
    loop.start()
    let listener = try Socket.listen(on: SocketAddress(ip: ip, port: 0)!)
    let accepting = Box<Registration?>(nil)
    let echoed = await withCheckedContinuation { (done: CheckedContinuation<[UInt8], Never>) in
      loop.execute {
        accepting.value = try! loop.register(listener.descriptor, .readable, Accepting(listener, loop))
        let client = Client(try! Socket.connect(to: listener.localAddress), done)
        client.registration = try! loop.register(client.socket.descriptor, .writable, client)
      }
    }
    #expect(echoed == [1, 0, 0])
    await Task(executorPreference: loop) { accepting.value?.close() }.value
    try await offload { loop.stop() }
    listener.close()
  }
}
