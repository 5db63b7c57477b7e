// Loads a server that is up with events, for tools/bench fanout and tools/bench million: each command prints one line of JSON at its end.
//
//   spanwire-events fanout --server HOST:PORT [--subscribers N] [--connections N] [--writes N] [--stalled N]
//   spanwire-events fill --server HOST:PORT [--sessions N] [--events N] [--callers N]
//   spanwire-events ask --server HOST:PORT [--rounds N]

import Foundation
import SpanwireRPC
import SpanwireRPCOverHTTP2
import Synchronization

struct Arguments {
  private var values: [String: String] = [:]

  init(_ arguments: some Collection<String>) {
    var rest = arguments[...]
    while let name = rest.popFirst(), name.hasPrefix("--"), let value = rest.popFirst() { values[String(name.dropFirst(2))] = value }
  }

  func number(_ name: String, default value: Int) -> Int { values[name].flatMap(Int.init) ?? value }
  func text(_ name: String) -> String? { values[name] }
}

/// A server, and how to speak to it as somebody.
struct Target: Sendable {
  let address: ChannelTarget

  static let operations = "dev:ops:OPS-0001:vienna:ops_lead"

  /// A connection of its own. Development credentials: the server runs with `--dev`.
  func connect() throws -> HTTP2Channel { try HTTP2Channel(address) }

  func operations(_ channel: HTTP2Channel) -> any Channel { channel.intercepted(by: [CallCredentials.bearer(Self.operations)]) }

  func traveller(_ number: Int, _ channel: HTTP2Channel) -> any Channel {
    channel.intercepted(by: [CallCredentials.bearer("dev:user:USR-\(number):vienna:traveller")])
  }
}

func elapsed(since start: ContinuousClock.Instant) -> UInt32 {
  UInt32(clamping: Int64((ContinuousClock.now - start) / .microseconds(1)))
}

/// Counts what tasks do.
final class Tally: Sendable {
  private let value = Atomic<Int>(0)
  var count: Int { value.load(ordering: .relaxed) }
  /// The number of this time, from 0.
  @discardableResult
  func next() -> Int { value.wrappingAdd(1, ordering: .relaxed).oldValue }
}

/// Of sorted values; 0 when there are none.
func quantile(_ values: [UInt32], _ part: Double) -> UInt32 {
  values.isEmpty ? 0 : values[min(values.count - 1, Int(part * Double(values.count)))]
}

/// Tells the driver, which waits for the line, that a phase begins or ends.
func say(_ line: String) {
  FileHandle.standardOutput.write(Data((line + "\n").utf8))
}

let arguments = Arguments(CommandLine.arguments.dropFirst(2))
guard CommandLine.arguments.count > 1, let server = arguments.text("server"), let address = ChannelTarget(server) else {
  say("usage: spanwire-events fanout|fill|ask --server HOST:PORT [options]")
  exit(2)
}
let target = Target(address: address)
do {
  switch CommandLine.arguments[1] {
  case "fanout": try await FanOut(target, arguments).run()
  case "fill": try await Fill(target, arguments).run()
  case "ask": try await Ask(target, arguments).run()
  default: exit(2)
  }
} catch {
  FileHandle.standardError.write(Data("spanwire-events: \(error)\n".utf8))
  exit(1)
}
