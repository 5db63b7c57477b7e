// Gives a server that is up agent tasks, and does them as attached workers: for tools/bench agents and tools/overload. Each command prints
// one line of JSON at its end.
//
//   spanwire-agentload dispatch --server HOST:PORT [--in-flight N] [--seconds N] [--workers N]
//   spanwire-agentload overload --server HOST:PORT [--seconds N] [--times N] [--places N] [--service-ms N]

import Foundation
import SpanwireRPC
import SpanwireRPCOverHTTP2

struct Arguments {
  private var values: [String: String] = [:]

  init(_ arguments: some Collection<String>) {
    var rest = arguments[...]
    while let name = rest.popFirst(), name.hasPrefix("--"), let value = rest.popFirst() { values[String(name.dropFirst(2))] = value }
  }

  func number(_ name: String, default value: Int) -> Int { values[name].flatMap(Int.init) ?? value }
  func text(_ name: String) -> String? { values[name] }
}

/// A server, and how to speak to it as somebody. Development credentials: it runs with `--dev`.
struct Target: Sendable {
  let address: ChannelTarget

  /// The agent that workers do; a bundle of the driver's defines it for each tenant.
  static let agent = "load-guide"

  /// A connection of its own.
  func connect(as token: String) throws -> any Channel { try HTTP2Channel(address).intercepted(by: [CallCredentials.bearer(token)]) }

  func operate(_ tenant: String) throws -> any Channel { try connect(as: "dev:ops:OPS-0001:\(tenant):ops_lead") }

  /// A worker of tenant platform serves every tenant.
  func work(as name: String) throws -> any Channel { try connect(as: "dev:worker:\(name):platform:\(Self.agent)") }
}

func microseconds(since start: ContinuousClock.Instant) -> UInt32 {
  UInt32(clamping: Int64((ContinuousClock.now - start) / .microseconds(1)))
}

/// Of sorted values; 0 when there are none.
func quantile(_ values: [UInt32], _ part: Double) -> UInt32 {
  values.isEmpty ? 0 : values[min(values.count - 1, Int(part * Double(values.count)))]
}

/// Tells the driver, which waits for the line, that a phase begins or ends.
func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

let arguments = Arguments(CommandLine.arguments.dropFirst(2))
guard CommandLine.arguments.count > 1, let server = arguments.text("server"), let address = ChannelTarget(server) else {
  say("usage: spanwire-agentload dispatch|overload --server HOST:PORT [options]")
  exit(2)
}
let target = Target(address: address)
do {
  switch CommandLine.arguments[1] {
  case "dispatch": try await Dispatch(target, arguments).run()
  case "overload": try await Overload(target, arguments).run()
  default: exit(2)
  }
} catch {
  FileHandle.standardError.write(Data("spanwire-agentload: \(error)\n".utf8))
  exit(1)
}
exit(0)
