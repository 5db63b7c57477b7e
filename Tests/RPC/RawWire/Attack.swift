/// What a hostile client does to a server: the known ways to make HTTP/2 servers work, or hold, much more than the client does.
package struct Attack: Sendable, CustomStringConvertible {
  /// How the server is to end it.
  package enum Ending: Sendable, Equatable {
    /// GOAWAY with this code, then the end.
    case goAway(UInt32)
    /// The end without a word, since there is nobody to talk to.
    case closed
    /// The one call is answered by a status alone, the connection goes on.
    case refused
    /// It was not ended.
    case none
  }

  package let name: String
  package let ending: Ending
  /// Another that will do: who opens streams faster than the server gets to answer them has, at some moment, more than are allowed, which is
  /// an error of the protocol.
  package let otherEnding: Ending?
  /// Whether preface and settings are exchanged first.
  let greets: Bool
  /// What goes first.
  let beginning: [UInt8]
  /// What is sent over and over, by number, until the server has had enough; nil for those who just wait.
  let step: (@Sendable (Int) -> [UInt8])?

  package var description: String { name }
  /// Whether it works by waiting, so that many connections of it stand open at a time.
  package var holds: Bool { step == nil }

  private init(
    _ name: String, _ ending: Ending, or otherEnding: Ending? = nil, greets: Bool = true, beginning: [UInt8] = [],
    step: (@Sendable (Int) -> [UInt8])? = nil
  ) {
    self.name = name
    self.ending = ending
    self.otherEnding = otherEnding
    self.greets = greets
    self.beginning = beginning
    self.step = step
  }

  private static let protocolError: UInt32 = 1, enhanceYourCalm: UInt32 = 11

  /// All of them, against a server that has a unary method of this path.
  package static func all(path: String) -> [Attack] {
    let call = RawFrame.block(RawFrame.call(path))
    let id: @Sendable (Int) -> UInt32 = { UInt32(truncatingIfNeeded: 2 * $0 + 1) }
    let open = RawFrame.headers(1, call, ends: false).bytes
    // A field of 3,900 bytes that enters the table, then a byte for each time it is wanted again.
    let bomb =
      call + [0x40, 1, 0x78] + [0x7F, 0xBD, 0x1D] + [UInt8](repeating: 0x61, count: 3_900) + [UInt8](repeating: 0xBE, count: 12_000)
    return [
      Attack("rapid reset", .goAway(enhanceYourCalm), or: .goAway(protocolError)) {
        RawFrame.headers(id($0), call, ends: false).bytes + RawFrame.reset(id($0)).bytes
      },
      Attack("made you reset", .goAway(enhanceYourCalm), or: .goAway(protocolError)) {
        RawFrame.headers(id($0), call, ends: false).bytes + RawFrame.windowUpdate(id($0), 0x7FFF_FFFF).bytes
      },
      Attack("endless CONTINUATION", .goAway(enhanceYourCalm), beginning: RawFrame.headers(1, call, ends: false, endsBlock: false).bytes) {
        _ in
        RawFrame.continuation(1, [], endsBlock: false).bytes
      },
      Attack("HPACK bomb", .goAway(enhanceYourCalm), or: .goAway(protocolError)) { RawFrame.headers(id($0), bomb).bytes },
      Attack("SETTINGS flood", .goAway(enhanceYourCalm)) { _ in RawFrame.settings([(3, 100)]).bytes },
      Attack("PING flood", .goAway(enhanceYourCalm)) { _ in RawFrame.ping([0, 0, 0, 0, 0, 0, 0, 0]).bytes },
      Attack("empty DATA flood", .goAway(enhanceYourCalm), beginning: open) { _ in RawFrame.data(1, [], ends: false).bytes },
      Attack("PRIORITY flood", .goAway(enhanceYourCalm)) { RawFrame.priority(id($0 % 1000), on: 0).bytes },
      Attack("WINDOW_UPDATE flood", .goAway(enhanceYourCalm)) { _ in RawFrame.windowUpdate(0, 1).bytes },
      Attack("silence", .closed, greets: false),
      Attack("slow preface", .closed, greets: false, beginning: Array(RawConnection.preface.prefix(10))),
      Attack("slow headers", .closed, beginning: RawFrame.headers(1, call, ends: false, endsBlock: false).bytes),
      Attack("slow body", .refused, beginning: open + RawFrame.data(1, [0, 0, 0, 0, 9, 10], ends: false).bytes),
    ]
  }

  /// Opens a connection and sends what goes first.
  package func open(port: UInt16) throws -> RawConnection {
    let connection = greets ? try RawConnection(greeting: port) : try RawConnection(port: port)
    connection.send(beginning)
    return connection
  }

  /// Steps that go out with one write: as much as a client can send at once.
  private static let stepsPerWrite = 64

  /// Does it on one connection until the server ends it, or until the caller has enough; `wait` is called over and over while nothing comes.
  package func run(port: UInt16, until isOver: () -> Bool = { false }, wait: () -> Void = {}) throws -> Ending {
    let connection = try open(port: port)
    var events: [RawConnection.Event] = []
    if let step {
      var number = 0
      while !isOver() {
        let isSent = connection.send((0..<Self.stepsPerWrite).flatMap { step(number + $0) })
        number += Self.stepsPerWrite
        while case let event = connection.next(withinMilliseconds: 0), event != .silence {
          events.append(event)
          if event == .closed { return Self.ending(events) }
        }
        if !isSent || Self.ending(events) != .none { break }
      }
      if isOver() { return .none }
    }
    for _ in 0..<RawConnection.patienceMilliseconds / 10 {
      let event = connection.next(withinMilliseconds: 10)
      if event == .silence {
        wait()
        continue
      }
      events.append(event)
      let ending = Self.ending(events)
      if ending != .none, event == .closed || ending == .refused { return ending }
    }
    return .none
  }

  private static func ending(_ events: [RawConnection.Event]) -> Ending {
    for event in events {
      guard case .frame(let frame) = event else { continue }
      if frame.type == .goAway { return .goAway(frame.number(at: 4)) }
      if frame.type == .headers, frame.flags & RawFrame.endStream != 0 { return .refused }
    }
    return events.last == .closed ? .closed : .none
  }
}
