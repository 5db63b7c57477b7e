// The generator: a protoc plugin for Swift, and the step that makes a request fit for protoc-gen-c.

import SpanwireProtobuf
import SpanwireWellKnown

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

let help = """
  protoc-gen-spanwire is called by protoc; tools/generate shows how.

    (no argument)     read a CodeGeneratorRequest from standard input, write Swift in a CodeGeneratorResponse
    --rewrite-for-c   read a CodeGeneratorRequest, write the one that protoc-gen-c is to have

  """

func readStandardInput() -> [UInt8] {
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = read(0, &chunk, chunk.count)
    if count <= 0 { return bytes }
    bytes += chunk[..<count]
  }
}

func write(_ bytes: [UInt8], to descriptor: Int32) {
  var rest = bytes[...]
  while !rest.isEmpty {
    let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    if count <= 0 { exit(1) }
    rest = rest.dropFirst(count)
  }
}

let arguments = CommandLine.arguments.dropFirst()
if arguments.contains("--help") {
  print(help, terminator: "")
  exit(0)
}

let request: Google_Protobuf_Compiler_CodeGeneratorRequest
do {
  request = try Google_Protobuf_Compiler_CodeGeneratorRequest(decoding: readStandardInput())
} catch {
  write(Array("protoc-gen-spanwire: standard input is not a CodeGeneratorRequest: \(error)\n".utf8), to: 2)
  exit(1)
}

if arguments.contains("--rewrite-for-c") {
  write(CRewrite.rewrite(request).encoded(), to: 1)
} else {
  write(Generator.respond(to: request).encoded(), to: 1)
}
