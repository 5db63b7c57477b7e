import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireTLS
import Synchronization

/// Serves a router over HTTP/2: gRPC, on a loop a processor, each with its own listener on the same port.
public final class HTTP2Server: Sendable {
  /// Who answers.
  public let router: ServerRouter
  /// How it listens and what it puts up with.
  public let configuration: ServerConfiguration
  let group: EventLoopGroup
  let tls: TLSContextSlot?
  let census: PeerCensus
  /// The number by which tools ask for the server.
  public let inspectionID = InspectionID.next()
  private let state = Mutex(State.idle)

  private enum State {
    case idle
    case running([ServerLoop], [SocketAddress])
    case stopped
  }

  /// Loads certificates, if there are any; nothing listens yet.
  public init(_ router: ServerRouter, _ configuration: ServerConfiguration, group: EventLoopGroup = .shared) throws {
    self.router = router
    self.configuration = configuration
    self.group = group
    tls = try configuration.tls.map { TLSContextSlot(try TLSContext(server: $0)) }
    census = PeerCensus(limit: configuration.maxConnections, perPeer: configuration.maxConnectionsPerPeer)
  }

  /// Starts to listen. The result is where, in the order of the endpoints, with the ports that the system chose.
  @discardableResult
  public func start() async throws -> [SocketAddress] {
    var listeners = [[Socket]](repeating: [], count: group.loops.count)
    var addresses: [SocketAddress] = []
    do {
      for endpoint in configuration.endpoints { addresses.append(try listen(endpoint, &listeners)) }
    } catch {
      for socket in listeners.joined() { socket.closeListener() }
      throw error
    }
    let loops = group.loops.map { ServerLoop(self, $0) }
    state.withLock { $0 = .running(loops, addresses) }
    for (loop, sockets) in zip(loops, listeners) {
      await Task(executorPreference: loop.loop) { loop.listen(sockets, spreadingTo: loops) }.value
    }
    return addresses
  }

  /// Where the server listens; empty when it does not.
  public var addresses: [SocketAddress] {
    state.withLock { if case .running(_, let addresses) = $0 { addresses } else { [] } }
  }

  /// The server's parts on its loops; none once it is stopped.
  var serving: [ServerLoop] {
    state.withLock { if case .running(let loops, _) = $0 { loops } else { [] } }
  }

  /// Connections open now.
  public var connections: Int { census.total }

  /// New connections prove themselves with these certificates from now on; those that are open are not touched.
  public func reload(_ configuration: TLSServerConfiguration) throws {
    guard let tls else { preconditionFailure("a server in the clear has no certificates") }
    tls.replace(with: try TLSContext(server: configuration))
  }

  /// Reads the files of the configuration again. When they cannot be used it throws, and the certificates in use stay.
  public func reloadCertificates() throws {
    if let tls = configuration.tls { try reload(tls) }
  }

  /// Stops listening, tells clients to go, and returns once all calls have ended; those that outlast the grace are cancelled.
  public func shutDown(grace: Duration = .seconds(30)) async {
    let loops = state.withLock { state -> [ServerLoop] in
      guard case .running(let loops, _) = state else { return [] }
      state = .stopped
      return loops
    }
    await withTaskGroup(of: Void.self) { group in
      for loop in loops {
        group.addTask(executorPreference: loop.loop) { await loop.shutDown(grace: grace) }
      }
    }
  }

  /// Serves until the process is asked to end, by SIGTERM or SIGINT, and then shuts down. Call `start` before it.
  ///
  /// Servers with more to do at their end, such as telling it by the health service, wait for `terminationRequest()` themselves.
  public func serveUntilTermination(grace: Duration = .seconds(30)) async {
    await terminationRequest()
    await shutDown(grace: grace)
  }

  // MARK: -

  private func listen(_ endpoint: ServerConfiguration.Endpoint, _ listeners: inout [[Socket]]) throws -> SocketAddress {
    do throws(SystemError) {
      switch endpoint {
      case .unix(let path, let mode):
        guard let address = SocketAddress(unixPath: path) else { throw SystemError("bind", code: 36 /* ENAMETOOLONG */) }
        // A path has one listener: its loop hands connections on to the others.
        listeners[0].append(try Socket.listen(on: address, mode: mode))
        return address
      case .ip(let ip, let port):
        guard var address = SocketAddress(ip: ip, port: port) else { throw SystemError("bind", code: 22 /* EINVAL */) }
        for index in listeners.indices {
          let socket = try Socket.listen(on: address, sharesPort: true)
          listeners[index].append(socket)
          address = socket.localAddress
        }
        return address
      }
    } catch {
      throw ServerStartError.listen(endpoint, error)
    }
  }
}

/// Counts connections, in all and by peer.
final class PeerCensus: Sendable {
  private let limit: Int
  private let perPeer: Int
  private let state = Mutex(State())

  private struct State {
    var total = 0
    var peers: [String: Int] = [:]
  }

  init(limit: Int, perPeer: Int) {
    self.limit = limit
    self.perPeer = perPeer
  }

  var total: Int { state.withLock { $0.total } }

  /// Whether one more may come from a host; this machine's own are not told apart.
  func admit(_ host: String?) -> Bool {
    state.withLock { state in
      if state.total >= limit { return false }
      if let host {
        let count = state.peers[host, default: 0]
        if count >= perPeer { return false }
        state.peers[host] = count + 1
      }
      state.total += 1
      return true
    }
  }

  func leave(_ host: String?) {
    state.withLock { state in
      state.total -= 1
      guard let host, let count = state.peers[host] else { return }
      state.peers[host] = count > 1 ? count - 1 : nil
    }
  }
}
