/// Reads a stream of server-sent events (WHATWG HTML §9.2.6): bytes in, the data of each event out. Pure.
///
/// Lines end with LF, CR or CRLF, wherever the pieces break. Comments and fields other than `data` say nothing here.
struct ServerSentEvents: Sendable {
  /// An event has more bytes than any that makes sense.
  struct TooLong: Error, Hashable {}

  private var line: [UInt8] = []
  private var data: [UInt8]?
  private var isAfterReturn = false
  private var isFirstLine = true
  private let limit: Int

  init(atMost limit: Int = OrchestratorLimits.modelEventBytes) { self.limit = limit }

  /// The events that a piece ends. What is not ended yet waits for the next piece; at the end of the stream it is no event.
  mutating func take(_ piece: [UInt8]) throws(TooLong) -> [[UInt8]] {
    var events: [[UInt8]] = []
    for byte in piece {
      defer { isAfterReturn = byte == UInt8(ascii: "\r") }
      switch byte {
      case UInt8(ascii: "\n") where isAfterReturn: break
      case UInt8(ascii: "\n"), UInt8(ascii: "\r"): if let event = endLine() { events.append(event) }
      default:
        line.append(byte)
        if line.count + (data?.count ?? 0) > limit { throw TooLong() }
      }
    }
    return events
  }

  private mutating func endLine() -> [UInt8]? {
    defer { line.removeAll(keepingCapacity: true) }
    if isFirstLine {
      isFirstLine = false
      if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
    }
    if line.isEmpty {
      defer { data = nil }
      return data
    }
    let name = line.prefix { $0 != UInt8(ascii: ":") }
    guard name.elementsEqual("data".utf8) else { return nil }
    var value = line.dropFirst(name.count + 1)
    if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
    data = data.map { $0 + [UInt8(ascii: "\n")] + value } ?? Array(value)
    return nil
  }
}
