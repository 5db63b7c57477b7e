/// The one seam by which anything learns of calls: spans, metrics, access logs.
///
/// Both methods run inline on the path of every call, on a transport's loop often: they must neither block nor wait.
public protocol CallObserver: Sendable {
  func callStarted(_ call: CallStart)
  func callEnded(_ call: consuming CallRecord)
}

/// Which end of a call observes it.
public enum CallSide: UInt8, Sendable, Hashable {
  case client, server
}

/// A call that begins.
public struct CallStart: Sendable {
  /// Which end observes.
  public let side: CallSide
  /// The method called.
  public let method: MethodDescriptor
  /// The call's own span; nil when nobody traces.
  public let trace: TraceContext?
  /// The moment of the monotonic clock.
  public let start: Deadline

  /// A call that begins.
  public init(side: CallSide, method: MethodDescriptor, trace: TraceContext?, start: Deadline) {
    self.side = side
    self.method = method
    self.trace = trace
    self.start = start
  }
}

/// A call that has ended.
public struct CallRecord: Sendable {
  /// Which end observed.
  public let side: CallSide
  /// The method called.
  public let method: MethodDescriptor
  /// The call's own span; its parent is inside.
  public let trace: TraceContext?
  /// The address of the other end.
  public let peer: String
  /// Who called.
  public let principal: Principal
  /// nil for OK.
  public let error: RPCError?
  /// Moments of the monotonic clock.
  public let start: Deadline
  /// When it ended, likewise.
  public let end: Deadline
  /// What crossed.
  public let traffic: CallTraffic

  /// A call that has ended.
  public init(
    side: CallSide, method: MethodDescriptor, trace: TraceContext?, peer: String, principal: Principal, error: RPCError?, start: Deadline,
    end: Deadline, traffic: CallTraffic
  ) {
    self.side = side
    self.method = method
    self.trace = trace
    self.peer = peer
    self.principal = principal
    self.error = error
    self.start = start
    self.end = end
    self.traffic = traffic
  }

  /// From start to end.
  public var duration: Duration { end.remaining(at: start) }
}

/// Several observers as one.
public struct CallObservers: CallObserver {
  private let observers: [any CallObserver]

  /// Tells each in turn.
  public init(_ observers: [any CallObserver]) { self.observers = observers }

  /// Tells every observer.
  public func callStarted(_ call: CallStart) { for observer in observers { observer.callStarted(call) } }
  /// Tells every observer.
  public func callEnded(_ call: CallRecord) { for observer in observers { observer.callEnded(call) } }
}
