import COpenSSL

/// An Ed25519 key that signs (RFC 8032).
public struct SigningKey: Sendable {
  private let key: KeyHandle

  /// A new one, from the system's randomness.
  public init() throws(TLSError) {
    ERR_clear_error()
    guard let context = EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nil) else { throw .current("new key") }
    defer { EVP_PKEY_CTX_free(context) }
    var made: OpaquePointer?
    guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_keygen(context, &made) == 1, let made else { throw .current("new key") }
    key = KeyHandle(made)
  }

  /// Reads one; throws `TLSError` for what is no Ed25519 private key.
  public init(_ pem: PEM) throws(TLSError) {
    let bio = try MemoryBIO.of(pem, "signing key")
    defer { BIO_free(bio.pointer) }
    ERR_clear_error()
    guard let read = PEM_read_bio_PrivateKey(bio.pointer, nil, nil, nil) else { throw .current("signing key") }
    key = try KeyHandle(ed25519: read, "signing key")
  }

  /// PKCS#8 in PEM, without a pass phrase: whoever stores it keeps others from reading it.
  public func pem() throws(TLSError) -> String {
    try KeyHandle.text("signing key") { PEM_write_bio_PrivateKey($0, key.pointer, nil, nil, 0, nil, nil) }
  }

  /// The half that verifies.
  public var verifyingKey: VerifyingKey { VerifyingKey(key) }

  /// The 64 bytes of a signature.
  public func signature(of bytes: [UInt8]) throws(TLSError) -> [UInt8] {
    ERR_clear_error()
    guard let context = EVP_MD_CTX_new() else { throw .current("signature") }
    defer { EVP_MD_CTX_free(context) }
    var signature = [UInt8](repeating: 0, count: 64)
    var length = signature.count
    guard EVP_DigestSignInit(context, nil, nil, nil, key.pointer) == 1,
      EVP_DigestSign(context, &signature, &length, bytes, bytes.count) == 1, length == signature.count
    else { throw .current("signature") }
    return signature
  }
}

/// The public half of an Ed25519 key.
public struct VerifyingKey: Sendable {
  private let key: KeyHandle

  fileprivate init(_ key: KeyHandle) { self.key = key }

  /// Reads one; throws `TLSError` for what is no Ed25519 public key.
  public init(_ pem: PEM) throws(TLSError) {
    let bio = try MemoryBIO.of(pem, "public key")
    defer { BIO_free(bio.pointer) }
    ERR_clear_error()
    guard let read = PEM_read_bio_PUBKEY(bio.pointer, nil, nil, nil) else { throw .current("public key") }
    key = try KeyHandle(ed25519: read, "public key")
  }

  /// SubjectPublicKeyInfo in PEM.
  public func pem() throws(TLSError) -> String { try KeyHandle.text("public key") { PEM_write_bio_PUBKEY($0, key.pointer) } }

  /// The 32 bytes of the key.
  public var bytes: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 32)
    var length = bytes.count
    let isRead = EVP_PKEY_get_raw_public_key(key.pointer, &bytes, &length) == 1 && length == bytes.count
    precondition(isRead, "an Ed25519 key has 32 bytes")
    return bytes
  }

  /// Whether a signature of these bytes was made with the key's other half.
  public func verifies(_ signature: [UInt8], of bytes: [UInt8]) -> Bool {
    guard let context = EVP_MD_CTX_new() else { return false }
    defer {
      EVP_MD_CTX_free(context)
      ERR_clear_error()
    }
    return EVP_DigestVerifyInit(context, nil, nil, nil, key.pointer) == 1
      && EVP_DigestVerify(context, signature, signature.count, bytes, bytes.count) == 1
  }
}

private final class KeyHandle: @unchecked Sendable {
  // Sendable: signing and verifying do not change a key, and nothing here changes after `init`.
  let pointer: OpaquePointer

  init(_ pointer: OpaquePointer) { self.pointer = pointer }

  init(ed25519 pointer: OpaquePointer, _ what: String) throws(TLSError) {
    self.pointer = pointer
    guard EVP_PKEY_get_id(pointer) == EVP_PKEY_ED25519 else { throw TLSError(what, reason: "is no Ed25519 key") }
  }

  deinit { EVP_PKEY_free(pointer) }

  /// What OpenSSL writes.
  static func text(_ what: String, _ write: (OpaquePointer) -> Int32) throws(TLSError) -> String {
    ERR_clear_error()
    guard let bio = BIO_new(BIO_s_mem()) else { throw .current(what) }
    defer { BIO_free(bio) }
    guard write(bio) == 1 else { throw .current(what) }
    var bytes = [UInt8](repeating: 0, count: 1 << 10)
    let count = BIO_read(bio, &bytes, Int32(bytes.count))
    guard count > 0, count < bytes.count else { throw .current(what) }
    return String(decoding: bytes[..<Int(count)], as: UTF8.self)
  }
}
