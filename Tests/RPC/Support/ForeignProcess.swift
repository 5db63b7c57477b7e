import Foundation
import Synchronization

/// A Python program of Tests/RPC/Foreign, run with the interpreter that has the stock gRPC packages.
public final class ForeignProcess: Sendable {
  /// Its lines of standard output and error, in order.
  public let lines: AsyncStream<String>
  private let process: Process
  private let input = Pipe()
  private let output = Pipe()

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
    process.standardInput = input
    process.standardOutput = output
    process.standardError = output
    let (lines, feed) = AsyncStream<String>.makeStream()
    self.lines = lines
    let rest = Rest()
    output.fileHandleForReading.readabilityHandler = { handle in
      let data = handle.availableData
      if data.isEmpty {
        handle.readabilityHandler = nil
        if let last = rest.last() { feed.yield(last) }
        feed.finish()
      } else {
        for line in rest.add(data) { feed.yield(line) }
      }
    }
    try process.run()
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

  deinit {
    output.fileHandleForReading.readabilityHandler = nil
    kill()
  }

  /// The unfinished last line.
  private final class Rest: Sendable {
    private let text = Mutex<[UInt8]>([])

    func add(_ data: Data) -> [String] {
      text.withLock { text in
        text.append(contentsOf: data)
        var lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        text = Array(lines.removeLast().utf8)
        return lines
      }
    }

    func last() -> String? { text.withLock { $0.isEmpty ? nil : String(decoding: $0, as: UTF8.self) } }
  }
}
