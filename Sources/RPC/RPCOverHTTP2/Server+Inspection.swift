import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC

/// What can be seen of a server. Each loop tells of its own connections; their sum is the server.
extension HTTP2Server: InspectableServer {
  /// The server and its listeners as they are now.
  public func inspect() async -> ServerInspection {
    var server = ServerInspection(id: inspectionID, calls: CallCounts(), listeners: [])
    for loop in serving {
      let part = await Task(executorPreference: loop.loop) { (loop.calls, loop.listeners) }.value
      server.calls.add(part.0)
      server.listeners += part.1
    }
    return server
  }

  /// Its connections as they are now.
  public func inspectConnections() async -> [SocketInspection] {
    var sockets: [SocketInspection] = []
    for loop in serving { sockets += await Task(executorPreference: loop.loop) { loop.sockets }.value }
    return sockets.sorted { $0.id < $1.id }
  }
}

extension ServerLoop {
  /// On the loop.
  var calls: CallCounts {
    var calls = pastCalls
    for connection in connections.values { calls.add(connection.calls) }
    return calls
  }

  /// On the loop.
  var sockets: [SocketInspection] { connections.values.map(\.inspection) }
}

extension ServerConnection {
  /// Calls of this connection; those under way are neither succeeded nor failed.
  var calls: CallCounts {
    CallCounts(
      started: connection.session.acceptedStreams, succeeded: callsSucceeded, failed: callsFailed,
      last: connection.session.acceptedStreams > 0 ? Deadline(nanoseconds: lastOpened) : nil)
  }

  var inspection: SocketInspection {
    var socket = SocketInspection(connection, id: inspectionID)
    socket.streams.last = calls.last
    socket.keepalivesSent = keepalivesSent
    socket.messagesSent = messages.messagesSent
    socket.messagesReceived = messages.messagesReceived
    connection.session.forEachOpenStream { stream in
      guard let stream = stream as? ServerStream else { return }
      socket.messagesSent += stream.counts.messagesSent
      socket.messagesReceived += stream.counts.messagesReceived
    }
    return socket
  }
}

extension SocketInspection {
  /// What every connection knows of itself, at either end.
  init(_ connection: Connection, id: Int64) {
    let remote = connection.socket.remoteAddress
    let local = connection.socket.localAddress
    self.init(id: id, name: remote.isUnix ? local.description : remote.description, local: Address(local), remote: Address(remote))
    let session = connection.session!
    cipher = connection.tls?.cipher
    let started = session.role == .server ? session.acceptedStreams : session.requestedStreams
    streams = CallCounts(started: started, succeeded: session.streamsEnded, failed: session.streamsBroken)
    sendWindow = session.sendWindow
    receiveWindow = session.receiveWindow
  }
}

extension SocketInspection.Address {
  init?(_ address: SocketAddress) {
    if let bytes = address.ipBytes, let port = address.port {
      self = .ip(bytes, port: port)
    } else if let path = address.unixPath {
      self = .unix(path: path)
    } else {
      return nil
    }
  }
}
