import Foundation
import SwiftProtobuf

// The codec of swift-protobuf.
//   swift-protobuf FOLDER SHAPE PATH COUNT: does it COUNT times, prints the processor nanoseconds that took

func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

@inline(__always)
func measure(_ count: Int, _ operation: () throws -> Int) throws {
  var sink = 0
  for _ in 0...count / 10 { sink &+= try operation() }
  let start = now()
  for _ in 0..<count { sink &+= try operation() }
  print(Int(now() - start), sink == 1 ? " " : "")
}

func run<M: SwiftProtobuf.Message>(_ type: M.Type, _ bytes: [UInt8], _ path: String, _ count: Int, _ look: (M) -> Int) throws {
  if path == "decode" {
    try measure(count) { look(try M(serializedBytes: bytes)) }
  } else {
    let message = try M(serializedBytes: bytes)
    try measure(count) { (try message.serializedBytes() as [UInt8]).count }
  }
}

let arguments = CommandLine.arguments
let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(arguments[1])/\(arguments[2]).bin")))
let count = Int(arguments[4])!
switch arguments[2] {
case "envelope": try run(Bench_V1_Envelope.self, bytes, arguments[3], count) { $0.eventID.utf8.count }
case "request": try run(Bench_V1_GetRequest.self, bytes, arguments[3], count) { $0.sessionID.utf8.count }
default: try run(Bench_V1_Batch.self, bytes, arguments[3], count) { $0.rows.count }
}
