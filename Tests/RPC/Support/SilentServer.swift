import SpanwireEventLoop

/// A server that greets and never says another word.
package final class SilentServer: ReadinessHandler, @unchecked Sendable {
  // Sendable: what is mutable belongs to the loop.
  package let port: UInt16
  private let loop: EventLoop
  private let socket: Socket
  private var registration: Registration?
  private var accepted: [Socket] = []

  package static func start() async throws -> SilentServer {
    let loop = EventLoopGroup.shared.loops[0]
    return try await Task(executorPreference: loop) { try SilentServer(loop) }.value
  }

  private init(_ loop: EventLoop) throws {
    self.loop = loop
    socket = try Socket.listen(on: SocketAddress(ip: "127.0.0.1", port: 0)!)
    port = socket.localAddress.port!
    registration = try loop.register(socket.descriptor, .readable, self)
  }

  package func ready(_ readiness: Readiness) {
    while let (socket, _) = try? socket.accept() {
      let emptySettings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]
      _ = try? emptySettings.withUnsafeBytes { bytes throws in try socket.send(bytes) }
      accepted.append(socket)
    }
  }

  package func stop() async {
    await Task(executorPreference: loop) {
      self.registration?.close()
      self.socket.close()
      for socket in self.accepted { socket.close() }
    }.value
  }
}
