/// What transports need of `Metadata`: to fill it from header bytes and to walk it without making strings.
extension Metadata {
  /// One pair, valid inside the closure that is given it.
  package struct Record {
    let form: Form
    package let name: UnsafeRawBufferPointer
    /// Text as it goes on the wire, or, when `isRawBytes`, bytes that the transport must write as base64.
    package let value: UnsafeRawBufferPointer

    package var isRawBytes: Bool { form == .bytes }
    package var nameString: String { String(decoding: name, as: UTF8.self) }
    var isBinaryName: Bool { name.count > 4 && name.suffix(4).elementsEqual("-bin".utf8) }
  }

  /// Adds a pair as it came off the wire, unchecked: HTTP/2 has seen to the name, and any legal HTTP value is kept.
  package mutating func appendWire(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
    append(form: .text, name: name, value: value)
  }

  /// As many pairs as the closure adds, which come to at most so many pairs and bytes: one allocation, no copy.
  package static func wire(pairs: Int, bytes: Int, _ fill: (borrowing WireRecords) -> Void) -> Metadata {
    var metadata = Metadata()
    if pairs == 0 { return metadata }
    metadata.block = [UInt8](unsafeUninitializedCapacity: bytes + pairs * recordHeader) { buffer, count in
      var state = (pairs: 0, bytes: 0)
      withUnsafeMutablePointer(to: &state) {
        fill(WireRecords(base: UnsafeMutableRawPointer(buffer.baseAddress!), capacity: buffer.count, state: $0))
      }
      count = state.bytes
      metadata.count = state.pairs
    }
    return metadata
  }

  /// Where `wire` puts pairs.
  package struct WireRecords: ~Copyable {
    fileprivate let base: UnsafeMutableRawPointer
    fileprivate let capacity: Int
    fileprivate let state: UnsafeMutablePointer<(pairs: Int, bytes: Int)>

    /// A name of more than 64 KiB, which only a server that raised its limits lets come so far, is left out.
    package func append(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
      let size = Metadata.recordHeader + name.count + value.count
      guard name.count <= UInt16.max else { return }
      precondition(state.pointee.bytes + size <= capacity)
      let place = base + state.pointee.bytes
      place.storeBytes(of: Form.text.rawValue, as: UInt8.self)
      place.storeBytes(of: UInt16(name.count).littleEndian, toByteOffset: 1, as: UInt16.self)
      place.storeBytes(of: UInt32(value.count).littleEndian, toByteOffset: 3, as: UInt32.self)
      if let source = name.baseAddress { (place + Metadata.recordHeader).copyMemory(from: source, byteCount: name.count) }
      if let source = value.baseAddress { (place + Metadata.recordHeader + name.count).copyMemory(from: source, byteCount: value.count) }
      state.pointee.bytes += size
      state.pointee.pairs += 1
    }
  }

  package func forEachRecord(_ body: (Record) -> Void) {
    guard count > 0 else { return }
    block.withUnsafeBytes { bytes in
      var offset = 0
      while offset < bytes.count {
        let record = Self.record(in: bytes, at: offset)
        body(record)
        offset += Self.recordHeader + record.name.count + record.value.count
      }
    }
  }

  /// Visits the pairs of a name until the visitor answers false.
  func scan(_ name: String, _ visit: (Record) -> Bool) {
    guard count > 0 else { return }
    var name = name
    name.withUTF8 { wanted in
      block.withUnsafeBytes { bytes in
        var offset = 0
        while offset < bytes.count {
          let record = Self.record(in: bytes, at: offset)
          if record.name.count == wanted.count, matches(record.name, wanted), !visit(record) { return }
          offset += Self.recordHeader + record.name.count + record.value.count
        }
      }
    }
  }

  /// Names in the block are lower-case; the wanted one may not be.
  private func matches(_ name: UnsafeRawBufferPointer, _ wanted: UnsafeBufferPointer<UInt8>) -> Bool {
    for index in 0..<wanted.count {
      let byte = wanted[index]
      let lower = UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte ? byte | 0x20 : byte
      if name[index] != lower { return false }
    }
    return true
  }

  private static func record(in bytes: UnsafeRawBufferPointer, at offset: Int) -> Record {
    let form = Form(rawValue: bytes[offset])!
    let nameLength = Int(UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 1, as: UInt16.self)))
    let valueLength = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 3, as: UInt32.self)))
    let start = offset + recordHeader
    return Record(
      form: form,
      name: UnsafeRawBufferPointer(rebasing: bytes[start..<start + nameLength]),
      value: UnsafeRawBufferPointer(rebasing: bytes[start + nameLength..<start + nameLength + valueLength]))
  }

  mutating func append(form: Form, name: some Collection<UInt8>, value: some Collection<UInt8>) {
    precondition(name.count <= UInt16.max && value.count <= UInt32.max, "metadata larger than any transport carries")
    let nameLength = UInt16(name.count), valueLength = UInt32(value.count)
    block.reserveCapacity(block.count + Self.recordHeader + name.count + value.count)
    block.append(form.rawValue)
    withUnsafeBytes(of: nameLength.littleEndian) { block.append(contentsOf: $0) }
    withUnsafeBytes(of: valueLength.littleEndian) { block.append(contentsOf: $0) }
    block.append(contentsOf: name)
    block.append(contentsOf: value)
    count += 1
  }
}
