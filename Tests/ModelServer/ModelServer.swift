import Foundation

/// A provider of language models in a process of its own, in Python: it speaks the protocol, and everything that goes wrong with it.
///
/// What each of its models does stands at the top of `model_server.py`.
public final class ModelServer: @unchecked Sendable {
  // Sendable: a process is started in `init`, and only told to end afterwards.
  private let process = Process()
  /// `http://127.0.0.1:PORT`.
  public let address: String

  /// What it was asked, and what it sent.
  public struct Stats: Decodable, Sendable {
    public var requests: Int
    /// Tokens of all answers.
    public var tokens: Int
    /// Answers whose reader went away.
    public var gone: Int
    /// The model of each request.
    public var models: [String]
  }

  /// Starts it and returns once it listens.
  ///
  /// - Parameter key: what it wants to be shown; empty for nothing.
  public init(key: String = "") throws {
    let python = ProcessInfo.processInfo.environment["SPANWIRE_PYTHON"] ?? "python3"
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [python, URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "model_server.py").path]
    if !key.isEmpty { process.arguments? += ["--key", key] }
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    var line = Data()
    while let byte = try output.fileHandleForReading.read(upToCount: 1), !byte.isEmpty, byte[byte.startIndex] != UInt8(ascii: "\n") {
      line.append(byte)
    }
    let text = String(decoding: line, as: UTF8.self)
    guard text.hasPrefix("listening on ") else { throw CocoaError(.executableLoad) }
    address = "http://127.0.0.1:" + text.dropFirst("listening on ".count)
  }

  deinit { end() }

  /// Ends it, whatever it is saying.
  public func end() {
    guard process.isRunning else { return }
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }
}
