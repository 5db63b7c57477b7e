import SpanwireRPC
import Synchronization

/// `grpc.channelz.v1.Channelz`: the servers, connections and channels of a process while they live.
///
/// It tells addresses and counts of others' calls: serve it to operators, `routes(exposure:)`, not to everybody.
public final class ChannelzService: Grpc_Channelz_V1_ChannelzService {
  /// Results of one page, whatever is asked: a page fits a message with room to spare.
  public static let maxPage = 500
  /// Results of one page where nothing is asked.
  public static let usualPage = 100

  private let entries = Mutex(Entries())

  private struct Entries {
    var servers: [WeakServer] = []
    var channels: [WeakChannel] = []
  }

  private struct WeakServer { weak var it: (any InspectableServer)? }
  private struct WeakChannel { weak var it: (any InspectableChannel)? }

  /// Tells of whatever is registered.
  public init() {}

  /// Lets a server be seen as long as it lives.
  public func add(_ server: any InspectableServer) {
    entries.withLock { entries in
      entries.servers.removeAll { $0.it == nil }
      entries.servers.append(WeakServer(it: server))
    }
  }

  /// Lets a channel be seen as long as it lives.
  public func add(_ channel: any InspectableChannel) {
    entries.withLock { entries in
      entries.channels.removeAll { $0.it == nil }
      entries.channels.append(WeakChannel(it: channel))
    }
  }

  /// Who may call is what the exposure says; without, it is left to the server's interceptors.
  public func routes(exposure: MethodExposure? = nil) -> ServiceRoutes {
    let routes = Grpc_Channelz_V1_Channelz.routes(self)
    return exposure.map(routes.exposed) ?? routes
  }

  private var servers: [any InspectableServer] {
    entries.withLock { $0.servers.compactMap(\.it) }.sorted { $0.inspectionID < $1.inspectionID }
  }

  private var channels: [any InspectableChannel] {
    entries.withLock { $0.channels.compactMap(\.it) }.sorted { $0.inspectionID < $1.inspectionID }
  }

  // MARK: Servers

  /// The servers of the process, page by page.
  public func getServers(
    _ request: Grpc_Channelz_V1_GetServersRequest, context: ServerContext
  ) async throws -> Grpc_Channelz_V1_GetServersResponse {
    let (page, end) = try Self.page(servers, from: request.startServerID, atMost: request.maxResults) { $0.inspectionID }
    var response = Grpc_Channelz_V1_GetServersResponse(end: end)
    for server in page { response.server.append(Grpc_Channelz_V1_Server(await server.inspect())) }
    return response
  }

  /// One server; NOT_FOUND when it is gone.
  public func getServer(
    _ request: Grpc_Channelz_V1_GetServerRequest, context: ServerContext
  ) async throws -> Grpc_Channelz_V1_GetServerResponse {
    Grpc_Channelz_V1_GetServerResponse(server: Grpc_Channelz_V1_Server(await (try server(request.serverID)).inspect()))
  }

  /// A server's connections, page by page.
  public func getServerSockets(
    _ request: Grpc_Channelz_V1_GetServerSocketsRequest, context: ServerContext
  ) async throws -> Grpc_Channelz_V1_GetServerSocketsResponse {
    let sockets = await (try server(request.serverID)).inspectConnections()
    let (page, end) = try Self.page(sockets, from: request.startSocketID, atMost: request.maxResults) { $0.id }
    return Grpc_Channelz_V1_GetServerSocketsResponse(socketRef: page.map(Grpc_Channelz_V1_SocketRef.init), end: end)
  }

  private func server(_ id: Int64) throws(RPCError) -> any InspectableServer {
    guard let server = servers.first(where: { $0.inspectionID == id }) else { throw .notFound("no server \(id)") }
    return server
  }

  // MARK: Channels

  /// The channels of the process, page by page.
  public func getTopChannels(
    _ request: Grpc_Channelz_V1_GetTopChannelsRequest, context: ServerContext
  ) async throws -> Grpc_Channelz_V1_GetTopChannelsResponse {
    let (page, end) = try Self.page(channels, from: request.startChannelID, atMost: request.maxResults) { $0.inspectionID }
    var response = Grpc_Channelz_V1_GetTopChannelsResponse(end: end)
    for channel in page { response.channel.append(Grpc_Channelz_V1_Channel(await channel.inspect())) }
    return response
  }

  /// One channel; NOT_FOUND when it is gone.
  public func getChannel(
    _ request: Grpc_Channelz_V1_GetChannelRequest, context: ServerContext
  ) async throws -> Grpc_Channelz_V1_GetChannelResponse {
    guard let channel = channels.first(where: { $0.inspectionID == request.channelID }) else {
      throw RPCError.notFound("no channel \(request.channelID)")
    }
    return Grpc_Channelz_V1_GetChannelResponse(channel: Grpc_Channelz_V1_Channel(await channel.inspect()))
  }

  /// One subchannel; NOT_FOUND when it is gone.
  public func getSubchannel(
    _ request: Grpc_Channelz_V1_GetSubchannelRequest, context: ServerContext
  ) async throws -> Grpc_Channelz_V1_GetSubchannelResponse {
    for channel in channels {
      if let subchannel = await channel.inspect().subchannels.first(where: { $0.id == request.subchannelID }) {
        return Grpc_Channelz_V1_GetSubchannelResponse(subchannel: Grpc_Channelz_V1_Subchannel(subchannel))
      }
    }
    throw RPCError.notFound("no subchannel \(request.subchannelID)")
  }

  // MARK: Sockets

  /// One connection or listener; NOT_FOUND when it is gone.
  public func getSocket(
    _ request: Grpc_Channelz_V1_GetSocketRequest, context: ServerContext
  ) async throws -> Grpc_Channelz_V1_GetSocketResponse {
    for server in servers {
      var sockets = await server.inspectConnections()
      sockets += await server.inspect().listeners
      if let socket = sockets.first(where: { $0.id == request.socketID }) {
        return Grpc_Channelz_V1_GetSocketResponse(socket: Grpc_Channelz_V1_Socket(socket, isOwnStreams: false))
      }
    }
    for channel in channels {
      let sockets = await channel.inspect().subchannels.flatMap(\.sockets)
      if let socket = sockets.first(where: { $0.id == request.socketID }) {
        return Grpc_Channelz_V1_GetSocketResponse(socket: Grpc_Channelz_V1_Socket(socket, isOwnStreams: true))
      }
    }
    throw RPCError.notFound("no socket \(request.socketID)")
  }

  /// Those at or above an id, as many as one page takes, and whether none are left.
  static func page<Element>(
    _ all: [Element], from start: Int64, atMost wanted: Int64, _ id: (Element) -> Int64
  ) throws(RPCError) -> (page: ArraySlice<Element>, end: Bool) {
    guard wanted >= 0 else { throw .invalidArgument("must not be negative", field: "max_results") }
    let rest = all.drop { id($0) < start }
    let page = rest.prefix(wanted == 0 ? usualPage : Int(min(wanted, Int64(maxPage))))
    return (page, page.count == rest.count)
  }
}
