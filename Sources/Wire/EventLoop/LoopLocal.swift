import Synchronization

/// A place on every loop for one object: a read connection, a ring of spans, a pool of buffers.
///
/// Made once, as a static; it numbers a slot and holds nothing itself.
public final class LoopLocal<Value: AnyObject>: Sendable {
  fileprivate let slot: Int

  /// A new place in every loop, empty at first.
  public init() {
    slot = nextSlot.wrappingAdd(1, ordering: .relaxed).oldValue
  }
}

private let nextSlot = Atomic<Int>(0)

extension EventLoop {
  /// This loop's object of a place, made when first asked for. It lives as long as the loop runs. On the loop only.
  public func local<Value: AnyObject>(_ place: LoopLocal<Value>, _ make: () throws -> Value) rethrows -> Value {
    assert(isCurrent)
    if place.slot < locals.count, let value = locals[place.slot] { return unsafeDowncast(value, to: Value.self) }
    let value = try make()
    while locals.count <= place.slot { locals.append(nil) }
    locals[place.slot] = value
    return value
  }

  /// This loop's object of a place, if there is one. On the loop only.
  public func existing<Value: AnyObject>(_ place: LoopLocal<Value>) -> Value? {
    assert(isCurrent)
    guard place.slot < locals.count, let value = locals[place.slot] else { return nil }
    return unsafeDowncast(value, to: Value.self)
  }

  /// Lets this loop's object of a place go. On the loop only.
  public func removeLocal<Value: AnyObject>(_ place: LoopLocal<Value>) {
    assert(isCurrent)
    if place.slot < locals.count { locals[place.slot] = nil }
  }
}
