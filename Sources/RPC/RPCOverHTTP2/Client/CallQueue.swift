/// Calls that wait, first come first served, each linked to the next: any of them leaves at once.
struct CallQueue: ~Copyable {
  private(set) var count = 0
  private(set) var first: ClientStream?
  private unowned(unsafe) var last: ClientStream?

  var isEmpty: Bool { count == 0 }

  mutating func append(_ call: ClientStream) {
    assert(!call.isQueued)
    call.isQueued = true
    call.previousWaiting = last
    if let last { last.nextWaiting = call } else { first = call }
    last = call
    count += 1
  }

  /// Takes a call out, wherever it stands.
  mutating func remove(_ call: ClientStream) {
    guard call.isQueued else { return }
    call.isQueued = false
    let next = call.nextWaiting, previous = call.previousWaiting
    call.nextWaiting = nil
    call.previousWaiting = nil
    if let next { next.previousWaiting = previous } else { last = previous }
    if let previous { previous.nextWaiting = next } else { first = next }
    count -= 1
  }

  /// Takes out all calls that satisfy the condition, in order.
  mutating func removeAll(where condition: (ClientStream) -> Bool) -> [ClientStream] {
    var found: [ClientStream] = []
    var call = first
    while let current = call {
      call = current.nextWaiting
      if condition(current) {
        remove(current)
        found.append(current)
      }
    }
    return found
  }
}
