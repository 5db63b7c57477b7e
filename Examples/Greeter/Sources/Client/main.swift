import Greeting
import SpanwireRPC
import SpanwireRPCOverHTTP2

let greeter = GreeterClient(try HTTP2Channel(.host("127.0.0.1", port: 50051)))
for name in CommandLine.arguments.dropFirst() {
  print(try await greeter.greet(Hello(name: name), options: .timeout(.seconds(5))).text)
}
