/// What is asked of somebody else's HTTP server.
public struct OutboundRequest: Sendable {
  /// `GET`, `POST`, ….
  public var method: String
  /// With a scheme, `http` or `https`.
  public var url: String
  /// Names and values, sent as they are. What they hold is in no error of this room.
  public var headers: [(name: String, value: String)]
  /// What is sent; may be empty.
  public var body: [UInt8]

  /// Makes a request.
  public init(method: String, url: String, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
    self.method = method
    self.url = url
    self.headers = headers
    self.body = body
  }
}

/// How long the parts of an exchange may take.
public struct OutboundTimes: Sendable, Hashable {
  /// From the beginning until the reply's head is there, with finding a connection and sending what is asked.
  public var first: Duration
  /// Between two pieces of the reply's body.
  public var idle: Duration
  /// All of it.
  public var whole: Duration

  /// Makes a plan of times.
  public init(first: Duration = .seconds(30), idle: Duration = .seconds(15), whole: Duration = .seconds(60)) {
    self.first = first
    self.idle = idle
    self.whole = whole
  }
}

/// Why an exchange came to nothing. None of it quotes what was sent.
public enum OutboundFailure: Error, Sendable, Hashable, CustomStringConvertible {
  /// A part of an exchange that has a time.
  public enum Part: String, Sendable { case first, idle, whole }

  /// There is no such URL, or it is not `http` or `https`.
  case invalidURL
  /// No connection came about.
  case unreachable(String)
  case timedOut(Part)
  /// The connection ended before the reply did, or what came is not HTTP.
  case broken(String)
  /// The reply has more bytes than its reader takes.
  case tooLarge(limit: Int)

  public var description: String {
    switch self {
    case .invalidURL: "the URL is not one of HTTP"
    case .unreachable(let why): "cannot be reached: \(why)"
    case .timedOut(.first): "no answer in time"
    case .timedOut(.idle): "the answer stopped coming"
    case .timedOut(.whole): "not done in time"
    case .broken(let why): "the answer broke off: \(why)"
    case .tooLarge(let limit): "the answer has more than \(limit) bytes"
    }
  }
}

/// A reply that was read whole.
public struct OutboundAnswer: Sendable {
  /// 200, 404, ….
  public var status: Int
  /// Names in lower case.
  public var headers: [(name: String, value: String)]
  /// What came.
  public var body: [UInt8]

  /// The first value of a header, by its name in lower case.
  public subscript(name: String) -> String? { headers.first { $0.name == name }?.value }
}
