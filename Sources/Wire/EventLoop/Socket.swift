import CLinux
import Glibc

/// A non-blocking stream socket. Whoever holds it closes it, once.
public struct Socket: Sendable {
  /// The file descriptor.
  public let descriptor: Int32

  /// Connections that wait to be accepted: bursts of reconnecting clients must not meet refusals.
  public static let backlog: Int32 = 1024

  /// Opens a listener. With `sharesPort`, several sockets listen on one port and the kernel deals connections out among them.
  ///
  /// A path in the way is replaced if nobody listens there; `mode` are the permissions of the file, set before anybody can connect.
  public static func listen(on address: SocketAddress, sharesPort: Bool = false, mode: UInt32? = nil) throws(SystemError) -> Socket {
    let socket = try open(address.family)
    if address.isUnix, let path = address.unixPath {
      removeStale(path, address)
    } else {
      socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
      if sharesPort { socket.set(SOL_SOCKET, SO_REUSEPORT, 1) }
      if address.family == AF_INET6 { socket.set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
    }
    guard address.withSockaddr({ bind(socket.descriptor, $0, address.length) }) == 0 else { throw socket.failing("bind") }
    if let mode, let path = address.unixPath, chmod(path, mode_t(mode & 0o777)) != 0 {
      let error = SystemError("chmod")
      unlink(path)
      socket.close()
      throw error
    }
    guard Glibc.listen(socket.descriptor, backlog) == 0 else { throw socket.failing("listen") }
    return socket
  }

  /// Begins to connect. Once the socket is writable, `connectionError()` says how it went.
  public static func connect(to address: SocketAddress) throws(SystemError) -> Socket {
    let socket = try open(address.family)
    if !address.isUnix { socket.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1) }
    let result = address.withSockaddr { Glibc.connect(socket.descriptor, $0, address.length) }
    if result != 0, errno != EINPROGRESS { throw socket.failing("connect") }
    return socket
  }

  /// The next waiting connection; nil when there is none, or when it went away meanwhile.
  public func accept() throws(SystemError) -> (socket: Socket, peer: SocketAddress)? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let descriptor = spanwire_accept(self.descriptor, &storage, &length)
    if descriptor < 0 {
      switch errno {
      case EAGAIN, EINTR, ECONNABORTED, EPROTO, EPERM: return nil
      default: throw SystemError("accept")
      }
    }
    let socket = Socket(descriptor: descriptor)
    if Int32(storage.ss_family) != AF_UNIX { socket.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1) }
    return (socket, SocketAddress(storage: storage, length: length))
  }

  /// nil once connected; else why not.
  public func connectionError() -> SystemError? {
    var code: Int32 = 0
    var length = socklen_t(4)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
    return code == 0 ? nil : SystemError("connect", code: code)
  }

  /// The bytes received; 0 at the end of the stream, nil when none are there yet.
  @inline(__always)
  public func receive(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int? {
    let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
    if count >= 0 { return count }
    if errno == EAGAIN || errno == EINTR { return nil }
    throw SystemError("recv")
  }

  /// How many of the bytes the kernel took; fewer than all when its buffer is full.
  @inline(__always)
  public func send(_ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Int {
    let count = Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
    if count >= 0 { return count }
    if errno == EAGAIN || errno == EINTR { return 0 }
    throw SystemError("send")
  }

  /// Where the socket is bound: tells the port that the system chose.
  public var localAddress: SocketAddress {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    withUnsafeMutablePointer(to: &storage) {
      _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    }
    return SocketAddress(storage: storage, length: length)
  }

  /// Where the other end is bound; of no family when it is gone.
  public var remoteAddress: SocketAddress {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    withUnsafeMutablePointer(to: &storage) {
      _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &length) }
    }
    return SocketAddress(storage: storage, length: length)
  }

  /// Says that nothing more will be sent.
  public func shutdownSending() { _ = shutdown(descriptor, Int32(SHUT_WR)) }

  /// Closes the descriptor. Once.
  public func close() { _ = Glibc.close(descriptor) }

  /// Closes a listener; the file of one in the file system goes too, unless another server has put its own there meanwhile.
  public func closeListener() {
    let address = localAddress
    close()
    if address.isUnix, let path = address.unixPath { Self.removeStale(path, address) }
  }

  // MARK: -

  private static func open(_ family: Int32) throws(SystemError) -> Socket {
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let descriptor = socket(family, type, 0)
    guard descriptor >= 0 else { throw SystemError("socket") }
    return Socket(descriptor: descriptor)
  }

  /// A socket file outlives a server that was killed: if nobody answers behind it, it goes.
  private static func removeStale(_ path: String, _ address: SocketAddress) {
    guard let probe = try? open(AF_UNIX) else { return }
    defer { probe.close() }
    let answered = address.withSockaddr { Glibc.connect(probe.descriptor, $0, address.length) } == 0
    if !answered, errno == ECONNREFUSED { unlink(path) }
  }

  private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
    var value = value
    setsockopt(descriptor, level, option, &value, 4)
  }

  private func failing(_ call: String) -> SystemError {
    let error = SystemError(call)
    close()
    return error
  }
}
