import ArgumentParser
import Foundation
import SpanwireSchema
import SpanwireWellKnown

struct TraceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace", abstract: "Show one trace as a waterfall, or search for traces.",
    discussion: "With an id of 32 hex digits, shows that trace. Without one, lists the newest traces that match.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The trace's id, 32 hex digits.") var id: String?
  @Option(help: "Only traces with a span of this service.") var service: String = ""
  @Option(help: "Only traces with a span whose name begins so.") var name: String = ""
  @Flag(help: "Only traces with a failed span.") var errors = false
  @Option(help: "How many traces to list.") var limit: Int = 20
  @Flag(help: "Print JSON, one message a line.") var json = false

  mutating func validate() throws {
    if let id, bytes(hex: id)?.count != 16 { throw ValidationError("a trace id has 32 hex digits, '\(id)' does not") }
  }

  func run() async throws {
    try await reportingFailures {
      let collector = CollectorClient(try await connection.channel())
      if let id {
        let trace = try await collector.getTrace(GetTraceRequest(traceIDHex: id))
        if json { try printJSON(trace) } else { printWaterfall(trace) }
        return
      }
      var request = SearchTracesRequest(serviceName: service, spanName: name, errorsOnly: errors, pageSize: UInt32(clamping: limit))
      request.pageSize = min(request.pageSize, 200)
      let found = try await collector.searchTraces(request)
      if json {
        for trace in found.traces { try printJSON(trace) }
      } else {
        printTable(
          ["TRACE", "BEGAN AT", "TOOK", "SPANS", "ERRORS", "ROOT"],
          found.traces.map {
            [
              $0.traceID.hex, timeOfDay($0.startedAt), milliseconds(nanoseconds($0.duration)), "\($0.spans)", "\($0.errors)",
              "\($0.rootService) \($0.rootName)",
            ]
          })
      }
    }
  }
}

/// One line a span, indented by depth, with a bar where in the trace it ran.
func printWaterfall(_ trace: Trace) {
  let spans = trace.spans.compactMap { stored in stored.span.map { (service: stored.serviceName, span: $0) } }
  let known = Set(spans.map(\.span.spanID))
  var children: [[UInt8]: [Int]] = [:]
  var roots: [Int] = []
  for (index, entry) in spans.enumerated() {
    if entry.span.parentSpanID.isEmpty || !known.contains(entry.span.parentSpanID) {
      roots.append(index)
    } else {
      children[entry.span.parentSpanID, default: []].append(index)
    }
  }
  var lines: [(depth: Int, index: Int)] = []
  var seen = Set<Int>()
  func walk(_ index: Int, _ depth: Int) {
    guard seen.insert(index).inserted else { return }  // a span that is its own ancestor shows once
    lines.append((depth, index))
    for child in children[spans[index].span.spanID] ?? [] { walk(child, min(depth + 1, 40)) }
  }
  for root in roots { walk(root, 0) }
  for index in spans.indices { walk(index, 0) }

  let begin = spans.map(\.span.startTimeUnixNano).min() ?? 0
  let end = spans.map(\.span.endTimeUnixNano).max() ?? begin
  let width = 40.0
  let length = Double(max(1, end &- begin))
  print("trace \(trace.traceID.hex)  \(spans.count) spans  \(milliseconds(Int64(clamping: end &- begin)))  \(trace.eventIds.count) events")
  for (depth, index) in lines {
    let (service, span) = spans[index]
    let from = Int(Double(span.startTimeUnixNano &- begin) / length * width)
    let to = max(from + 1, Int((Double(span.endTimeUnixNano &- begin) / length * width).rounded(.up)))
    let bar = String(repeating: " ", count: min(from, 39)) + String(repeating: "▆", count: min(to, 40) - min(from, 39))
    let failed = span.status?.code == .error ? " ✗ \((span.status?.message ?? "").prefix { $0 != "\n" })" : ""
    let kind = span.kind == .client ? "→ " : span.kind == .server ? "" : "· "
    let label = String(repeating: "  ", count: depth) + kind + span.name
    print(
      "\(bar.padding(toLength: 40, withPad: " ", startingAt: 0)) "
        + "\(milliseconds(Int64(clamping: span.endTimeUnixNano &- span.startTimeUnixNano)).leftPadded(to: 10))  "
        + printable("\(service.padding(toLength: 10, withPad: " ", startingAt: 0)) \(label)\(failed)"))
  }
}

extension String {
  func leftPadded(to width: Int) -> String { count >= width ? self : String(repeating: " ", count: width - count) + self }
}

func nanoseconds(_ duration: Google_Protobuf_Duration?) -> Int64 {
  guard let duration else { return 0 }
  return duration.seconds &* 1_000_000_000 &+ Int64(duration.nanos)
}

/// `1.234 ms`
func milliseconds(_ nanoseconds: Int64) -> String {
  let micros = nanoseconds / 1000
  let fraction = String(abs(micros) % 1000)
  return "\(micros / 1000).\(String(repeating: "0", count: 3 - fraction.count))\(fraction) ms"
}

/// `14:03:21.123Z`
func timeOfDay(_ timestamp: Google_Protobuf_Timestamp?) -> String {
  guard let timestamp else { return "" }
  let second = ((timestamp.seconds % 86_400) + 86_400) % 86_400
  func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
  let millis = String(timestamp.nanos / 1_000_000)
  return
    "\(two(second / 3600)):\(two(second / 60 % 60)):\(two(second % 60)).\(String(repeating: "0", count: 3 - millis.count))\(millis)Z"
}
