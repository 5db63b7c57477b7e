#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif
import SpanwireRPC
import SpanwireWellKnown

/// What was seen, in channelz's own messages.

extension Grpc_Channelz_V1_Server {
  init(_ server: ServerInspection) {
    self.init(
      ref: Grpc_Channelz_V1_ServerRef(serverID: server.id, name: server.listeners.map(\.name).joined(separator: " ")),
      data: Grpc_Channelz_V1_ServerData(
        callsStarted: Int64(server.calls.started), callsSucceeded: Int64(server.calls.succeeded), callsFailed: Int64(server.calls.failed),
        lastCallStartedTimestamp: server.calls.last.map(Google_Protobuf_Timestamp.init(monotonic:))),
      listenSocket: server.listeners.map(Grpc_Channelz_V1_SocketRef.init))
  }
}

extension Grpc_Channelz_V1_SocketRef {
  init(_ socket: SocketInspection) { self.init(socketID: socket.id, name: socket.name) }
}

extension Grpc_Channelz_V1_Socket {
  /// `isOwnStreams` says that this end opens the streams of the connection: it is a client.
  init(_ socket: SocketInspection, isOwnStreams: Bool) {
    let last = socket.streams.last.map(Google_Protobuf_Timestamp.init(monotonic:))
    self.init(
      ref: Grpc_Channelz_V1_SocketRef(socket),
      data: Grpc_Channelz_V1_SocketData(
        streamsStarted: Int64(socket.streams.started), streamsSucceeded: Int64(socket.streams.succeeded),
        streamsFailed: Int64(socket.streams.failed), messagesSent: Int64(socket.messagesSent),
        messagesReceived: Int64(socket.messagesReceived), keepAlivesSent: Int64(socket.keepalivesSent),
        lastLocalStreamCreatedTimestamp: isOwnStreams ? last : nil, lastRemoteStreamCreatedTimestamp: isOwnStreams ? nil : last,
        localFlowControlWindow: socket.sendWindow.map { Google_Protobuf_Int64Value(value: Int64($0)) },
        remoteFlowControlWindow: socket.receiveWindow.map { Google_Protobuf_Int64Value(value: Int64($0)) }),
      local: socket.local.map(Grpc_Channelz_V1_Address.init), remote: socket.remote.map(Grpc_Channelz_V1_Address.init),
      security: socket.cipher.map {
        Grpc_Channelz_V1_Security(model: .tls(Grpc_Channelz_V1_Security.Tls(cipherSuite: .standardName($0))))
      })
  }
}

extension Grpc_Channelz_V1_Address {
  init(_ address: SocketInspection.Address) {
    switch address {
    case .ip(let bytes, let port):
      self.init(address: .tcpipAddress(Grpc_Channelz_V1_Address.TcpIpAddress(ipAddress: bytes, port: Int32(port))))
    case .unix(let path): self.init(address: .udsAddress(Grpc_Channelz_V1_Address.UdsAddress(filename: path)))
    }
  }
}

extension Grpc_Channelz_V1_Channel {
  init(_ channel: ChannelInspection) {
    var streams = CallCounts()
    for socket in channel.subchannels.flatMap(\.sockets) { streams.add(socket.streams) }
    self.init(
      ref: Grpc_Channelz_V1_ChannelRef(channelID: channel.id, name: channel.target),
      data: Grpc_Channelz_V1_ChannelData(channel.state, channel.target, streams),
      subchannelRef: channel.subchannels.map { Grpc_Channelz_V1_SubchannelRef(subchannelID: $0.id, name: $0.name) })
  }
}

extension Grpc_Channelz_V1_Subchannel {
  init(_ subchannel: ChannelInspection.Subchannel) {
    var streams = CallCounts()
    for socket in subchannel.sockets { streams.add(socket.streams) }
    self.init(
      ref: Grpc_Channelz_V1_SubchannelRef(subchannelID: subchannel.id, name: subchannel.name),
      data: Grpc_Channelz_V1_ChannelData(subchannel.state, subchannel.name, streams),
      socketRef: subchannel.sockets.map(Grpc_Channelz_V1_SocketRef.init))
  }
}

extension Grpc_Channelz_V1_ChannelData {
  fileprivate init(_ state: ConnectivityState, _ target: String, _ calls: CallCounts) {
    let number: Grpc_Channelz_V1_ChannelConnectivityState.State =
      switch state {
      case .idle: .idle
      case .connecting: .connecting
      case .ready: .ready
      case .transientFailure: .transientFailure
      case .shutdown: .shutdown
      }
    self.init(
      state: Grpc_Channelz_V1_ChannelConnectivityState(state: number), target: target, callsStarted: Int64(calls.started),
      callsSucceeded: Int64(calls.succeeded), callsFailed: Int64(calls.failed),
      lastCallStartedTimestamp: calls.last.map(Google_Protobuf_Timestamp.init(monotonic:)))
  }
}

extension Google_Protobuf_Timestamp {
  /// The time of day of a moment of the monotonic clock.
  fileprivate init(monotonic moment: Deadline) {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    let now = Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    let age = Deadline.now().nanoseconds.subtractingReportingOverflow(moment.nanoseconds)
    self.init(nanosecondsSinceEpoch: age.overflow ? now : now - Int64(clamping: age.partialValue))
  }
}
