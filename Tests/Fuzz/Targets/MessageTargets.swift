import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCOverHTTP2

/// Messages come out as they stand in the bytes, however these are cut; credit is given for each byte once; no compressed message grows
/// beyond the limit.
func fuzzMessages(_ input: inout FuzzInput) {
  let limits = MessageLimits(maxReceivedBytes: 1 << (4 + Int(input.byte() % 14)))
  let compression: Compression = input.byte() & 1 == 0 ? .gzip : .deflate
  var assembler = MessageAssembler(limits: limits)
  var given = 0
  var credited = 0
  while !input.isEmpty {
    let cut = input.bytes(1 + Int(input.byte()))
    if cut.isEmpty { break }
    given += cut.count
    guard let credit = try? assembler.append(cut) else { return }
    credited += credit
    let census = assembler.census
    var taken = 0
    while assembler.hasMessage {
      guard (try? assembler.checkNext()) != nil else { return }
      let length = try? assembler.take(&credited) { frame in
        require(frame.bytes.count <= limits.maxReceivedBytes)
        checkInflating(frame.bytes, compression, limits)
        return frame.bytes.count
      }
      require(length != nil)
      taken += 1
    }
    require(taken == census.messages && census.isWhole == (assembler.buffered == 0))
    require(credited <= given)
  }
  credited += assembler.discard()
  require(credited == given, "bytes that nobody credits stop the sender for ever")
}

private func checkInflating(_ bytes: UnsafeRawBufferPointer, _ compression: Compression, _ limits: MessageLimits) {
  withCopy(bytes) { bytes in
    guard let inflated = try? MessageCompression.inflate(bytes, compression, limits: limits) else { return }
    require(inflated.count <= limits.maxReceivedBytes)
    let deflated = inflated.withUnsafeBytes { MessageCompression.deflate($0, compression) }
    let back = try? deflated.withUnsafeBytes { try MessageCompression.inflate($0, compression, limits: limits) }
    require(back == inflated)
  }
}
