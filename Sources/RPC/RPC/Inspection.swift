import Synchronization

/// What can be seen of the servers and channels that live in this process: counts, connections, states. For `grpc.channelz` and for whoever
/// else wants to look. Everything is a snapshot, put together when somebody asks; nothing is counted for it that costs a call anything.

/// A server that lets itself be looked at.
public protocol InspectableServer: AnyObject, Sendable {
  /// Its number in this process; see `InspectionID`.
  var inspectionID: Int64 { get }
  func inspect() async -> ServerInspection
  /// Its connections, in the order of their ids.
  func inspectConnections() async -> [SocketInspection]
}

/// A channel that lets itself be looked at.
public protocol InspectableChannel: AnyObject, Sendable {
  var inspectionID: Int64 { get }
  func inspect() async -> ChannelInspection
}

/// Numbers servers, channels, subchannels and sockets, each once in a process.
public enum InspectionID {
  private static let last = Atomic<Int64>(0)

  /// The next number; positive, and larger than all before.
  public static func next() -> Int64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
}

/// Calls since the beginning.
public struct CallCounts: Sendable, Hashable {
  /// Calls begun.
  public var started = 0
  /// Calls that ended with OK.
  public var succeeded = 0
  /// Calls that ended otherwise.
  public var failed = 0
  /// When the last began; nil before the first.
  public var last: Deadline?

  /// Counts; all zero unless said.
  public init(started: Int = 0, succeeded: Int = 0, failed: Int = 0, last: Deadline? = nil) {
    self.started = started
    self.succeeded = succeeded
    self.failed = failed
    self.last = last
  }

  /// Both together.
  public mutating func add(_ other: CallCounts) {
    started += other.started
    succeeded += other.succeeded
    failed += other.failed
    last = [last, other.last].compactMap { $0 }.max()
  }
}

/// A server.
public struct ServerInspection: Sendable {
  /// The number by which tools ask for it.
  public var id: Int64
  /// Its calls until now.
  public var calls: CallCounts
  /// The sockets that it listens on.
  public var listeners: [SocketInspection]

  /// A server as it is now.
  public init(id: Int64, calls: CallCounts, listeners: [SocketInspection]) {
    self.id = id
    self.calls = calls
    self.listeners = listeners
  }
}

/// A connection, or a socket that listens for them.
public struct SocketInspection: Sendable {
  /// Where one end of a connection is.
  public enum Address: Sendable, Hashable {
    /// 4 or 16 bytes.
    case ip([UInt8], port: UInt16)
    case unix(path: String)
  }

  /// The number by which tools ask for it.
  public var id: Int64
  /// `ipv4:127.0.0.1:5000`, of the other end if there is one.
  public var name: String
  /// Our end.
  public var local: Address?
  /// The other end; nil for listeners.
  public var remote: Address?
  /// The cipher suite by its standard name; nil in the clear.
  public var cipher: String?
  /// Its streams until now.
  public var streams = CallCounts()
  /// Messages sent over it.
  public var messagesSent = 0
  /// Messages received over it.
  public var messagesReceived = 0
  /// PINGs sent to see whether the other end is there.
  public var keepalivesSent = 0
  /// What this end may send, and what the other end may, over all streams; nil for a listener.
  public var sendWindow: Int?
  /// Bytes that the peer may still send; nil for listeners.
  public var receiveWindow: Int?

  /// A socket without traffic until now.
  public init(id: Int64, name: String, local: Address? = nil, remote: Address? = nil) {
    self.id = id
    self.name = name
    self.local = local
    self.remote = remote
  }
}

/// A channel, with what is below it.
public struct ChannelInspection: Sendable {
  /// The connections to one address.
  public struct Subchannel: Sendable {
    /// The number by which tools ask for it.
    public var id: Int64
    /// The address.
    public var name: String
    /// How its connection stands.
    public var state: ConnectivityState
    /// Its connections.
    public var sockets: [SocketInspection]

    /// A subchannel as it is now.
    public init(id: Int64, name: String, state: ConnectivityState, sockets: [SocketInspection]) {
      self.id = id
      self.name = name
      self.state = state
      self.sockets = sockets
    }
  }

  /// The number by which tools ask for it.
  public var id: Int64
  /// What it was made for, as the caller wrote it.
  public var target: String
  /// How its connections stand, taken together.
  public var state: ConnectivityState
  /// What it balances over.
  public var subchannels: [Subchannel]

  /// A channel as it is now.
  public init(id: Int64, target: String, state: ConnectivityState, subchannels: [Subchannel]) {
    self.id = id
    self.target = target
    self.state = state
    self.subchannels = subchannels
  }
}
