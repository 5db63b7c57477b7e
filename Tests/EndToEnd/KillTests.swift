import Foundation
import Testing

/// Power cuts: the server dies by SIGKILL, is started again on the same folder, and the day goes on.
///
/// The server kills itself, at failpoints: the n-th time it is about to commit, has committed but not answered, or has had an effect
/// performed but not noted it. So the moments are random, but every failing day can be played again from its seed.
@Suite(.serialized)
struct KillTests {
  static let points = ["before-commit", "after-commit-before-reply", "after-effect-before-ack"]

  @Test("A server killed at each named point of a commit or an effect loses nothing and repeats nothing", arguments: points)
  func namedPoint(point: String) throws {
    try playDay(run: point, deaths: ["\(point):2", "\(point):3", "\(point):1"])
  }

  @Test("A server killed at ten random moments of a day loses nothing and repeats nothing", arguments: [UInt64(1), 2])
  func randomMoments(seed: UInt64) throws {
    var random = Seeded(state: seed)
    let deaths = (0..<10).map { _ in "\(Self.points.randomElement(using: &random)!):\(Int.random(in: 1...9, using: &random))" }
    try playDay(run: "random-\(seed)", deaths: deaths)
  }

  /// Plays a day on a server that dies as told, and is started again each time.
  private func playDay(run name: String, deaths: [String]) throws {
    let server = try ServerProcess()
    let journal = FileManager.default.temporaryDirectory.appending(path: "\(name)-\(UUID().uuidString).journal")
    defer { try? FileManager.default.removeItem(at: journal) }
    try server.start()  // a fresh folder's migrations are nobody's day
    server.kill()
    var died = 0
    // The end of either process is what there is to wait for.
    let changed = DispatchSemaphore(value: 0)
    server.onExit = { changed.signal() }
    try server.start(toDieAt: deaths, died: &died)

    let day = Process()
    let output = Pipe()
    day.executableURL = Checkout.spanwire
    day.arguments = [
      "demo", "--server", server.address, "--home", Checkout.home.path, "--python", Checkout.python, "--run", name,
      "--journal", journal.path, "--patience", "120", "--allow-lost-spans",
    ]
    day.standardOutput = output
    day.standardError = output
    let text = OutputCollector(output)
    day.terminationHandler = { _ in changed.signal() }
    try day.run()

    while day.isRunning {
      changed.wait()
      if day.isRunning, !server.isRunning {
        died += 1
        try server.start(toDieAt: deaths, died: &died)
      }
    }
    #expect(day.terminationStatus == 0, "the day \(name) did not complete after \(died) deaths of \(deaths):\n\(text.text)")
    #expect(died >= min(deaths.count, 3), "the server died only \(died) times")

    // What is left to do may bring the server to its next death while it is asked.
    server.onExit = nil
    server.kill()
    try server.start()
    let verify = try spanwire(["verify", "--server", server.address])
    #expect(verify.code == 0, "\(verify.output)")
    let acknowledged = try String(contentsOf: journal, encoding: .utf8).split(separator: "\n").filter { $0.contains("\"step\": \"redeem-") }
    #expect(acknowledged.count == 2, "two redemptions were acknowledged, the journal has \(acknowledged.count)")
    let events = try spanwire([
      "events", "tail", "--server", server.address, "--from-start", "--until-end", "--type", "entitlement.redeemed", "--json",
    ])
    #expect(events.output.split(separator: "\n").count == 2, "each coffee is redeemed once: \(events.output)")
  }
}

/// A small generator with a seed.
struct Seeded: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}

/// Reads a pipe as it fills, so that a talkative child never blocks.
final class OutputCollector: @unchecked Sendable {
  // Sendable: `data` stands under `lock`.
  private let lock = NSLock()
  private var data = Data()

  /// A thread that owns the pipe until its end, not a handler of Foundation's, which outlives a pipe that is dropped for the next one.
  init(_ pipe: Pipe) {
    Thread.detachNewThread { [self] in
      while let more = try? pipe.fileHandleForReading.read(upToCount: 4_096), !more.isEmpty { lock.withLock { data.append(more) } }
    }
  }

  var text: String { lock.withLock { String(decoding: data, as: UTF8.self) } }
}
