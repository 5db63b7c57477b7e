// swift-tools-version:6.1
import PackageDescription

let protobuf: Target.Dependency = .product(name: "SpanwireProtobuf", package: "spanwire")
let rpc: Target.Dependency = .product(name: "SpanwireRPC", package: "spanwire")

let package = Package(
  name: "greeter",
  dependencies: [.package(name: "spanwire", path: "../..")],
  targets: [
    .target(name: "CGreeting", dependencies: [protobuf]),
    .target(name: "Greeting", dependencies: ["CGreeting", protobuf, rpc]),
    .executableTarget(name: "Server", dependencies: ["Greeting", rpc]),
    .executableTarget(name: "Client", dependencies: ["Greeting", rpc]),
  ])
