import Synchronization

// What a DescriptorPool knows of a file: the same facts as descriptor.proto, resolved. All of it is immutable once the pool has
// given it out.

/// The type of a field, with the numbers of descriptor.proto.
public enum FieldType: UInt8, Hashable, Sendable {
  case double = 1
  case float
  case int64
  case uint64
  case int32
  case fixed64
  case fixed32
  case bool
  case string
  case group
  case message
  case bytes
  case uint32
  case enumeration
  case sfixed32
  case sfixed64
  case sint32
  case sint64
}

/// One .proto file.
public final class FileSchema: Sendable {
  public let name: String
  public let package: String
  public let isProto3: Bool
  public let dependencies: [String]
  public let publicDependencies: [String]
  public let messages: [MessageSchema]
  public let enums: [EnumSchema]
  public let services: [ServiceSchema]
  public let extensions: [FieldSchema]
  /// The FileDescriptorProto as it was added.
  public let bytes: [UInt8]

  init(_ raw: RawFile, messages: [MessageSchema], enums: [EnumSchema], extensions: [FieldSchema]) {
    name = raw.name
    package = raw.package
    isProto3 = raw.syntax != "" && raw.syntax != "proto2"
    dependencies = raw.dependencies
    publicDependencies = raw.publicDependencies.compactMap { raw.dependencies.indices.contains($0) ? raw.dependencies[$0] : nil }
    services = raw.services
    bytes = raw.bytes
    self.messages = messages
    self.enums = enums
    self.extensions = extensions
  }
}

/// A message type.
public final class MessageSchema: @unchecked Sendable {  // `fields` is completed while its file is added, before the pool shows it
  public let fullName: String
  public let fileName: String
  /// In ascending order of their numbers.
  public internal(set) var fields: [FieldSchema] {
    didSet {
      for field in fields {
        if field.extendee == nil { fieldsByJSONName[field.name] = field }
        fieldsByJSONName[field.jsonName] = field
      }
    }
  }
  /// Under both names that JSON may use.
  private(set) var fieldsByJSONName: [String: FieldSchema] = [:]
  /// Names of the oneofs, synthetic ones included; `FieldSchema.oneofIndex` points here.
  public let oneofs: [String]
  public let nestedMessages: [MessageSchema]
  public let nestedEnums: [EnumSchema]
  public let isMapEntry: Bool
  private let runtimeTable = Mutex<MessageTable?>(nil)

  init(_ raw: RawMessage, fullName: String, fileName: String, nestedMessages: [MessageSchema], nestedEnums: [EnumSchema]) {
    self.fullName = fullName
    self.fileName = fileName
    fields = []
    oneofs = raw.oneofs
    isMapEntry = raw.isMapEntry
    self.nestedMessages = nestedMessages
    self.nestedEnums = nestedEnums
  }

  public func field(number: UInt32) -> FieldSchema? { fields.first { $0.number == number } }
  /// A field by its name in the file.
  public func field(named name: String) -> FieldSchema? { fields.first { $0.name == name } }

  /// The table that decodes messages of this type into memory laid out at run time. It lives as long as the process.
  public var table: MessageTable {
    runtimeTable.withLock { table in
      if let table { return table }
      let new = MessageTable(schema: self)
      table = new
      return new
    }
  }
}

/// A field, or an extension.
public final class FieldSchema: @unchecked Sendable {  // the two types are filled in while the file is added, before the pool shows it
  public let name: String
  public let fullName: String
  /// The name in JSON: `sessionId`, or `[package.name]` of an extension.
  public let jsonName: String
  public let number: UInt32
  public let type: FieldType
  public let isRepeated: Bool
  /// Whether a repeated scalar is written as one run.
  public let isPacked: Bool
  /// Whether unset differs from default.
  public let hasPresence: Bool
  /// Whether a message without it is refused (proto2).
  public let isRequired: Bool
  /// The oneof it belongs to, as an index into `MessageSchema.oneofs`; nil for proto3 `optional`.
  public let oneofIndex: Int?
  /// The message an extension belongs to.
  public let extendee: String?
  public internal(set) var messageType: MessageSchema?
  public internal(set) var enumType: EnumSchema?
  let typeName: String

  init(_ raw: RawField, fullName: String, isProto3: Bool) {
    name = raw.name
    self.fullName = fullName
    extendee = raw.extendee.isEmpty ? nil : String(raw.extendee.drop { $0 == "." })
    jsonName = extendee != nil ? "[\(fullName)]" : raw.jsonName.isEmpty ? JSONName.lowerCamel(raw.name) : raw.jsonName
    number = raw.number
    type = raw.type
    isRepeated = raw.label == 3
    isRequired = raw.label == 2
    let isScalar = ![.string, .bytes, .message, .group].contains(raw.type)
    isPacked = isRepeated && isScalar && (raw.packed ?? isProto3)
    oneofIndex = raw.proto3Optional ? nil : raw.oneofIndex
    let tells = raw.type == .message || raw.type == .group || raw.oneofIndex != nil || extendee != nil || !isProto3
    hasPresence = !isRepeated && tells
    typeName = raw.typeName
  }

  public var isMap: Bool { isRepeated && messageType?.isMapEntry == true }
}

/// An enum type.
public final class EnumSchema: Sendable {
  public let fullName: String
  public let fileName: String
  /// In the file's order; the first is the default. Aliases share a number.
  public let values: [(name: String, number: Int32)]
  /// Whether a number without a name counts as an unknown field (proto2).
  public let isClosed: Bool

  init(_ raw: RawEnum, fullName: String, fileName: String, isClosed: Bool) {
    self.fullName = fullName
    self.fileName = fileName
    self.isClosed = isClosed
    values = raw.values
  }

  public func name(of number: Int32) -> String? { values.first { $0.number == number }?.name }
  public func number(of name: String) -> Int32? { values.first { $0.name == name }?.number }
}

/// A service and its methods.
public struct ServiceSchema: Sendable {
  public var fullName: String
  public var fileName: String
  public var methods: [MethodSchema]
}

public struct MethodSchema: Sendable {
  public var name: String
  /// Full names of the messages.
  public var inputType: String
  public var outputType: String
  public var clientStreaming: Bool
  public var serverStreaming: Bool
  /// The MethodOptions' wire form.
  public var options: [UInt8]
}

/// Why a file cannot join a pool.
public struct SchemaError: Error, Hashable, Sendable, CustomStringConvertible {
  public let fileName: String
  public let problem: String
  public var description: String { "\(fileName): \(problem)" }
}

enum JSONName {
  /// `foo_bar` → `fooBar`: the json_name that protoc gives a field.
  static func lowerCamel(_ name: String) -> String {
    var result = ""
    var raise = false
    for character in name {
      if character == "_" {
        raise = true
      } else {
        result += raise ? character.uppercased() : String(character)
        raise = false
      }
    }
    return result
  }
}
