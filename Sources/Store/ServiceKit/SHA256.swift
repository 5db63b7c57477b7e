/// SHA-256 (FIPS 180-4), for names of contents and for telling one request from another. Not for secrets: it takes no key.
public struct SHA256: Sendable {
  private static let initial: [UInt32] = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
  ]

  private var state = initial
  private var block: [UInt8] = []
  private var length: UInt64 = 0
  private var schedule = [UInt32](repeating: 0, count: 64)

  public init() { block.reserveCapacity(64) }

  /// Of bytes that are all there: every call with an idempotency key asks, so it makes nothing but its result.
  public static func hash(_ bytes: [UInt8]) -> [UInt8] {
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 8 + 64) { words in
      let state = words.baseAddress!
      for (index, word) in initial.enumerated() { state[index] = word }
      constants.withUnsafeBufferPointer { constants in
        bytes.withUnsafeBufferPointer { bytes in
          var start = 0
          while bytes.count - start >= 64 {
            compress(bytes.baseAddress! + start, state, state + 8, constants.baseAddress!)
            start += 64
          }
          withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 128) { tail in
            let (rest, length) = (bytes.count - start, bytes.count - start < 56 ? 64 : 128)
            tail.initialize(repeating: 0)
            for index in 0..<rest { tail[index] = bytes[start + index] }
            tail[rest] = 0x80
            let bits = UInt64(bytes.count) &* 8
            for index in 0..<8 { tail[length - 1 - index] = UInt8(truncatingIfNeeded: bits >> UInt64(8 * index)) }
            for block in stride(from: 0, to: length, by: 64) {
              compress(tail.baseAddress! + block, state, state + 8, constants.baseAddress!)
            }
          }
        }
      }
      return bigEndian(state)
    }
  }

  private static func bigEndian(_ state: UnsafePointer<UInt32>) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
      for index in 0..<32 { buffer[index] = UInt8(truncatingIfNeeded: state[index >> 2] >> UInt32(24 - 8 * (index & 3))) }
      count = 32
    }
  }

  /// `sha256:` and 64 hex digits, as contents are named.
  public static func name(of bytes: [UInt8]) -> String { "sha256:" + hex(hash(bytes)) }

  public static func hex(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count * 2)
    for byte in bytes {
      text.append(digits[Int(byte >> 4)])
      text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }

  public mutating func update(_ bytes: [UInt8]) {
    length &+= UInt64(bytes.count)
    var start = 0
    if !block.isEmpty {
      start = min(64 - block.count, bytes.count)
      block.append(contentsOf: bytes[..<start])
      if block.count < 64 { return }
      block.withUnsafeBufferPointer { compress($0.baseAddress!) }
      block.removeAll(keepingCapacity: true)
    }
    bytes.withUnsafeBufferPointer { bytes in
      while bytes.count - start >= 64 {
        compress(bytes.baseAddress! + start)
        start += 64
      }
    }
    block.append(contentsOf: bytes[start...])
  }

  public mutating func update(_ text: String) { update(Array(text.utf8)) }

  /// The 32 bytes; nothing may be added after.
  public mutating func finish() -> [UInt8] {
    let bits = length &* 8
    var padding: [UInt8] = [0x80]
    padding.append(contentsOf: repeatElement(0, count: (119 - block.count) % 64))
    for shift in stride(from: 56, through: 0, by: -8) { padding.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift))) }
    update(padding)
    return state.withUnsafeBufferPointer { Self.bigEndian($0.baseAddress!) }
  }

  /// Written for debug builds too, which hash bundles on a loop: pointers, and operators that are never calls.
  private mutating func compress(_ block: UnsafePointer<UInt8>) {
    schedule.withUnsafeMutableBufferPointer { schedule in
      state.withUnsafeMutableBufferPointer { state in
        Self.constants.withUnsafeBufferPointer { constants in
          Self.compress(block, state.baseAddress!, schedule.baseAddress!, constants.baseAddress!)
        }
      }
    }
  }

  private static func compress(
    _ block: UnsafePointer<UInt8>, _ state: UnsafeMutablePointer<UInt32>, _ w: UnsafeMutablePointer<UInt32>, _ k: UnsafePointer<UInt32>
  ) {
    let words = UnsafeRawPointer(block)
    var i = 0
    while i < 16 {
      w[i] = UInt32(bigEndian: words.loadUnaligned(fromByteOffset: i &* 4, as: UInt32.self))
      i &+= 1
    }
    while i < 64 {
      let x = w[i &- 15]
      let y = w[i &- 2]
      let first = (x &>> 7 | x &<< 25) ^ (x &>> 18 | x &<< 14) ^ (x &>> 3)
      let second = (y &>> 17 | y &<< 15) ^ (y &>> 19 | y &<< 13) ^ (y &>> 10)
      w[i] = w[i &- 16] &+ first &+ w[i &- 7] &+ second
      i &+= 1
    }
    var a = state[0]
    var b = state[1]
    var c = state[2]
    var d = state[3]
    var e = state[4]
    var f = state[5]
    var g = state[6]
    var h = state[7]
    i = 0
    while i < 64 {
      let mixed = (e &>> 6 | e &<< 26) ^ (e &>> 11 | e &<< 21) ^ (e &>> 25 | e &<< 7)
      let first = h &+ mixed &+ ((e & f) ^ (~e & g)) &+ k[i] &+ w[i]
      let second = ((a &>> 2 | a &<< 30) ^ (a &>> 13 | a &<< 19) ^ (a &>> 22 | a &<< 10)) &+ ((a & b) ^ (a & c) ^ (b & c))
      h = g
      g = f
      f = e
      e = d &+ first
      d = c
      c = b
      b = a
      a = first &+ second
      i &+= 1
    }
    state[0] = state[0] &+ a
    state[1] = state[1] &+ b
    state[2] = state[2] &+ c
    state[3] = state[3] &+ d
    state[4] = state[4] &+ e
    state[5] = state[5] &+ f
    state[6] = state[6] &+ g
    state[7] = state[7] &+ h
  }

  private static let constants: [UInt32] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5, 0xd807_aa98, 0x1283_5b01,
    0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174, 0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc,
    0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da, 0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147,
    0x06ca_6351, 0x1429_2967, 0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070, 0x19a4_c116, 0x1e37_6c08,
    0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3, 0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208,
    0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
  ]
}
