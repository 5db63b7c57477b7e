import Foundation
import Testing

/// Power cuts: the server is killed with SIGKILL, started again on the same folder, and the day goes on.
@Suite
struct KillTests {
  /// A small generator with a seed, so that a failing day can be played again.
  struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var value = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
      value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
      return value ^ (value >> 31)
    }
  }

  @Test(
    "A server killed at a named point of a commit or an effect loses nothing and repeats nothing",
    arguments: ["before-commit", "after-commit-before-reply", "after-effect-before-ack"], [2, 5])
  func failpoint(name: String, hit: Int) throws {
    try playDay(run: "\(name)-\(hit)") { server, _ in
      server.waitUntilExit()
      return nil
    } failpoint: {
      $0 == 0 ? "\(name):\(hit)" : nil
    }
  }

  @Test("A server killed at twenty random moments of two days loses nothing and repeats nothing", arguments: [UInt64(1), 2])
  func randomMoments(seed: UInt64) throws {
    var random = Seeded(state: seed)
    // Moments are told by the traveller's journal: so many acknowledged steps, then so many milliseconds into the next.
    let moments = (0..<10).map { (acknowledged: 1 + $0 * 2, delay: UInt32.random(in: 0..<40_000, using: &random)) }
    try playDay(run: "random-\(seed)") { server, kills in
      kills < moments.count ? moments[kills] : nil
    } failpoint: { _ in
      nil
    }
  }

  /// Plays a day while `nextKill` says when the server dies: nil lets the rest of the day pass in peace.
  private func playDay(
    run name: String, nextKill: @escaping (ServerProcess, Int) -> (acknowledged: Int, delay: UInt32)?,
    failpoint: (Int) -> String?
  ) throws {
    let server = try ServerProcess()
    let journal = server.data.appending(path: "../\(name)-\(UUID().uuidString).journal").standardizedFileURL
    defer { try? FileManager.default.removeItem(at: journal) }
    try server.start(failpoint: failpoint(0))

    let day = Process()
    let output = Pipe()
    day.executableURL = Checkout.spanwire
    day.arguments = [
      "demo", "--server", server.address, "--home", Checkout.home.path, "--python", Checkout.python, "--run", name,
      "--journal", journal.path, "--patience", "60",
    ]
    day.standardOutput = output
    day.standardError = output
    let text = OutputCollector(output)
    try day.run()

    var starts = 1
    if failpoint(0) != nil {
      _ = nextKill(server, 0)
      try server.start(failpoint: failpoint(starts))
      starts += 1
    } else {
      var kills = 0
      while let moment = nextKill(server, kills), day.isRunning {
        while day.isRunning, acknowledged(journal) < moment.acknowledged { usleep(2_000) }
        usleep(moment.delay)
        server.kill()
        try server.start()
        kills += 1
      }
    }
    day.waitUntilExit()
    #expect(day.terminationStatus == 0, "the day \(name) did not complete:\n\(text.text)")

    let verify = try spanwire(["verify", "--server", server.address])
    #expect(verify.code == 0, "\(verify.output)")
    let steps = try String(contentsOf: journal, encoding: .utf8).split(separator: "\n")
    let redeemed = steps.filter { $0.contains("\"step\": \"redeem-") }
    #expect(Set(redeemed).count == 2, "two redemptions were acknowledged, the journal has \(redeemed.count)")
    let events = try spanwire([
      "events", "tail", "--server", server.address, "--from-start", "--until-end", "--type", "entitlement.redeemed", "--json",
    ])
    #expect(events.output.split(separator: "\n").count == 2, "each coffee is redeemed once: \(events.output)")
  }

  private func acknowledged(_ journal: URL) -> Int {
    ((try? Data(contentsOf: journal)) ?? Data()).count { $0 == UInt8(ascii: "\n") }
  }
}

/// Reads a pipe as it fills, so that a talkative child never blocks.
final class OutputCollector: @unchecked Sendable {
  // Sendable: `data` stands under `lock`.
  private let lock = NSLock()
  private var data = Data()

  init(_ pipe: Pipe) {
    pipe.fileHandleForReading.readabilityHandler = { [self] handle in
      let more = handle.availableData
      if more.isEmpty { handle.readabilityHandler = nil }
      lock.withLock { data.append(more) }
    }
  }

  var text: String { lock.withLock { String(decoding: data, as: UTF8.self) } }
}
