import Foundation
import SpanwireRPCTestSupport

/// The checkout, and the binaries that were built beside the tests.
enum Checkout {
  static let home: URL = {
    var url = URL(fileURLWithPath: #filePath)
    while !FileManager.default.fileExists(atPath: url.appending(path: "Package.swift").path) { url.deleteLastPathComponent() }
    return url
  }()

  static let spanwire: URL = {
    let tests = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
    return tests.appending(path: "spanwire")
  }()

  static let python: String = {
    let inside = home.appending(path: ".build/python/bin/python3").path
    let candidates = [ProcessInfo.processInfo.environment["SPANWIRE_PYTHON"], inside].compactMap { $0 }
    return candidates.first { FileManager.default.isExecutableFile(atPath: $0) } ?? "python3"
  }()
}

/// A server in a process of its own, on a data folder that outlives it.
final class ServerProcess: @unchecked Sendable {
  // Sendable: a test starts and stops it from one thread; `kill` only sends a signal.
  let data: URL
  /// Before the first start, some free port.
  private(set) var address = loopbackAddressOfItsOwn() + ":0"
  private var process = Process()
  private var output = Pipe()

  /// Told when the process ends, on some thread.
  var onExit: (@Sendable () -> Void)?

  /// The day's clock: a Tuesday morning.
  static let clock = "2026-05-19T09:00:00+02:00"

  /// The disk that the folder is on, if it has one of its own.
  private let disk: SmallDisk?

  init() throws {
    disk = nil
    data = FileManager.default.temporaryDirectory.appending(path: "spanwire-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: data, withIntermediateDirectories: true)
  }

  init(on disk: SmallDisk) {
    self.disk = disk
    data = disk.folder
  }

  deinit {
    kill()
    try? FileManager.default.removeItem(at: data)
  }

  /// Starts the server and returns once it listens; on the same address as before, if there was one. Options may follow.
  func start(failpoint: String? = nil, listen: String? = nil, isDevelopment: Bool = true, _ options: [String] = []) throws {
    process = Process()
    output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments =
      (disk?.enter ?? []) + [
        Checkout.spanwire.path, "serve", "--data", data.path, "--listen", listen ?? address,
        "--clock", Self.clock,
      ] + (isDevelopment ? ["--dev"] : []) + options
    var environment = ProcessInfo.processInfo.environment
    environment["SPANWIRE_FAILPOINT"] = failpoint
    process.environment = environment
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice  // a debug server tells of busy loops there, which tests beside it make
    if let onExit { process.terminationHandler = { _ in onExit() } }
    try process.run()
    // The first line is "listening on HOST:PORT"; end of file says that it could not start.
    var line = Data()
    while let byte = try output.fileHandleForReading.read(upToCount: 1), !byte.isEmpty, byte[byte.startIndex] != UInt8(ascii: "\n") {
      line.append(byte)
    }
    let text = String(decoding: line, as: UTF8.self)
    guard text.hasPrefix("listening on ") else {
      process.waitUntilExit()
      throw ProcessFailed(message: "the server said: \(text)")
    }
    address = String(text.dropFirst("listening on ".count).prefix { $0 != " " })
    _ = OutputCollector(output)
  }

  /// Starts the server to die at the next of the failpoints it has not died at; again, if it dies before it listens.
  func start(toDieAt deaths: [String], died: inout Int) throws {
    while true {
      do {
        return try start(failpoint: died < deaths.count ? deaths[died] : nil)
      } catch {
        if isRunning || died >= deaths.count { throw error }
        died += 1
      }
    }
  }

  var identifier: Int32 { process.processIdentifier }

  var isRunning: Bool { process.isRunning }

  /// As a power cut would: SIGKILL.
  func kill() {
    guard process.isRunning else { return }
    Foundation.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }

  /// Asks it to read its certificates again.
  func hangUp() { Foundation.kill(process.processIdentifier, SIGHUP) }

  /// Asks it to drain and stop; the exit code.
  func terminate() -> Int32 {
    process.terminate()
    process.waitUntilExit()
    return process.terminationStatus
  }
}

struct ProcessFailed: Error, CustomStringConvertible {
  let message: String
  var description: String { message }
}

/// What a program printed, and how it ended.
struct Outcome {
  let code: Int32
  let output: String
}

/// Runs a program to its end. Its output and errors are read together, so that a failure shows both.
func run(_ program: String, _ arguments: [String], environment: [String: String] = [:], in folder: URL = Checkout.home) throws -> Outcome {
  let process = Process()
  let pipe = Pipe()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = [program] + arguments
  process.currentDirectoryURL = folder
  process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
  process.standardOutput = pipe
  process.standardError = pipe
  try process.run()
  let data = pipe.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  return Outcome(code: process.terminationStatus, output: String(decoding: data, as: UTF8.self))
}

/// Runs the command under test.
func spanwire(_ arguments: [String], token: String? = "dev:ops:OPS-0001:vienna:ops_lead,finance_settlement") throws -> Outcome {
  try run(Checkout.spanwire.path, arguments, environment: token.map { ["SPANWIRE_TOKEN": $0] } ?? [:])
}

/// What grpcio needs to speak with our services: the messages and stubs of these contracts, by their paths below Protos/spanwire, or of all.
func makeStubs(_ contracts: [String]? = nil, in folder: URL) throws {
  let protos = Checkout.home.appending(path: "Protos")
  let contracts =
    try contracts
    ?? FileManager.default.subpathsOfDirectory(atPath: protos.appending(path: "spanwire").path)
    .filter { $0.hasSuffix(".proto") }.map { String($0.dropLast(".proto".count)) }
  let made = try run(
    Checkout.python,
    ["-m", "grpc_tools.protoc", "-I", protos.path, "--python_out", folder.path, "--grpc_python_out", folder.path]
      + contracts.map { "spanwire/\($0).proto" })
  guard made.code == 0 else { throw ProcessFailed(message: "grpcio-tools could not make the stubs: \(made.output)") }
}
