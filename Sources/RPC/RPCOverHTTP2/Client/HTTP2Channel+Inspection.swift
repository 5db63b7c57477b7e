import SpanwireEventLoop
import SpanwireRPC

/// What can be seen of a channel: the subchannels of its loops, each with its connection.
extension HTTP2Channel: InspectableChannel {
  /// The channel, its subchannels and their connections as they are now.
  public func inspect() async -> ChannelInspection {
    var channel = ChannelInspection(id: inspectionID, target: "\(target)", state: connectivity, subchannels: [])
    for pool in inspectedPools {
      channel.subchannels += await Task(executorPreference: pool.loop) { pool.inspection }.value
    }
    channel.subchannels.sort { $0.id < $1.id }
    return channel
  }
}

extension ClientPool {
  /// On the loop.
  var inspection: [ChannelInspection.Subchannel] {
    inspectedSubchannels.map { subchannel in
      ChannelInspection.Subchannel(
        id: subchannel.inspectionID, name: subchannel.name, state: subchannel.state,
        sockets: subchannel.connection.flatMap { client in
          client.phase == .ready ? [SocketInspection(client.connection, id: client.inspectionID)] : nil
        } ?? [])
    }
  }
}
