import Glibc
import Synchronization

/// What stands before the ULID of an id: it says what the id names.
public struct IDPrefix: Sendable, Hashable, ExpressibleByStringLiteral {
  public let text: String

  public init(stringLiteral text: String) {
    precondition(!text.isEmpty && text.utf8.allSatisfy { (65...90).contains($0) }, "a prefix is capital letters: \(text)")
    self.text = text
  }

  public static let session: IDPrefix = "PRS"
  public static let journeyInstance: IDPrefix = "JRN"
  public static let agentTask: IDPrefix = "ATASK"
  public static let execution: IDPrefix = "EXE"
  public static let turn: IDPrefix = "TURN"
  public static let event: IDPrefix = "EVT"
  public static let proposal: IDPrefix = "PRP"
  public static let entitlement: IDPrefix = "ENT"
  public static let artifact: IDPrefix = "ART"
  public static let snapshot: IDPrefix = "SNAP"
  public static let incident: IDPrefix = "INC"
  public static let deadLetter: IDPrefix = "DLQ"
  public static let modelCall: IDPrefix = "MCALL"
}

/// 128 bits, 48 of them milliseconds since 1970: ids that sort by the time they were made.
public struct ULID: Sendable, Hashable {
  public let high: UInt64
  public let low: UInt64

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// The one that many further on, which sorts after this.
  public func advanced(by steps: UInt64) -> ULID {
    let (sum, overflow) = low.addingReportingOverflow(steps)
    return ULID(high: overflow ? high &+ 1 : high, low: sum)
  }

  private static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)

  /// A prefix, a hyphen and 26 characters of Crockford's base 32.
  public func text(_ prefix: IDPrefix) -> String {
    let prefix = prefix.text.utf8
    return String(unsafeUninitializedCapacity: prefix.count + 27) { buffer in
      var index = 0
      for byte in prefix {
        buffer[index] = byte
        index += 1
      }
      buffer[index] = UInt8(ascii: "-")
      var high = high
      var low = low
      for position in stride(from: index + 26, to: index, by: -1) {
        buffer[position] = Self.alphabet[Int(low & 31)]
        low = low >> 5 | high << 59
        high >>= 5
      }
      return index + 27
    }
  }
}

/// Makes ids: `PRS-01J…`. Within a millisecond they count up, so that ids made one after the other sort so.
public final class IDGenerator: Sendable {
  private let clock: any WallClock
  private let random: @Sendable () -> UInt64
  private let last = Mutex<ULID?>(nil)

  public init(clock: any WallClock, random: @escaping @Sendable () -> UInt64 = RandomNumbers().next) {
    self.clock = clock
    self.random = random
  }

  public func next(_ prefix: IDPrefix) -> String { ulid().text(prefix) }

  /// A ULID with room after it: the next one made is more than 2^16 further on, or of a later millisecond.
  public func ulid() -> ULID {
    let milliseconds = UInt64(max(0, clock.now / 1_000_000)) & 0xFFFF_FFFF_FFFF
    return last.withLock { last in
      if let previous = last, previous.high >> 16 >= milliseconds {
        let next = previous.advanced(by: 1 << 20 | random() & 0xF_FFFF)
        last = next
        return next
      }
      let next = ULID(high: milliseconds << 16 | random() & 0xFFFF, low: random())
      last = next
      return next
    }
  }
}

/// Ids from outside.
public enum Identifier {
  public static let maxLength = 128

  /// `[A-Za-z0-9._-]{1,128}`: no separator of a composed key such as `session:{tenant_id}:{session_id}` can occur in it.
  public static func isValid(_ text: String) -> Bool {
    var text = text
    return text.withUTF8 { bytes in
      guard (1...maxLength).contains(bytes.count) else { return false }
      for byte in bytes where !isAllowed(byte) { return false }
      return true
    }
  }

  /// A bit for each of the 128 characters of ASCII: every event has a dozen ids to check.
  private static func isAllowed(_ byte: UInt8) -> Bool {
    switch byte >> 6 {
    case 0: 0x03FF_6000_0000_0000 as UInt64 >> UInt64(byte & 63) & 1 == 1
    case 1: 0x07FF_FFFE_87FF_FFFE as UInt64 >> UInt64(byte & 63) & 1 == 1
    default: false
    }
  }
}

/// Random numbers of the system's, which is asked for many at a time: an answer costs more than a number.
public final class RandomNumbers: Sendable {
  /// 256 bytes, as many as the system gives in one answer.
  private static let atATime = 32
  private let numbers = Mutex<[UInt64]>([])

  public init() {}

  public func next() -> UInt64 {
    numbers.withLock { numbers in
      if let number = numbers.popLast() { return number }
      numbers = Self.ask()
      return numbers.removeLast()
    }
  }

  private static func ask() -> [UInt64] {
    [UInt64](unsafeUninitializedCapacity: atATime) { buffer, count in
      let bytes = UnsafeMutableRawBufferPointer(buffer)
      precondition(getentropy(bytes.baseAddress!, bytes.count) == 0, "the system has no random numbers: \(errno)")
      count = atATime
    }
  }
}
