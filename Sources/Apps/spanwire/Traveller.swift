import Foundation
import SpanwireRPC
import Synchronization

/// The traveller's program, run as a child: its steps are printed as they come.
struct Traveller {
  private let process = Process()
  private let pipe = Pipe()
  /// The stubs of her program, of this day alone: days that are played at once must not remake each other's.
  private let stubs: URL

  init(day: Day) throws {
    stubs = try Self.stubs(day)
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    var arguments = [
      day.python, day.home.appending(path: "Samples/day/traveller.py").path, "--json", "--server", day.server, "--stubs", stubs.path,
      "--run", day.run, "--patience", "\(day.patience.components.seconds)",
    ]
    if let journal = day.journal { arguments += ["--journal", journal] }
    process.arguments = arguments
    process.standardOutput = pipe
  }

  /// Runs her day to its end and gives back what each step told.
  func travel() async throws -> [String: [String: String]] {
    defer { try? FileManager.default.removeItem(at: stubs) }
    let exit = AsyncStream<Int32>.makeStream()
    process.terminationHandler = {
      exit.continuation.yield($0.terminationStatus)
      exit.continuation.finish()
    }
    let lines = pipe.fileHandleForReading.lines
    try process.run()
    var steps: [String: [String: String]] = [:]
    for await line in lines {
      guard let facts = (try? JSONSerialization.jsonObject(with: Data(line.utf8))) as? [String: Any], let step = facts["step"] as? String
      else {
        print("  traveller  \(printable(line))")
        continue
      }
      print("  traveller  \(printable(facts["text"] as? String ?? ""))")
      for (key, value) in facts { steps[step, default: [:]][key] = "\(value)" }
    }
    var status: Int32 = 0
    for await code in exit.stream { status = code }
    guard status == 0 else { throw CheckFailed(message: "the traveller's day failed (exit \(status))") }
    return steps
  }

  /// The Python stubs of the platform's contracts, made by grpcio-tools.
  private static func stubs(_ day: Day) throws -> URL {
    let protos = day.home.appending(path: "Protos")
    let out = FileManager.default.temporaryDirectory.appending(path: "spanwire-stubs-\(UUID().uuidString)")
    let files = try FileManager.default.subpathsOfDirectory(atPath: protos.path)
      .filter { $0.hasSuffix(".proto") && ($0.hasPrefix("spanwire/") || $0.hasPrefix("opentelemetry/")) }.sorted()
    try FileManager.default.createDirectory(at: out, withIntermediateDirectories: true)
    let generator = Process()
    generator.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    generator.arguments =
      [day.python, "-m", "grpc_tools.protoc", "-I", protos.path, "--python_out", out.path, "--grpc_python_out", out.path] + files
    try generator.run()
    generator.waitUntilExit()
    guard generator.terminationStatus == 0 else { throw CheckFailed(message: "grpcio-tools could not make the traveller's stubs") }
    return out
  }
}

extension FileHandle {
  /// The lines of a pipe as they come.
  fileprivate var lines: AsyncStream<String> {
    AsyncStream { continuation in
      let rest = Mutex(Data())
      readabilityHandler = { handle in
        let data = handle.availableData
        let lines = rest.withLock { rest -> [String] in
          rest.append(data)
          var lines: [String] = []
          while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            lines.append(String(decoding: rest[rest.startIndex..<end], as: UTF8.self))
            rest = Data(rest[rest.index(after: end)...])
          }
          if data.isEmpty, !rest.isEmpty { lines.append(String(decoding: rest, as: UTF8.self)) }
          return lines
        }
        for line in lines { continuation.yield(line) }
        if data.isEmpty {
          handle.readabilityHandler = nil
          continuation.finish()
        }
      }
    }
  }
}

extension TraceContext {
  /// The trace of a day, by its run: the traveller computes the same.
  init(day run: String) {
    // FNV-1a, twice with different beginnings: nothing secret, only the same in both programs.
    func hash(_ seed: UInt64) -> UInt64 {
      ("spanwire-day-" + run).utf8.reduce(seed) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
    let high = hash(0xCBF2_9CE4_8422_2325)
    self.init(traceHigh: high, traceLow: hash(0x8422_2325_CBF2_9CE4), spanID: high | 1)
  }

  /// The trace's 16 bytes, as filters and envelopes carry them.
  var traceBytes: [UInt8] {
    [traceHigh, traceLow].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> UInt64(56 - 8 * $0)) } }
  }
}
