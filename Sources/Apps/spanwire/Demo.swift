import ArgumentParser
import Foundation
import SpanwireRPC
import SpanwireSchema

struct Demo: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Play the day in Vienna against a server that is up.",
    discussion: """
      Applies the Vienna Coffee Pass, starts the traveller (a Python program on stock gRPC) and is her operator: follows the live \
      feed, blocks a café, skips a node, and at the end settles with the vendors, shows the day's trace and verifies the log. \
      Exits 0 only if every step did what it should. The same --run taken up again repeats nothing that was done.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "The folder with the bundle, the traveller and the contracts: a checkout.") var home: String = "."
  @Option(help: "The Python with grpcio (default: $SPANWIRE_PYTHON, then .build/python/bin/python3 in --home, then python3).")
  var python: String?
  @Option(help: "Names this day.") var run: String?
  @Option(help: "Where the traveller records what the server acknowledged.") var journal: String?
  @Option(help: "Seconds to keep trying while the server is away.") var patience: Int = 60
  @Flag(help: "The server may be killed during the day: spans that it had not stored yet may be missing from the trace.")
  var allowLostSpans = false

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      let day = Day(
        channel: try await connection.channel(defaultToken: "dev:ops:OPS-0001:vienna:ops_lead,finance_settlement"),
        server: connection.address, home: URL(fileURLWithPath: home, isDirectory: true), python: try findPython(),
        run: run ?? String(UInt64.random(in: .min ... .max), radix: 36), journal: journal, patience: .seconds(patience),
        allowsLostSpans: allowLostSpans)
      try await day.play()
    }
  }

  private func findPython() throws -> String {
    let here = home + "/.build/python/bin/python3"
    let candidates = [python, ProcessInfo.processInfo.environment["SPANWIRE_PYTHON"], here].compactMap { $0 }
    return candidates.first { FileManager.default.isExecutableFile(atPath: $0) } ?? "python3"
  }
}

/// One day in Vienna, seen from the operator's side.
struct Day {
  let channel: any Channel
  let server: String
  let home: URL
  let python: String
  let run: String
  let journal: String?
  let patience: Duration
  let allowsLostSpans: Bool

  func play() async throws {
    print("registry   applies the Vienna Coffee Pass")
    let bundle = try readText(home.appending(path: "Samples/vienna-coffee-pass.yaml").path)
    let applied = try await insist {
      try await RegistryClient(channel).apply(
        ApplyRequest(idempotencyKey: "day-\(run)-apply", source: .bundleYaml(bundle), reason: "the day in Vienna"))
    }
    print("registry   revision \(applied.revision), \(applied.changes.count) definitions")

    let operatorTask = Task { try await DayOperator(day: self).follow() }
    let traveller = try Traveller(day: self)
    let steps = try await traveller.travel()
    guard let closing = steps["close"], let session = closing["session"], let trace = closing["trace_id"] else {
      operatorTask.cancel()
      throw CheckFailed(message: "the traveller did not close her session")
    }
    let feed = try await operatorTask.value

    try await settle(feed)
    try await showTrace(trace)
    try await verify()
    print("\nThe day is done. Session \(session), trace \(trace).")
  }

  /// Makes a call again while the server is away; what it asks must be idempotent.
  func insist<R>(_ call: () async throws -> R) async throws -> R {
    let end = ContinuousClock.now + patience
    while true {
      do {
        return try await call()
      } catch let error as RPCError where error.code == .unavailable && ContinuousClock.now < end {
        try await Task.sleep(for: .milliseconds(100))
      }
    }
  }

  private func settle(_ feed: DayOperator.Feed) async throws {
    let trutta = TruttaClient(channel)
    let response = try await insist { try await trutta.settle(SettleRequest(idempotencyKey: "day-\(run)-settle")) }
    print("\nsettlement")
    var settled: [String: Int64] = [:]
    for settlement in response.settlements {
      var sum: Int64 = 0
      for line in settlement.lines {
        sum += line.amount?.micros ?? 0
        settled[line.servicePointID, default: 0] += line.quantity
        print("  \(settlement.vendorID)  \(line.servicePointID)  \(line.quantity) × \(line.tokenID)  \(euros(line.amount))")
      }
      guard sum == settlement.total?.micros else {
        throw CheckFailed(message: "settlement \(settlement.settlementID) does not add up: \(sum) against \(euros(settlement.total))")
      }
      print("  \(settlement.vendorID)  total \(euros(settlement.total))")
    }
    guard feed.redeemed.allSatisfy({ settled[$0.key, default: 0] >= $0.value }) else {
      throw CheckFailed(message: "redeemed \(feed.redeemed) but settled \(settled)")
    }
    guard feed.redeemed.values.reduce(0, +) == 2 else {
      throw CheckFailed(message: "two coffees were redeemed, the log tells of \(feed.redeemed)")
    }
  }

  private func showTrace(_ id: String) async throws {
    let trace = try await insist { try await CollectorClient(channel).getTrace(GetTraceRequest(traceIDHex: id)) }
    print("")
    printWaterfall(trace)
    let services = Set(trace.spans.map(\.serviceName))
    let missing = ["traveller", "prg", "tjm", "ao", "lem", "trutta"].filter { !services.contains($0) }
    if !missing.isEmpty, !allowsLostSpans { throw CheckFailed(message: "the trace has no span of \(missing.joined(separator: ", "))") }
  }

  private func verify() async throws {
    print("\nverify")
    let events = EventsClient(channel)
    for try await check in try await insist({ try await events.verify(VerifyRequest()) }) {
      print("  \(check.ok ? "ok  " : "FAIL")  \(check.check)  \(check.examined) examined")
      if !check.ok { throw CheckFailed(message: "\(check.check): \(check.findings.first ?? "")") }
    }
  }
}

/// `3.40 EUR`, exactly.
func euros(_ money: Money?) -> String {
  guard let money else { return "0" }
  let cents = String(abs(money.micros) / 10_000 % 100)
  return "\(money.micros < 0 ? "-" : "")\(abs(money.micros) / 1_000_000).\(cents.count == 1 ? "0" : "")\(cents) \(money.currency)"
}
