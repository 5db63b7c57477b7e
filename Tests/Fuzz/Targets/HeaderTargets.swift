import SpanwireHTTP2
import SpanwireProtobuf
import SpanwireRPC

/// Fields off the wire are kept as they came, found again, and read as whatever they may mean.
func fuzzMetadata(_ input: inout FuzzInput) {
  var pairs: [(name: [UInt8], value: [UInt8])] = []
  while !input.isEmpty, pairs.count < 64 {
    let isBinary = input.byte() & 1 == 1
    // A transport gives lower-case ASCII as names.
    var name = input.bytes(Int(input.byte()) % 16).map { 0x41...0x5a ~= $0 & 0x7f ? $0 & 0x7f | 0x20 : $0 & 0x7f }
    if isBinary { name += Array("-bin".utf8) }
    pairs.append((name, Array(input.bytes(Int(input.byte())))))
  }
  var metadata = Metadata()
  for (name, value) in pairs {
    name.withUnsafeBytes { name in value.withUnsafeBytes { metadata.appendWire(name: name, value: $0) } }
  }
  let headers = HTTP2Headers()
  for (name, value) in pairs {
    name.withUnsafeBytes { name in value.withUnsafeBytes { headers.add(name: name, value: $0) } }
  }
  let filled = Metadata(records: headers.records, count: headers.count)
  require(filled == metadata && metadata.names.allSatisfy { Metadata.isLegal(name: $0) })
  var index = 0
  metadata.forEachRecord { record in
    require(Array(record.name) == pairs[index].name && Array(record.value) == pairs[index].value)
    index += 1
  }
  for name in Set(metadata.names) {
    _ = metadata[name]
    require(metadata[all: name].count >= metadata.names.count { $0 == name })
    for value in metadata[bytes: name] {
      let text = Base64.encodedBytes(value, padding: false)
      require(text.withUnsafeBytes { Base64.decode($0) } == value)
    }
  }
  metadata.removeAll { $0.hasSuffix("-bin") }
  for (_, value) in pairs {
    value.withUnsafeBytes { text in
      if TraceParent(text) != nil { require(TraceContext(traceparent: String(decoding: text, as: UTF8.self)) != nil) }
      if let bytes = Base64.decode(text) {
        require(Base64.encode(bytes).utf8.count >= bytes.count)
      }
    }
  }
}

/// Any bytes are a message; any message survives the wire.
func fuzzPercent(_ input: inout FuzzInput) {
  let message = WireText.percentDecoded(input.rest)
  let encoded = WireText.percentEncoded(message)
  require(encoded.allSatisfy { 0x20...0x7e ~= $0 })
  require(encoded.withUnsafeBytes { WireText.percentDecoded($0) } == message)
}

/// What reads as a timeout is the same in both readers, and is written so that it never grows.
func fuzzTimeout(_ input: inout FuzzInput) {
  let short = WireText.timeoutNanoseconds(input.rest)
  let exact = WireText.timeout(input.rest)
  require((short == nil) == (exact == nil))
  guard let short, let exact else { return }
  require(short == .max || Duration.nanoseconds(Int64(clamping: short)) == exact || short > UInt64(Int64.max))
  let text = Array(WireText.timeout(nanoseconds: short).utf8)
  guard let back = text.withUnsafeBytes({ WireText.timeoutNanoseconds($0) }) else { violated("we write what we refuse") }
  require(back <= max(short, 1) || short == .max)
}
