import Foundation

/// A Python program of Tests/RPC/Foreign, run with the interpreter that has the stock gRPC packages.
public final class ForeignProcess: Sendable {
  /// Its lines of standard output and error, in order.
  public let lines: AsyncStream<String>
  private let process: Process
  private let input = Pipe()

  /// `SPANWIRE_PYTHON`, the environment that `tools/setup` made, or whatever `python3` is.
  public static let interpreter: String = {
    if let path = ProcessInfo.processInfo.environment["SPANWIRE_PYTHON"] { return path }
    let own = FileManager.default.currentDirectoryPath + "/.build/python/bin/python3"
    return FileManager.default.isExecutableFile(atPath: own) ? own : "/usr/bin/env"
  }()

  public init(_ script: String, _ arguments: [String] = []) throws {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Foreign")
    process = Process()
    process.executableURL = URL(filePath: Self.interpreter)
    process.arguments =
      (Self.interpreter == "/usr/bin/env" ? ["python3"] : []) + [folder.appending(path: script).path] + arguments
    let output = Pipe()
    process.standardInput = input
    process.standardOutput = output
    process.standardError = output
    let (lines, feed) = AsyncStream<String>.makeStream()
    self.lines = lines
    try process.run()
    // A thread that reads until the process has ended. A readability handler crashes in Dispatch when its file closes under it.
    Thread.detachNewThread {
      var rest: [UInt8] = []
      while case let data = output.fileHandleForReading.availableData, !data.isEmpty {
        rest += data
        var lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        rest = Array(lines.removeLast())
        for line in lines { feed.yield(String(decoding: line, as: UTF8.self)) }
      }
      if !rest.isEmpty { feed.yield(String(decoding: rest, as: UTF8.self)) }
      feed.finish()
    }
  }

  /// The number that ends its next line: with it our servers say that they listen, and where.
  public func port() async throws -> UInt16 {
    var next = lines.makeAsyncIterator()
    let line = await next.next() ?? "nothing"
    guard let port = line.split(separator: " ").last.flatMap({ UInt16($0) }) else { throw NoPort(line: line) }
    return port
  }

  /// A server said something else instead of where it listens.
  public struct NoPort: Error, CustomStringConvertible {
    public let line: String
    public var description: String { "the server says \(line)" }
  }

  /// Ends its standard input, which our programs take as a wish to end.
  public func endInput() { try? input.fileHandleForWriting.close() }

  /// Ends its standard input, and waits for its end.
  public func finish() {
    endInput()
    process.waitUntilExit()
  }

  /// Its exit status, once it has ended.
  public var status: Int32 {
    process.waitUntilExit()
    return process.terminationStatus
  }

  /// Kills it. It would not hear of SIGTERM: it has the mask of signals of the thread that started it, and Dispatch's threads block all.
  public func kill() { if process.isRunning { Foundation.kill(process.processIdentifier, SIGKILL) } }

  deinit { kill() }
}
