import SpanwireRPC
import SpanwireSchema

/// Where a listing goes on. Opaque to callers: base64url of a version and the last key.
public enum PageToken {
  /// Keys are ids and positions, a few of them; a longer token was never ours.
  public static let maxLength = 1_024

  public static func encode(_ keys: String...) -> String { encode(keys) }

  public static func encode(_ keys: [String]) -> String {
    Base64URL.encode(Array(("1\n" + keys.joined(separator: "\n")).utf8))
  }

  /// The last key; empty for the first page.
  public static func decode(_ token: String) throws -> String {
    if token.isEmpty { return "" }
    let keys = try decode(token, keys: 1)
    return keys[0]
  }

  /// The last keys, as many as were encoded; nil for the first page is the caller's to see from the empty token.
  public static func decode(_ token: String, keys: Int) throws -> [String] {
    guard token.utf8.count <= maxLength, let bytes = Base64URL.decode(token), let text = String(validating: bytes, as: UTF8.self) else {
      throw invalid
    }
    var parts = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == keys + 1, parts.removeFirst() == "1" else { throw invalid }
    return parts
  }

  private static var invalid: RPCError { .invalidField("page_token", "is not one that was given out", reason: .pageTokenInvalid) }
}

/// RFC 4648 §5 without padding.
package enum Base64URL {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

  package static func encode(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count * 4 / 3 + 4)
    var bits: UInt32 = 0
    var count = 0
    for byte in bytes {
      bits = bits << 8 | UInt32(byte)
      count += 8
      while count >= 6 {
        count -= 6
        text.append(alphabet[Int(bits >> UInt32(count) & 63)])
      }
    }
    if count > 0 { text.append(alphabet[Int(bits << UInt32(6 - count) & 63)]) }
    return String(decoding: text, as: UTF8.self)
  }

  package static func decode(_ text: some StringProtocol) -> [UInt8]? {
    var bytes: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for character in text.utf8 {
      let value: UInt32
      switch character {
      case 65...90: value = UInt32(character) - 65
      case 97...122: value = UInt32(character) - 71
      case 48...57: value = UInt32(character) + 4
      case 45: value = 62
      case 95: value = 63
      default: return nil
      }
      bits = bits << 6 | value
      count += 6
      if count >= 8 {
        count -= 8
        bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
      }
    }
    return count >= 6 || bits & (1 << UInt32(count) - 1) != 0 ? nil : bytes
  }
}
