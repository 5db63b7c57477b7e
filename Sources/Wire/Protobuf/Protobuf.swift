// Placeholder until the codec lands, which deletes this file: just what SpanwireRPC compiles against.
public protocol Message: Sendable, Hashable {
  init()
  init(decoding: UnsafeRawBufferPointer) throws(DecodingError)
  func encoded() -> [UInt8]
}
public struct DecodingError: Error {}
