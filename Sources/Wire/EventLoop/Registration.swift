import CLinux

/// What a socket is ready for, or what its owner waits for.
public struct Readiness: OptionSet, Sendable {
  /// The bits.
  public let rawValue: UInt8
  /// A set by its bits.
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// There is something to read, or the end of it.
  public static let readable = Readiness(rawValue: 1)
  /// There is room to write.
  public static let writable = Readiness(rawValue: 2)
  /// Nothing will follow: reading tells what happened. Always reported.
  public static let hangup = Readiness(rawValue: 4)

  init(mask: UInt32) {
    var value: Readiness = []
    if mask & EPOLLIN.rawValue != 0 { value.insert(.readable) }
    if mask & EPOLLOUT.rawValue != 0 { value.insert(.writable) }
    if mask & (EPOLLHUP.rawValue | EPOLLERR.rawValue | EPOLLRDHUP.rawValue) != 0 { value.insert(.hangup) }
    self = value
  }

  var mask: UInt32 {
    var mask: UInt32 = 0
    if contains(.readable) { mask |= EPOLLIN.rawValue | EPOLLRDHUP.rawValue }
    if contains(.writable) { mask |= EPOLLOUT.rawValue }
    return mask
  }
}

/// Who is told that a socket is ready. Called on the loop.
public protocol ReadinessHandler: AnyObject {
  func ready(_ readiness: Readiness)
}

/// A descriptor that a loop watches. On the loop only.
public final class Registration {
  /// What is watched.
  public let descriptor: Int32
  /// What is waited for.
  public private(set) var interest: Readiness
  private unowned(unsafe) let loop: EventLoop
  var handler: (any ReadinessHandler)?
  /// The kernel holds a pointer to this object, so it keeps itself until closed.
  private var itself: Registration?

  init(loop: EventLoop, descriptor: Int32, interest: Readiness, handler: any ReadinessHandler) {
    self.loop = loop
    self.descriptor = descriptor
    self.interest = interest
    self.handler = handler
  }

  func keepAlive() { itself = self }

  /// Changes what is waited for; costs a system call unless it is the same.
  public func wait(for interest: Readiness) {
    if interest == self.interest || handler == nil { return }
    self.interest = interest
    loop.change(self)
  }

  /// Ends the watch and lets the handler go. The descriptor stays open. Calling it again does nothing.
  public func close() {
    guard handler != nil else { return }
    handler = nil
    loop.remove(self)
    itself = nil
  }
}
