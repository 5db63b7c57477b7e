import Foundation
import SpanwireTestCertificates
import Testing

/// Who may come in: a server that is not for development, an issuer of tokens, a forger with stock tools, and an administrator at a terminal.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct IdentityTests {
  /// The server's time in seconds, as it starts.
  private static let now = "1779174000"
  private static let script = Checkout.home.appending(path: "Tests/EndToEnd/identity.py").path

  /// A server with an issuer, and what grpcio needs to speak with it.
  private final class Site {
    let server: ServerProcess
    let folder: URL

    /// - Parameter listen: an address that the server's certificate names, if it has one.
    init(_ options: [String] = [], listen: String? = nil) throws {
      folder = FileManager.default.temporaryDirectory.appending(path: "identity-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      try makeStubs(["identity/v1/identity", "options/v1/options"], in: folder)
      server = try ServerProcess()
      try issue("one", "two")
      try server.start(
        listen: listen, isDevelopment: false,
        ["--jwt-keys", folder.appending(path: "jwks.json").path, "--jwt-issuer", "https://issuer.test", "--jwt-audience", "spanwire"]
          + options)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    @discardableResult
    func python(_ arguments: [String]) throws -> Outcome {
      try run(Checkout.python, [script] + arguments + ["--folder", folder.path])
    }

    /// Puts just these keys into the issuer's file.
    func issue(_ keys: String...) throws {
      let made = try python(["issuer", "--keys"] + keys)
      #expect(made.code == 0, "\(made.output)")
    }

    func token(_ claims: String = "{}") throws -> String {
      let made = try python(["token", "--now", now, "--claims", claims])
      #expect(made.code == 0, "\(made.output)")
      return made.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @discardableResult
    func spanwire(_ arguments: String..., by token: String, code: Int32 = 0, says: String = "") throws -> String {
      let outcome = try EndToEndTests.spanwire(arguments + ["--server", server.address], token: token)
      #expect(outcome.code == code && (says.isEmpty || outcome.output.contains(says)), "\(arguments): \(outcome.output)")
      return outcome.output
    }

    /// A credential of the platform's own administrator.
    func root() throws -> String {
      try token(#"{"sub": "root", "tenant_id": "platform", "kind": "ops", "roles": ["platform_admin"], "jti": "ROOT"}"#)
    }
  }

  @Test("Every forgery that PyJWT and a clever hand can make is refused with its reason, and so is metadata that says who calls")
  func forgeries() throws {
    let site = try Site()
    try site.spanwire("tenants", "create", "vienna", "--name", "Vienna", by: try site.root(), says: "vienna")
    let attack = try site.python(["attack", "--now", Self.now, "--server", site.server.address, "--stubs", site.folder.path])
    #expect(attack.code == 0, "\(attack.output)")
    #expect(site.server.terminate() == 0)
  }

  @Test("An administrator makes tenants, keys and bindings, takes them back, and suspends; the issuer's keys change while it runs")
  func administration() throws {
    let site = try Site()
    let root = try site.root()
    try site.spanwire("whoami", by: root, says: "ops:root of tenant platform")
    try site.spanwire("tenants", "create", "vienna", "--name", "Vienna", by: root)
    let anna = try site.token()
    try site.spanwire("whoami", by: anna, says: "user:anna of tenant vienna")
    try site.spanwire("keys", "list", by: anna, code: 77)

    let key = try site.spanwire(
      "keys", "create", "worker:W-1", "--role", "external_agent", "--tenant", "vienna", "--label", "kitchen", by: root)
    let parts = key.split(whereSeparator: \.isWhitespace).map(String.init)
    try #require(parts.count == 2 && parts[0].hasPrefix("KEY-") && parts[1].hasPrefix("swk_"))
    try site.spanwire("whoami", by: parts[1], says: "worker:W-1 of tenant vienna")
    try site.spanwire("keys", "list", "--tenant", "vienna", by: root, says: "kitchen")
    try site.spanwire("keys", "revoke", parts[0], "--tenant", "vienna", "--reason", "leaked", by: root, says: "revoked KEY-")
    try site.spanwire("whoami", by: parts[1], code: 77, says: "CREDENTIAL_REFUSED")

    try site.spanwire(
      "bindings", "create", "user:anna", "--role", "vendor", "--segment", "gold", "--tenant", "vienna", by: root, says: "BIND-")
    try site.spanwire("whoami", by: anna, says: "traveller, vendor")
    let listed = try site.spanwire("bindings", "list", "--tenant", "vienna", "--json", by: root, says: "\"segments\":[\"gold\"]")
    let id = try #require(listed.firstMatch(of: #/BIND-[0-9A-Z]{26}/#)).output
    try site.spanwire("bindings", "delete", String(id), "--tenant", "vienna", "--reason", "left", by: root)
    let plain = try site.spanwire("whoami", by: anna, says: "traveller")
    #expect(!plain.contains("vendor"))

    try site.spanwire("tokens", "revoke", "JTI-1", "--tenant", "vienna", "--reason", "lost phone", by: root)
    try site.spanwire("whoami", by: anna, code: 77, says: "TOKEN_REVOKED")
    try site.spanwire("tokens", "list", "--tenant", "vienna", by: root, says: "lost phone")

    let eva = try site.token(#"{"sub": "eva", "jti": "JTI-2"}"#)
    try site.spanwire("tenants", "suspend", "vienna", "--reason", "unpaid", by: root, says: "suspended")
    try site.spanwire("whoami", by: eva, code: 77, says: "TENANT_SUSPENDED")
    try site.spanwire("tenants", "resume", "vienna", "--reason", "paid", by: root, says: "active")
    try site.spanwire("whoami", by: eva, says: "user:eva")

    // A file that is none changes nothing; one without the old key refuses its tokens.
    try Data("{".utf8).write(to: site.folder.appending(path: "jwks.json"))
    site.server.hangUp()
    try site.spanwire("whoami", by: eva, says: "user:eva")
    try site.issue("two")
    site.server.hangUp()
    // What is remembered of a token stands for some seconds; the keys themselves change at the signal.
    var outcome = ""
    repeat {
      outcome = try EndToEndTests.spanwire(["whoami", "--server", site.server.address], token: eva).output
    } while !outcome.contains("TOKEN_KEY_UNKNOWN") && outcome.contains("user:eva")
    #expect(outcome.contains("TOKEN_KEY_UNKNOWN"), "\(outcome)")
    #expect(site.server.terminate() == 0)
  }

  @Test("A client certificate stands for the principal that it is bound to, and for nobody before and after")
  func certificates() throws {
    let certificates = TestCertificates.shared
    let site = try Site(
      [
        "--tls-cert", certificates.server.certificate, "--tls-key", certificates.server.key, "--tls-client-ca", certificates.authority,
      ], listen: "127.0.0.1:0")
    let root = try site.root()
    func bearer() throws -> String {
      try site.python([
        "certificate", "--server", site.server.address, "--stubs", site.folder.path, "--authority", certificates.authority, "--certificate",
        certificates.client.certificate, "--key", certificates.client.key,
      ]).output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
    func admin(_ arguments: String...) throws -> String {
      let outcome = try spanwire(
        arguments + ["--server", site.server.address, "--tls-ca", certificates.authority], token: root)
      #expect(outcome.code == 0, "\(arguments): \(outcome.output)")
      return outcome.output
    }
    #expect(try bearer() == "UNAUTHENTICATED UNAUTHENTICATED")
    _ = try admin("tenants", "create", "vienna", "--name", "Vienna")
    let made = try admin(
      "bindings", "create", "worker:W-1", "--role", "external_agent", "--certificate", "dns:node-1.test", "--tenant", "vienna")
    #expect(try bearer() == "W-1 of vienna as external_agent")
    let id = String(made.prefix { !$0.isWhitespace })
    _ = try admin("bindings", "delete", id, "--tenant", "vienna", "--reason", "retired")
    #expect(try bearer() == "UNAUTHENTICATED UNAUTHENTICATED")
    #expect(site.server.terminate() == 0)
  }
}
