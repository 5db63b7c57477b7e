/// A .proto file that generated code came from: its FileDescriptorProto and the files it imports.
///
/// Generated code has one constant a file; `Message.file` leads to it. Registering makes it known to `DescriptorPool.generated`.
public final class GeneratedFile: Sendable {
  /// As protoc knows it, such as `google/protobuf/timestamp.proto`.
  public let name: String
  private let base64: StaticString
  private let imports: @Sendable () -> [GeneratedFile]

  /// - Parameters:
  ///   - base64: the FileDescriptorProto without source info; a string literal, since array literals of bytes compile slowly.
  ///   - dependencies: the files it imports.
  public init(name: String, base64: StaticString, dependencies: @escaping @Sendable () -> [GeneratedFile] = { [] }) {
    self.name = name
    self.base64 = base64
    imports = dependencies
  }

  /// The files that this one imports.
  public var dependencies: [GeneratedFile] { imports() }

  /// The FileDescriptorProto's wire form.
  public var descriptorBytes: [UInt8] {
    let text = UnsafeRawBufferPointer(start: base64.utf8Start, count: base64.utf8CodeUnitCount)
    guard let bytes = Base64.decode(text) else { preconditionFailure("\(name): the generated descriptor is not base64") }
    return bytes
  }
}
