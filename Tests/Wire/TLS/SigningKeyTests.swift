import SpanwireTLS
import Testing

@Suite struct SigningKeyTests {
  @Test("a signature holds for its bytes and its key alone, also after key and public half went through PEM")
  func signs() throws {
    let key = try SigningKey()
    let again = try SigningKey(.text(key.pem()))
    let other = try SigningKey()
    let verifying = try VerifyingKey(.text(again.verifyingKey.pem()))
    let bytes = Array("head 7".utf8)
    let signature = try key.signature(of: bytes)
    #expect(signature.count == 64 && verifying.bytes == key.verifyingKey.bytes)
    #expect(verifying.verifies(signature, of: bytes))
    let later = Array("head 8".utf8)
    #expect(!verifying.verifies(signature, of: later))
    #expect(!other.verifyingKey.verifies(signature, of: bytes))
    #expect(!verifying.verifies([], of: bytes) && !verifying.verifies(Array(signature.dropLast()), of: bytes))
    // Ed25519 signs without chance.
    #expect(try again.signature(of: bytes) == signature)
  }

  @Test("the key of RFC 8032's second test signs as it says")
  func known() throws {
    // PKCS#8 of the secret 4ccd089b…a6fb, as OpenSSL writes it.
    let pem = """
      -----BEGIN PRIVATE KEY-----
      MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7
      -----END PRIVATE KEY-----
      """
    let key = try SigningKey(.text(pem))
    #expect(key.verifyingKey.bytes.prefix(4) == [0x3d, 0x40, 0x17, 0xc3])
    #expect(try key.signature(of: [0x72]).prefix(4) == [0x92, 0xa0, 0x09, 0xa9])
  }

  @Test("what is no Ed25519 key is refused")
  func refused() throws {
    #expect(throws: TLSError.self) { try SigningKey(.text("no key")) }
    #expect(throws: TLSError.self) { try VerifyingKey(.text("no key")) }
    #expect(throws: TLSError.self) { try SigningKey(.file(path: "/nowhere")) }
  }
}
