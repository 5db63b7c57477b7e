import Greeting
import SpanwireRPC
import SpanwireRPCOverHTTP2

struct Greetings: GreeterService {
  func greet(_ hello: Hello, context: ServerContext) async throws -> Welcome {
    guard !hello.name.isEmpty else { throw RPCError.invalidArgument("must not be empty", field: "name") }
    return Welcome(text: "Servus, \(hello.name)!")
  }
}

struct CallLog: ServerInterceptor {
  func intercept(_ call: any ServerCall, next: NextServerHandler) async throws {
    print("\(call.context.method.path) from \(call.context.peer.address)")
    try await next(call)
  }
}

let router = ServerRouter([Greeter.routes(Greetings())], interceptors: [CallLog()])
let server = try HTTP2Server(router, ServerConfiguration(port: 50051))
print("serving on \(try await server.start())")
await server.serveUntilTermination()
