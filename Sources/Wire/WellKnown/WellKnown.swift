// Placeholder until the generated messages land, which delete this file: just what SpanwireRPC compiles against.
public struct Google_Protobuf_Any: Sendable, Hashable {}
@_exported import SpanwireProtobuf
public struct Google_Protobuf_StringValue: Message {
  public var value: String
  public init(value: String) { self.value = value }
  public init() { value = "" }
  public init(decoding: UnsafeRawBufferPointer) throws(DecodingError) { value = String(decoding: decoding, as: UTF8.self) }
  public func encoded() -> [UInt8] { Array(value.utf8) }
}
