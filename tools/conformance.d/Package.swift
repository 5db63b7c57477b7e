// swift-tools-version:6.1
import PackageDescription

// A package of somebody else's, as tools/conformance lays it out beside the generated code.

let codec: Target.Dependency = .product(name: "SpanwireProtobuf", package: "spanwire")

let package = Package(
  name: "testee",
  platforms: [.macOS(.v15)],
  dependencies: [.package(name: "spanwire", path: Context.environment["SPANWIRE_CHECKOUT"]!)],
  targets: [
    .target(name: "CProtos", dependencies: [codec]),
    .target(name: "Messages", dependencies: ["CProtos", codec]),
    .executableTarget(name: "testee", dependencies: ["Messages", codec]),
  ]
)
