import COpenSSL
import Glibc

/// A BIO over bytes that it needs as long as it lives: how PEM comes to OpenSSL. Whoever makes one frees its pointer.
final class MemoryBIO {
  let bytes: UnsafeMutableBufferPointer<UInt8>
  let pointer: OpaquePointer

  private init?(_ content: [UInt8]) {
    bytes = .allocate(capacity: max(1, content.count))
    _ = bytes.initialize(from: content)
    guard let bio = BIO_new_mem_buf(bytes.baseAddress, Int32(content.count)) else {
      bytes.deallocate()
      return nil
    }
    pointer = bio
  }

  deinit { bytes.deallocate() }

  static func of(_ pem: PEM, _ what: String) throws(TLSError) -> MemoryBIO {
    let content: [UInt8]
    switch pem {
    case .text(let text): content = Array(text.utf8)
    case .file(let path):
      guard let bytes = read(path) else { throw TLSError(what, reason: "cannot read \(path): \(String(cString: strerror(errno)))") }
      content = bytes
    }
    guard let bio = MemoryBIO(content) else { throw .current(what) }
    return bio
  }

  /// Far more than any chain of certificates.
  private static let maxPEMBytes = 1 << 20

  private static func read(_ path: String) -> [UInt8]? {
    guard let file = fopen(path, "re") else { return nil }
    defer { fclose(file) }
    return [UInt8](unsafeUninitializedCapacity: maxPEMBytes) { buffer, count in
      count = fread(buffer.baseAddress, 1, maxPEMBytes, file)
    }
  }
}
