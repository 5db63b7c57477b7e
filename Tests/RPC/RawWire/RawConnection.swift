import Glibc

/// A peer without a protocol: a socket that blocks, on which a test writes whatever bytes it likes and reads what frames come back.
package final class RawConnection: @unchecked Sendable {
  // Sendable: whoever has it uses it alone, one after the other.
  package enum Event: Equatable {
    case frame(RawFrame)
    /// The other side has closed, or reset, the connection.
    case closed
    /// Nothing came in time.
    case silence
  }

  package static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

  package let descriptor: Int32
  private var received: [UInt8] = []
  private var isClosed = false

  /// Connects to a port of this machine, from one of its addresses; sends nothing.
  package init(port: UInt16, from source: String = "127.0.0.1") throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw RawConnectionError(call: "socket", code: errno) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var origin = sockaddr_in()
    origin.sin_family = sa_family_t(AF_INET)
    inet_pton(AF_INET, source, &origin.sin_addr)
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    _ = withUnsafePointer(to: origin) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) } }
    let result = withUnsafePointer(to: address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
    }
    if result != 0 {
      let code = errno
      close(descriptor)
      throw RawConnectionError(call: "connect", code: code)
    }
    var one: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
    // Whoever does not read for so long has hung.
    var limit = timeval(tv_sec: Int(Self.patienceMilliseconds) / 1_000, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  /// Connects, and exchanges prefaces and settings as a good client does.
  package convenience init(greeting port: UInt16, _ settings: [(UInt16, UInt32)] = []) throws {
    try self.init(port: port)
    send(Self.preface)
    send(.settings(settings), .settingsAcknowledgement)
    read(until: { $0.type == .settings && $0.isAcknowledgement })
  }

  deinit { close(descriptor) }

  /// Writes bytes, all of them. False when the other side has closed the connection: that is no error, tests look for it.
  @discardableResult
  package func send(_ bytes: [UInt8]) -> Bool {
    var offset = 0
    while offset < bytes.count {
      let part = min(bytes.count - offset, Self.bytesPerCall)
      let count = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress! + offset, part, Int32(MSG_NOSIGNAL)) }
      if count <= 0 { return false }
      offset += count
    }
    return true
  }

  /// A larger call to the kernel keeps the processor to itself for as long as it takes, which would be some other machine's.
  private static let bytesPerCall = 16 * 1024

  @discardableResult
  package func send(_ frames: RawFrame...) -> Bool { send(frames.flatMap(\.bytes)) }

  /// Says that nothing more will be sent.
  package func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// How long a test waits for what must come: who waits that out has failed, however busy the machine is.
  package static let patienceMilliseconds: Int32 = 60_000

  /// The next frame, or the end.
  package func next(withinMilliseconds limit: Int32 = patienceMilliseconds) -> Event {
    while true {
      if let frame = RawFrame.take(from: &received) { return .frame(frame) }
      if isClosed { return .closed }
      var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&event, 1, limit) > 0 else { return .silence }
      receive()
    }
  }

  /// Frames until one that satisfies the condition, it included, or until the end, which gives one event more.
  @discardableResult
  package func read(until condition: (RawFrame) -> Bool) -> [Event] {
    var events: [Event] = []
    while true {
      let event = next()
      events.append(event)
      guard case .frame(let frame) = event, !condition(frame) else { return events }
    }
  }

  /// Waits for the other side to close, or to have been silent for long; gives what came before.
  package func awaitClose() -> [Event] { read(until: { _ in false }) }

  private func receive() {
    var buffer = [UInt8](repeating: 0, count: 64 * 1024)
    let count = recv(descriptor, &buffer, buffer.count, 0)
    if count <= 0 { isClosed = true } else { received += buffer[..<count] }
  }
}

package struct RawConnectionError: Error, CustomStringConvertible {
  package let call: String
  package let code: Int32
  package var description: String { "\(call): \(String(cString: strerror(code)))" }
}
