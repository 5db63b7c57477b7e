import Foundation
import Testing

/// Incident mode from a terminal, with a real HTTP server behind its webhook.
@Suite(.timeLimit(.minutes(2)))
struct IncidentTests {
  /// Refuses the first call, takes the others, and prints what it was sent; ends after two that it took.
  private static let listener = """
    import http.server, sys
    taken = []
    class Handler(http.server.BaseHTTPRequestHandler):
        calls = 0
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            Handler.calls += 1
            self.send_response(503 if Handler.calls == 1 else 204)
            self.end_headers()
            if Handler.calls > 1:
                taken.append(body)
        def log_message(self, *_): pass
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    while len(taken) < 2:
        server.handle_request()
    print("\\n".join(taken), flush=True)
    """

  @Test("An operator forces an incident; the webhook is called until it takes the news, and told of the end too")
  func webhook() throws {
    let listener = Process()
    let output = Pipe()
    listener.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    listener.arguments = [Checkout.python, "-c", Self.listener]
    listener.standardOutput = output
    try listener.run()
    defer { listener.terminate() }
    let first = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
    let port = try #require(Int(first.trimmingCharacters(in: .whitespacesAndNewlines)))
    let server = try ServerProcess()
    try server.start(["--incident-webhook", "http://127.0.0.1:\(port)/alerts"])
    let root = "dev:ops:root:platform:platform_admin"
    func command(_ arguments: String...) throws -> String {
      let outcome = try spanwire(arguments + ["--server", server.address], token: root)
      #expect(outcome.code == 0, "\(outcome.output)")
      return outcome.output
    }
    #expect(try command("incidents", "force", "incident", "--for", "30m", "--reason", "a \"drill\"").hasPrefix("incident"))
    #expect(try command("incidents", "force", "normal", "--reason", "it is over").hasPrefix("normal"))
    listener.waitUntilExit()
    let told = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    let bodies = try told.split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
    let modes = bodies.compactMap { $0["mode"] as? String }
    let reasons = bodies.compactMap { $0["reason"] as? String }
    #expect(modes.sorted() == ["incident", "normal"])
    #expect(reasons.sorted() == ["a \"drill\"", "it is over"])
    _ = server.terminate()
  }
}
