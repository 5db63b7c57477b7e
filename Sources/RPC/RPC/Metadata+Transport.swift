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

  /// So many pairs of text that already stand in records, unchecked likewise.
  package init(records: UnsafeRawBufferPointer, count: Int) {
    if count == 0 { return }
    self.count = count
    block = MetadataBlock(records)
  }

  package func forEachRecord(_ body: (Record) -> Void) {
    guard count > 0 else { return }
    block.withBytes { bytes in
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
      block.withBytes { bytes in
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
    let mark = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
    let nameLength = Int(mark & ~bytesMark)
    let valueLength = Int(bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self))
    let start = offset + recordHeader
    return Record(
      form: mark & bytesMark == 0 ? .text : .bytes,
      name: UnsafeRawBufferPointer(rebasing: bytes[start..<start + nameLength]),
      value: UnsafeRawBufferPointer(rebasing: bytes[start + nameLength..<start + nameLength + valueLength]))
  }

  mutating func append(form: Form, name: some Collection<UInt8>, value: some Collection<UInt8>) {
    precondition(name.count < Self.bytesMark && value.count <= UInt32.max, "metadata larger than any transport carries")
    let mark = UInt32(name.count) | (form == .bytes ? Self.bytesMark : 0), valueLength = UInt32(value.count)
    let (nameCount, valueCount) = (name.count, value.count)
    block.append(Self.recordHeader + nameCount + valueCount) { record in
      record.storeBytes(of: mark, as: UInt32.self)
      record.storeBytes(of: valueLength, toByteOffset: 4, as: UInt32.self)
      UnsafeMutableRawBufferPointer(rebasing: record[Self.recordHeader..<Self.recordHeader + nameCount]).copyBytes(from: name)
      UnsafeMutableRawBufferPointer(rebasing: record[(Self.recordHeader + nameCount)...]).copyBytes(from: value)
    }
    count += 1
  }
}
