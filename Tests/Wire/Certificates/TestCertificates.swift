import Foundation

/// Certificates made for one run of the tests by the openssl command, so that no key lies in the repository.
public struct TestCertificates: Sendable {
  public let folder: URL

  /// One authority with a server (`localhost`, 127.0.0.1), a renewed server of another name (`renewed.test`), a client, and a stranger that
  /// signed itself. Made once a process.
  public static let shared = TestCertificates()

  public func path(_ name: String) -> String { folder.appending(path: name).path }

  public var authority: String { path("authority.pem") }
  public var server: (certificate: String, key: String) { (path("server.pem"), path("server.key")) }
  public var renewed: (certificate: String, key: String) { (path("renewed.pem"), path("renewed.key")) }
  public var client: (certificate: String, key: String) { (path("client.pem"), path("client.key")) }
  public var stranger: (certificate: String, key: String) { (path("stranger.pem"), path("stranger.key")) }

  private init() {
    folder = FileManager.default.temporaryDirectory.appending(path: "spanwire-certificates-\(ProcessInfo.processInfo.processIdentifier)")
    try! FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    selfSigned("authority", "/CN=Test Authority", "basicConstraints=critical,CA:TRUE")
    selfSigned("stranger", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    signed("server", "/CN=localhost/O=Spanwire", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1")
    signed("renewed", "/CN=renewed.test", "subjectAltName=DNS:renewed.test")
    signed(
      "client", "/O=Spanwire/CN=node-1",
      "subjectAltName=URI:spanwire://node/node-1,DNS:node-1.test,email:ops@node-1.test,IP:10.0.0.1,IP:fd00::1")
  }

  private static let newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

  private func selfSigned(_ name: String, _ subject: String, _ `extension`: String) {
    openssl(
      ["req", "-x509", "-days", "2", "-subj", subject, "-addext", `extension`, "-keyout", path(name + ".key"), "-out", path(name + ".pem")]
        + Self.newKey)
  }

  private func signed(_ name: String, _ subject: String, _ `extension`: String) {
    openssl(["req", "-subj", subject, "-keyout", path(name + ".key"), "-out", path(name + ".csr")] + Self.newKey)
    try! `extension`.write(toFile: path(name + ".ext"), atomically: true, encoding: .utf8)
    openssl([
      "x509", "-req", "-days", "2", "-in", path(name + ".csr"), "-CA", authority, "-CAkey", path("authority.key"), "-CAcreateserial",
      "-extfile", path(name + ".ext"), "-out", path(name + ".pem"),
    ])
  }

  private func openssl(_ arguments: [String]) {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["openssl"] + arguments
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try! process.run()
    process.waitUntilExit()
    precondition(process.terminationStatus == 0, "openssl \(arguments.joined(separator: " "))")
  }
}
