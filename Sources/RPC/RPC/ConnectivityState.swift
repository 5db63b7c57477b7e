/// How a channel, or one of its subchannels, stands with its servers: the states of gRPC.
public enum ConnectivityState: UInt8, Sendable, Hashable {
  /// No connection, and none wanted. Exits: connecting (a call, or `connect()`), shutdown.
  case idle
  /// Exits: ready, transientFailure, idle, shutdown.
  case connecting
  /// Exits: idle, connecting, transientFailure, shutdown.
  case ready
  /// No address answers; tried again after a pause. Calls fail, unless they wait for ready. Exits: ready, idle, shutdown.
  case transientFailure
  /// Closed for good.
  case shutdown
}
