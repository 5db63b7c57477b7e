/// The one seam by which anything learns of calls: spans, metrics, access logs.
///
/// Both methods run inline on the path of every call, on a transport's loop often: they must neither block nor wait.
public protocol CallObserver: Sendable {
  func callStarted(_ call: CallStart)
  func callEnded(_ call: CallRecord)
}

public enum CallSide: UInt8, Sendable, Hashable {
  case client, server
}

/// A call that begins.
public struct CallStart: Sendable {
  public let side: CallSide
  public let method: MethodDescriptor
  public let trace: TraceContext?
  public let start: Deadline

  public init(side: CallSide, method: MethodDescriptor, trace: TraceContext?, start: Deadline) {
    self.side = side
    self.method = method
    self.trace = trace
    self.start = start
  }
}

/// A call that has ended.
public struct CallRecord: Sendable {
  public let side: CallSide
  public let method: MethodDescriptor
  /// The call's own span; its parent is inside.
  public let trace: TraceContext?
  /// The address of the other end.
  public let peer: String
  public let principal: Principal
  /// nil for OK.
  public let error: RPCError?
  /// Moments of the monotonic clock.
  public let start: Deadline
  public let end: Deadline
  public let traffic: CallTraffic

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

  public var duration: Duration { end.remaining(at: start) }
}

/// Several observers as one.
public struct CallObservers: CallObserver {
  private let observers: [any CallObserver]

  public init(_ observers: [any CallObserver]) { self.observers = observers }

  public func callStarted(_ call: CallStart) { for observer in observers { observer.callStarted(call) } }
  public func callEnded(_ call: CallRecord) { for observer in observers { observer.callEnded(call) } }
}
