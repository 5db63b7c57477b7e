import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCServices
import SpanwireRPCTestSupport
import SpanwireTLS
import SpanwireTestCertificates
import Testing

/// The live view of servers and channels, by a server that serves it of itself.
@Suite(.timeLimit(.minutes(15))) struct ChannelzTests {
  private static func serve(isSecure: Bool = false) async throws -> (HTTP2Server, HTTP2Channel, ChannelzService) {
    let certificates = TestCertificates.shared
    let channelz = ChannelzService()
    let router = ServerRouter([Echo.routes(ObedientEcho()), channelz.routes()])
    let configuration = ServerConfiguration(
      port: 0,
      tls: isSecure
        ? TLSServerConfiguration(
          certificateChain: .file(path: certificates.server.certificate), privateKey: .file(path: certificates.server.key)) : nil)
    let server = try HTTP2Server(router, configuration)
    channelz.add(server)
    let port = try await server.start()[0].port!
    let channel = try HTTP2Channel(
      .host(isSecure ? "localhost" : "127.0.0.1", port: port),
      tls: isSecure ? TLSClientConfiguration(trust: .authorities(.file(path: certificates.authority))) : nil)
    channelz.add(channel)
    return (server, channel, channelz)
  }

  @Test("a server's calls and connections are counted", arguments: [false, true])
  func server(isSecure: Bool) async throws {
    let (server, channel, _) = try await Self.serve(isSecure: isSecure)
    let echo = EchoClient(channel), client = Grpc_Channelz_V1_ChannelzClient(channel)
    for _ in 0..<3 { _ = try await echo.get(Text(value: "hi")) }
    for _ in 0..<2 { _ = try? await echo.get(Text(value: "fail NOT_FOUND")) }
    let chat = try await echo.chat()
    for word in ["a", "b"] {
      try await chat.requests.write(Text(value: word))
      #expect(try await chat.responses.next()?.value == word)
    }

    let servers = try await client.getServers(Grpc_Channelz_V1_GetServersRequest())
    #expect(servers.end && servers.server.count == 1)
    let id = try #require(servers.server.first?.ref?.serverID)
    // The call that asks has begun and not ended, as has the chat.
    let data = try await client.getServer(Grpc_Channelz_V1_GetServerRequest(serverID: id)).server?.data
    #expect(data?.callsStarted == 8 && data?.callsSucceeded == 4 && data?.callsFailed == 2)
    #expect(data?.lastCallStartedTimestamp != nil)
    #expect(servers.server.first?.listenSocket.isEmpty == false)

    let sockets = try await client.getServerSockets(Grpc_Channelz_V1_GetServerSocketsRequest(serverID: id))
    #expect(sockets.end && sockets.socketRef.count == 1)
    let reference = try #require(sockets.socketRef.first)
    let socket = try #require(try await client.getSocket(Grpc_Channelz_V1_GetSocketRequest(socketID: reference.socketID)).socket)
    #expect(socket.ref == reference)
    #expect(socket.data?.streamsStarted == 10 && socket.data?.streamsSucceeded == 8)
    // 3 echoes, 2 of the chat, 3 of channelz; besides those, 2 requests failed and one is being answered.
    #expect(socket.data?.messagesSent == 8 && socket.data?.messagesReceived == 11)
    #expect((socket.data?.localFlowControlWindow?.value ?? 0) > 0 && (socket.data?.remoteFlowControlWindow?.value ?? 0) > 0)
    #expect(socket.data?.lastRemoteStreamCreatedTimestamp != nil && socket.data?.lastLocalStreamCreatedTimestamp == nil)
    guard case .tcpipAddress(let local) = socket.local?.address, case .tcpipAddress(let remote) = socket.remote?.address else {
      Issue.record("no addresses: \(socket)")
      return
    }
    #expect(local.ipAddress == [127, 0, 0, 1] && local.port == Int32(server.addresses[0].port!))
    #expect(remote.ipAddress == [127, 0, 0, 1] && remote.port > 0)
    #expect((socket.security != nil) == isSecure)
    if isSecure, case .tls(let tls) = socket.security?.model, case .standardName(let name) = tls.cipherSuite {
      #expect(name.hasPrefix("TLS_"))
    }
    chat.cancel()
    await channel.close()
    await server.shutDown(grace: .zero)
  }

  @Test("a channel is seen with its subchannel and its connection")
  func channel() async throws {
    let (server, channel, _) = try await Self.serve()
    let client = Grpc_Channelz_V1_ChannelzClient(channel)
    let top = try await client.getTopChannels(Grpc_Channelz_V1_GetTopChannelsRequest())
    #expect(top.end && top.channel.count == 1)
    let found = try #require(top.channel.first)
    #expect(found.data?.state?.state == .ready && found.data?.callsStarted == 1)
    let again = try await client.getChannel(Grpc_Channelz_V1_GetChannelRequest(channelID: found.ref?.channelID ?? 0))
    #expect(again.channel?.ref == found.ref)
    let reference = try #require(found.subchannelRef.first)
    let subchannel = try await client.getSubchannel(Grpc_Channelz_V1_GetSubchannelRequest(subchannelID: reference.subchannelID)).subchannel
    let socketID = try #require(subchannel?.socketRef.first?.socketID)
    let socket = try await client.getSocket(Grpc_Channelz_V1_GetSocketRequest(socketID: socketID)).socket
    #expect(socket?.data?.streamsStarted == 4 && socket?.data?.streamsSucceeded == 3)
    await channel.close()
    await server.shutDown(grace: .zero)
  }

  @Test("unknown ids are NOT_FOUND")
  func unknown() async throws {
    let (server, channel, _) = try await Self.serve()
    let client = Grpc_Channelz_V1_ChannelzClient(channel)
    let questions: [() async throws -> Void] = [
      { _ = try await client.getServer(Grpc_Channelz_V1_GetServerRequest(serverID: -1)) },
      { _ = try await client.getServerSockets(Grpc_Channelz_V1_GetServerSocketsRequest(serverID: 0)) },
      { _ = try await client.getChannel(Grpc_Channelz_V1_GetChannelRequest(channelID: .max)) },
      { _ = try await client.getSubchannel(Grpc_Channelz_V1_GetSubchannelRequest(subchannelID: .min)) },
      { _ = try await client.getSocket(Grpc_Channelz_V1_GetSocketRequest(socketID: 0)) },
    ]
    for question in questions {
      let error = await #expect(throws: RPCError.self) { try await question() }
      #expect(error?.code == .notFound)
    }
    let negative = await #expect(throws: RPCError.self) {
      try await client.getServers(Grpc_Channelz_V1_GetServersRequest(maxResults: -1))
    }
    #expect(negative?.code == .invalidArgument)
    await channel.close()
    await server.shutDown(grace: .zero)
  }

  @Test("sockets come page by page, each once, and the last page says so")
  func pages() async throws {
    let (server, channel, _) = try await Self.serve()
    let client = Grpc_Channelz_V1_ChannelzClient(channel)
    let port = server.addresses[0].port!
    let connections = try await SpanwireRPCTestSupport.connections(7, to: port)
    let id = try #require(try await client.getServers(Grpc_Channelz_V1_GetServersRequest()).server.first?.ref?.serverID)
    var seen: [Int64] = []
    var sizes: [Int] = []
    while true {
      let page = try await client.getServerSockets(
        Grpc_Channelz_V1_GetServerSocketsRequest(serverID: id, startSocketID: (seen.last ?? -1) + 1, maxResults: 3))
      seen += page.socketRef.map(\.socketID)
      sizes.append(page.socketRef.count)
      if page.end { break }
    }
    #expect(sizes == [3, 3, 2])
    #expect(seen == seen.sorted() && Set(seen).count == 8)
    withExtendedLifetime(connections) {}
    await channel.close()
    await server.shutDown(grace: .zero)
  }
}
