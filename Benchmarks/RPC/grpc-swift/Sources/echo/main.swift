import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Glibc

// echo.proto served by grpc-swift-2. Messages stay bytes, so that only its own work is measured.
//   echo PORT
//   echo client --port PORT [--connections N] [--streams N] [--seconds S]

struct Bytes: MessageSerializer, MessageDeserializer {
  func serialize<Target: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Target { Target(message) }
  func deserialize<Source: GRPCContiguousBytes>(_ bytes: Source) throws -> [UInt8] { bytes.withUnsafeBytes { Array($0) } }
}

struct Echo: RegistrableRPCService {
  func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
    router.registerHandler(
      forMethod: MethodDescriptor(fullyQualifiedService: "echo.Echo", method: "Get"), deserializer: Bytes(), serializer: Bytes()
    ) { request, _ in
      let request = try await ServerRequest(stream: request)
      return StreamingServerResponse(single: ServerResponse(message: request.message))
    }
    router.registerHandler(
      forMethod: MethodDescriptor(fullyQualifiedService: "echo.Echo", method: "Expand"), deserializer: Bytes(), serializer: Bytes()
    ) { request, _ in
      let count = Self.count(in: try await ServerRequest(stream: request).message)
      let response = [0x0A, 98] + [UInt8](repeating: 0x61, count: 98)
      return StreamingServerResponse { writer in
        for _ in 0..<count { try await writer.write(response) }
        return [:]
      }
    }
  }

  /// Field 1, a varint.
  static func count(in message: [UInt8]) -> Int {
    message.dropFirst().reversed().reduce(0) { $0 << 7 | Int($1 & 0x7F) }
  }
}

if CommandLine.arguments[1] == "client" {
  try await LoadClient(Array(CommandLine.arguments.dropFirst(2))).run()
  exit(0)
}
let port = Int(CommandLine.arguments[1])!
let server = GRPCServer(
  transport: .http2NIOPosix(address: .ipv4(host: "127.0.0.1", port: port), transportSecurity: .plaintext), services: [Echo()])
try await server.serve()
