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
  /// The file's name, as imports give it.
  public let name: String
  /// The package; empty for none.
  public let package: String
  /// Whether fields without `optional` have no presence.
  public let isProto3: Bool
  /// The names of the files that it imports.
  public let dependencies: [String]
  /// Those of its imports that its importers see too.
  public let publicDependencies: [String]
  /// Its messages on the top level.
  public let messages: [MessageSchema]
  /// Its enums on the top level.
  public let enums: [EnumSchema]
  /// Its services.
  public let services: [ServiceSchema]
  /// The extensions that it declares on the top level.
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
  /// The full name, without a leading dot.
  public let fullName: String
  /// The name of the file that declares it.
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
  /// The messages declared inside.
  public let nestedMessages: [MessageSchema]
  /// The enums declared inside.
  public let nestedEnums: [EnumSchema]
  /// Whether this is the made-up message of a map's entries.
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

  /// The field of a number; nil when there is none.
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
  /// The name in the .proto file.
  public let name: String
  /// The full name, without a leading dot.
  public let fullName: String
  /// The name in JSON: `sessionId`, or `[package.name]` of an extension.
  public let jsonName: String
  /// The number on the wire.
  public let number: UInt32
  /// The declared type.
  public let type: FieldType
  /// Whether there may be many; true of maps.
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
  /// The message of a field that holds one; nil for others.
  public internal(set) var messageType: MessageSchema?
  /// The enum of a field that holds one; nil for others.
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

  /// Whether the field is a map: a repeated field of entries.
  public var isMap: Bool { isRepeated && messageType?.isMapEntry == true }
}

/// An enum type.
public final class EnumSchema: Sendable {
  /// The full name, without a leading dot.
  public let fullName: String
  /// The name of the file that declares it.
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

  /// The first name of a number; nil when it has none.
  public func name(of number: Int32) -> String? { values.first { $0.number == number }?.name }
  /// The number of a name; nil when there is no such value.
  public func number(of name: String) -> Int32? { values.first { $0.name == name }?.number }
}

/// A service and its methods.
public struct ServiceSchema: Sendable {
  /// The full name, without a leading dot.
  public var fullName: String
  /// The name of the file that declares it.
  public var fileName: String
  /// Its methods, in the order of the file.
  public var methods: [MethodSchema]
}

/// A method of a service.
public struct MethodSchema: Sendable {
  /// The name, `Greet` of `/greeting.Greeter/Greet`.
  public var name: String
  /// Full names of the messages.
  public var inputType: String
  /// The full name of its response.
  public var outputType: String
  /// Whether the client sends any number of messages.
  public var clientStreaming: Bool
  /// Whether the server sends any number of messages.
  public var serverStreaming: Bool
  /// The MethodOptions' wire form.
  public var options: [UInt8]
}

/// Why a file cannot join a pool.
public struct SchemaError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The file that could not be taken in.
  public let fileName: String
  /// Why not.
  public let problem: String
  /// The file, and why it could not be taken in.
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
