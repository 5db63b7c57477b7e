import CLinux
import Glibc

/// Where a socket is: an address and port of the internet, or a path.
public struct SocketAddress: @unchecked Sendable {
  // Sendable: a plain C struct.
  var storage = sockaddr_storage()
  var length: socklen_t = 0

  init(storage: sockaddr_storage, length: socklen_t) {
    self.storage = storage
    self.length = length
  }

  /// An address in digits, `127.0.0.1` or `::1`. Nil for anything else.
  public init?(ip: String, port: UInt16) {
    var four = in_addr()
    var six = in6_addr()
    if inet_pton(AF_INET, ip, &four) == 1 {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = port.bigEndian
      address.sin_addr = four
      self.init(copying: address)
    } else if inet_pton(AF_INET6, ip, &six) == 1 {
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      address.sin6_addr = six
      self.init(copying: address)
    } else {
      return nil
    }
  }

  /// A socket in the file system. Nil if the path does not fit into 107 bytes.
  public init?(unixPath path: String) {
    var address = sockaddr_un()
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path), !bytes.isEmpty else { return nil }
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    self.init(copying: address)
  }

  private init<Address>(copying address: Address) {
    withUnsafeBytes(of: address) { source in
      withUnsafeMutableBytes(of: &storage) { $0.copyMemory(from: source) }
    }
    length = socklen_t(MemoryLayout<Address>.size)
  }

  /// All addresses of a host name or of digits, as the system's resolver orders them. Blocks: call it by `offload`.
  public static func resolve(host: String, port: UInt16) throws(ResolveError) -> [SocketAddress] {
    if let address = SocketAddress(ip: host, port: port) { return [address] }
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_ADDRCONFIG
    var list: UnsafeMutablePointer<addrinfo>?
    let result = getaddrinfo(host, String(port), &hints, &list)
    guard result == 0 else { throw ResolveError(host: host, reason: String(cString: gai_strerror(result))) }
    defer { freeaddrinfo(list) }
    var addresses: [SocketAddress] = []
    var entry = list
    while let info = entry {
      var storage = sockaddr_storage()
      memcpy(&storage, info.pointee.ai_addr, Int(info.pointee.ai_addrlen))
      addresses.append(SocketAddress(storage: storage, length: info.pointee.ai_addrlen))
      entry = info.pointee.ai_next
    }
    return addresses
  }

  var family: Int32 { Int32(storage.ss_family) }

  /// Whether this is a path in the file system.
  public var isUnix: Bool { family == AF_UNIX }

  /// The port; nil for a path.
  public var port: UInt16? {
    switch family {
    case AF_INET: view(as: sockaddr_in.self).sin_port.bigEndian
    case AF_INET6: view(as: sockaddr_in6.self).sin6_port.bigEndian
    default: nil
    }
  }

  /// The 4 or 16 bytes of an address of the internet; nil for a path.
  public var ipBytes: [UInt8]? {
    switch family {
    case AF_INET: withUnsafeBytes(of: view(as: sockaddr_in.self).sin_addr) { Array($0) }
    case AF_INET6: withUnsafeBytes(of: view(as: sockaddr_in6.self).sin6_addr) { Array($0) }
    default: nil
    }
  }

  /// The path of a socket in the file system.
  public var unixPath: String? {
    guard isUnix else { return nil }
    var address = view(as: sockaddr_un.self)
    return withUnsafeBytes(of: &address.sun_path) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  func view<Address>(as type: Address.Type) -> Address {
    withUnsafeBytes(of: storage) { $0.loadUnaligned(as: type) }
  }

  func withSockaddr<Result>(_ body: (UnsafePointer<sockaddr>) -> Result) -> Result {
    withUnsafePointer(to: storage) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body) }
  }
}

extension SocketAddress: CustomStringConvertible {
  /// As gRPC writes peers: `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000`, `unix:/run/spanwire.sock`.
  public var description: String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    switch family {
    case AF_INET:
      var address = view(as: sockaddr_in.self).sin_addr
      inet_ntop(AF_INET, &address, &text, socklen_t(text.count))
      return "ipv4:\(string(text)):\(port ?? 0)"
    case AF_INET6:
      var address = view(as: sockaddr_in6.self).sin6_addr
      inet_ntop(AF_INET6, &address, &text, socklen_t(text.count))
      return "ipv6:[\(string(text))]:\(port ?? 0)"
    case AF_UNIX:
      return "unix:\(unixPath ?? "")"
    default:
      return "unknown"
    }
  }

  private func string(_ text: [CChar]) -> String {
    String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// A host name that has no address.
public struct ResolveError: Error, CustomStringConvertible {
  /// The name that was looked up.
  public let host: String
  /// The resolver's words.
  public let reason: String
  /// The name and the resolver's words.
  public var description: String { "\(host): \(reason)" }
}
