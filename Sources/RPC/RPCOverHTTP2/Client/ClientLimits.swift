/// The bounds of a channel that are no options, each with its reason.
enum ClientLimits {
  /// Calls of one loop that wait for a connection or for room on it: more would only wait until their deadlines.
  static let waitingCalls = 10_000
  /// Between two questions to a resolver, unless the channel was idle meanwhile: gRPC's own, since lists rarely change faster and name
  /// servers are shared.
  static let resolutionInterval = Duration.seconds(30)
  /// Addresses of one target that are used: more connections than this make balancing no better.
  static let addresses = 256
  /// Bytes of one call's requests that are kept to make it again; beyond it the call is committed to the attempt it has. As in gRPC C++.
  static let replayBytes = 256 * 1024
  /// The same over all calls of a channel: retries may not become a memory of their own. As in gRPC Java.
  static let channelReplayBytes = 16 * 1024 * 1024
  /// Attempts of one call, whatever its service config says: the bound of gRPC's retry design.
  static let attempts = 5
  /// Connectivity states that a slow watcher may leave unread.
  static let unreadStates = 16
  /// Each connection's age is this much shorter or longer than asked, so that many do not end at once: as gRPC servers do it.
  static let ageJitter = 0.1
}
