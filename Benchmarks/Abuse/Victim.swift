import Glibc
import SpanwireRawWire

/// A client that calls at a steady pace and wants to know how long it waits.
final class Victim {
  /// A modest load: the server has time for it, whatever else happens.
  static let perSecond = 500

  private let connection: RawConnection
  private let call: [UInt8]
  private var stream: UInt32 = 1

  init(port: UInt16, path: String) throws {
    connection = try RawConnection(greeting: port)
    call = RawFrame.block(RawFrame.call(path))
  }

  /// Milliseconds from when each call was due to its last frame: one that had to wait for the call before it has waited.
  func latencies(for seconds: Double, _ between: () -> Void = {}) throws -> (p50: Double, p99: Double) {
    let begin = milliseconds()
    let count = max(20, Int(seconds * Double(Self.perSecond)))
    var taken: [Double] = []
    for number in 0..<count {
      let due = begin + Double(number) * 1000 / Double(Self.perSecond)
      let now = milliseconds()
      if now < due { usleep(UInt32((due - now) * 1000)) }
      try answer()
      taken.append(milliseconds() - due)
      if number % 50 == 0 { between() }
    }
    taken.sort()
    return (taken[count / 2], taken[min(count - 1, count * 99 / 100)])
  }

  private func answer() throws {
    let id = stream
    stream += 2
    connection.send(.headers(id, call, ends: false), .data(id, [0, 0, 0, 0, 4, 10, 2, 104, 105]))
    let events = connection.read(until: { $0.stream == id && $0.flags & RawFrame.endStream != 0 })
    guard case .frame(let last) = events.last, last.stream == id else { throw Unserved(events: "\(events.suffix(3))") }
    if id % 512 == 511 { connection.send(.windowUpdate(0, 8 * 256)) }
  }
}

/// The server has left its other clients alone: the attack has succeeded.
struct Unserved: Error, CustomStringConvertible {
  let events: String
  var description: String { "a bystander's call was not answered: \(events)" }
}
