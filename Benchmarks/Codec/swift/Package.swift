// swift-tools-version:6.1
import PackageDescription

let package = Package(
  name: "codec-peer",
  platforms: [.macOS(.v15)],
  dependencies: [.package(url: "https://github.com/apple/swift-protobuf", exact: "1.39.0")],
  targets: [
    .executableTarget(name: "codec", dependencies: [.product(name: "SwiftProtobuf", package: "swift-protobuf")])
  ]
)
