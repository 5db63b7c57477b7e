import Glibc
import SpanwireProtobuf

// Our codec.
//   spanwire-codec FOLDER SHAPE PATH COUNT: does it COUNT times, prints the processor nanoseconds that took
//   PATH: cstruct view value (decode), encode (from a value), relay (from a C struct)

func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

func readFile(_ path: String) -> [UInt8] {
  guard let file = fopen(path, "rb") else { fatalError("no file \(path)") }
  defer { fclose(file) }
  var bytes = [UInt8](repeating: 0, count: 1 << 20)
  return Array(bytes[..<fread(&bytes, 1, bytes.count, file)])
}

@inline(__always)
func measure(_ count: Int, _ operation: () throws -> Int) rethrows {
  var sink = 0
  for _ in 0...count / 10 { sink &+= try operation() }
  let start = now()
  for _ in 0..<count { sink &+= try operation() }
  print(Int(now() - start), sink == 1 ? " " : "")
}

/// - Parameter look: reads something small, so that nothing is left out as unused.
@inline(__always)
func run<V: MessageView>(_ view: V.Type, _ bytes: [UInt8], _ path: String, _ count: Int, _ look: (V.Value) -> Int, _ glance: (V) -> Int)
  throws
{
  let raw = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
  raw.copyBytes(from: bytes)
  let wire = UnsafeRawBufferPointer(raw)
  var writer = MessageWriter()
  switch path {
  case "cstruct":
    let table = V.Value.table
    try measure(count) { try table.withCStruct(decoding: wire) { Int(bitPattern: $0) & 1 } }
  case "view": try measure(count) { glance(try V(decoding: wire)) }
  case "value": try measure(count) { look(try V.Value(decoding: wire)) }
  case "encode":
    let value = try V.Value(decoding: wire)
    measure(count) {
      value.encode(into: &writer)
      return writer.count
    }
  case "relay":
    let received = try V(decoding: wire)
    measure(count) {
      received.encode(into: &writer)
      return writer.count
    }
  default: fatalError("no path \(path)")
  }
}

let arguments = CommandLine.arguments
guard arguments.count == 5, let count = Int(arguments[4]) else { fatalError("spanwire-codec FOLDER SHAPE PATH COUNT") }
let (shape, path) = (arguments[2], arguments[3])
let bytes = readFile("\(arguments[1])/\(shape).bin")
switch shape {
case "envelope":
  try run(Bench_V1_Envelope.View.self, bytes, path, count) {
    $0.eventID.utf8.count
  } _: {
    Int(truncatingIfNeeded: $0.sequence)
  }
case "request":
  try run(Bench_V1_GetRequest.View.self, bytes, path, count) {
    $0.sessionID.utf8.count
  } _: {
    Int(truncatingIfNeeded: $0.cursor)
  }
case "batch":
  try run(Bench_V1_Batch.View.self, bytes, path, count) {
    $0.rows.count
  } _: {
    Int(truncatingIfNeeded: $0.baseSeq)
  }
default: fatalError("no shape \(shape)")
}
