import SpanwireTLS
import SpanwireTestCertificates

/// Contexts are dear: they are made once.
private enum Ends {
  nonisolated(unsafe) static let server = try! TLSContext(  // used on one thread: a target runs one input at a time
    server: TLSServerConfiguration(
      certificateChain: .file(path: TestCertificates.shared.server.certificate),
      privateKey: .file(path: TestCertificates.shared.server.key),
      clientCertificates: .verified(authorities: .file(path: TestCertificates.shared.authority))))
  nonisolated(unsafe) static let client = try! TLSContext(
    client: TLSClientConfiguration(trust: .authorities(.file(path: TestCertificates.shared.authority))))
}

/// Bytes to a server or a client that has said nothing yet, or changes to what the two say to each other.
func fuzzTLS(_ input: inout FuzzInput) {
  let choice = input.byte()
  guard let server = try? TLSConnection(server: Ends.server),
    let client = try? TLSConnection(client: Ends.client, serverName: "localhost")
  else { violated("no connection") }
  let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 + Int(choice) * 64, alignment: 1)
  defer { scratch.deallocate() }
  if choice & 3 == 0 { return feed(server, &input, scratch) }
  if choice & 3 == 1 { return feed(client, &input, scratch) }
  // A handshake whose bytes the input changes: a distance to go, and what to do there.
  var untilChange = Int(input.byte()) * 4 + Int(input.byte())
  for _ in 0..<12 {
    for (from, to) in [(client, server), (server, client)] {
      var flight: [UInt8] = []
      from.output {
        flight = Array($0); return $0.count
      }
      while untilChange < flight.count, !input.isEmpty {
        switch input.byte() % 4 {
        case 0: flight[untilChange] ^= input.byte() | 1
        case 1: flight.remove(at: untilChange)
        case 2: flight.insert(input.byte(), at: untilChange)
        default: flight.removeLast(flight.count - untilChange)
        }
        untilChange += 1 + Int(input.byte()) * 4 + Int(input.byte())
      }
      untilChange -= min(untilChange, flight.count)
      flight.withUnsafeBytes { bytes in withCopy(bytes) { try? to.receive($0, scratch: scratch) { _ in } } }
    }
    if client.isEstablished, server.isEstablished, client.outputBytes + server.outputBytes == 0 {
      [1, 2, 3].withUnsafeBytes { bytes in
        try? client.send(bytes)
        try? server.send(bytes)
      }
    }
  }
  _ = server.peer
  server.close()
}

private func feed(_ end: TLSConnection, _ input: inout FuzzInput, _ scratch: UnsafeMutableRawBufferPointer) {
  while !input.isEmpty {
    let cut = input.bytes(1 + Int(input.byte()) * 8)
    let isSound = withCopy(cut) { (try? end.receive($0, scratch: scratch) { _ in }) != nil }
    end.output { $0.count }
    if !isSound { break }
  }
  require(!end.isEstablished, "a handshake out of thin air")
  _ = end.negotiatedProtocol
  end.close()
}
