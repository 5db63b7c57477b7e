// Placeholder until the generated messages land, which delete this file: just what SpanwireRPC compiles against.
@_exported import SpanwireProtobuf

public struct Google_Protobuf_Any: Sendable, Hashable {}
