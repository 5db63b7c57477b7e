import Glibc

/// The bytes of a metadata's records: copied when they change while others hold them too.
///
/// A block of its own and no array, since every server's call makes one: to make an array of bytes, the library looks up the type of its
/// storage, five hundred instructions.
struct MetadataBlock: @unchecked Sendable {
  // Sendable: the storage changes only while a single value refers to it.

  private final class Storage: ManagedBuffer<(count: Int, capacity: Int), UInt8> {
    static func make(_ count: Int, capacity: Int) -> Storage {
      unsafeDowncast(Storage.create(minimumCapacity: capacity) { _ in (count, capacity) }, to: Storage.self)
    }

    var bytes: UnsafeMutableRawPointer { withUnsafeMutablePointerToElements { UnsafeMutableRawPointer($0) } }
  }

  private var storage: Storage?

  /// No bytes.
  init() {}

  /// A copy of bytes.
  init(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
    let storage = Storage.make(bytes.count, capacity: bytes.count)
    storage.bytes.copyMemory(from: source, byteCount: bytes.count)
    self.storage = storage
  }

  /// The bytes, valid inside the closure.
  @inline(__always)
  func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    guard let storage else { return body(UnsafeRawBufferPointer(start: nil, count: 0)) }
    return withExtendedLifetime(storage) { body(UnsafeRawBufferPointer(start: storage.bytes, count: storage.header.count)) }
  }

  /// Adds so many bytes, which the closure writes.
  mutating func append(_ count: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void) {
    let used = storage?.header.count ?? 0
    let total = used + count
    if !isKnownUniquelyReferenced(&storage) || storage!.header.capacity < total {
      // What has been added to will be again.
      let larger = Storage.make(used, capacity: max(total, min(2 * used, used + 4096)))
      withBytes { if let source = $0.baseAddress { larger.bytes.copyMemory(from: source, byteCount: used) } }
      storage = larger
    }
    write(UnsafeMutableRawBufferPointer(start: storage!.bytes + used, count: count))
    storage!.header.count = total
  }
}

extension MetadataBlock: Equatable {
  static func == (left: MetadataBlock, right: MetadataBlock) -> Bool {
    left.withBytes { left in
      right.withBytes { right in
        left.count == right.count && (left.isEmpty || memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0)
      }
    }
  }
}
