import SpanwireWellKnown

/// The files of a request with every name resolved and every Swift and C name chosen: what the emitters work on.
final class Model {
  private(set) var files: [FileModel] = []
  private(set) var messages: [String: MessageModel] = [:]
  private(set) var enums: [String: EnumModel] = [:]
  /// Names that types of the request take, which may be names of the standard library or of ours.
  private(set) var typeNames: Set<String> = []

  init(_ descriptors: [Google_Protobuf_FileDescriptorProto]) throws(GeneratorError) {
    for descriptor in descriptors {
      let file = FileModel(descriptor)
      files.append(file)
      for message in file.allMessages { messages[message.fullName] = message }
      for each in file.allEnums { enums[each.fullName] = each }
    }
    for file in files {
      for message in file.allMessages { try resolve(message) }
    }
    markRecursion()
    for message in messages.values {
      typeNames.insert(message.swiftName)
      typeNames.formUnion(message.oneofs.map(\.swiftType))
    }
    typeNames.formUnion(enums.values.map(\.swiftName))
  }

  func file(_ name: String) -> FileModel? { files.first { $0.name == name } }

  private func resolve(_ message: MessageModel) throws(GeneratorError) {
    for field in message.fields {
      switch field.proto.type {
      case .message?, .group?:
        guard let target = messages[field.typeName] else { throw GeneratorError("\(message.fullName): no type \(field.typeName)") }
        field.message = target
      case .enum?:
        guard let target = enums[field.typeName] else { throw GeneratorError("\(message.fullName): no type \(field.typeName)") }
        field.enumeration = target
      default: break
      }
    }
    message.chooseOneofNames()
  }

  /// A struct cannot hold itself: finds the singular fields by which a message would, directly or through others.
  private func markRecursion() {
    var reachable: [String: Set<String>] = [:]
    func reach(_ message: MessageModel) -> Set<String> {
      if let known = reachable[message.fullName] { return known }
      var found: Set<String> = []
      var open = [message]
      while let next = open.popLast() {
        for field in next.fields where !field.isRepeated {
          guard let target = field.message, found.insert(target.fullName).inserted else { continue }
          open.append(target)
        }
      }
      reachable[message.fullName] = found
      return found
    }
    for message in messages.values {
      for field in message.fields where !field.isRepeated {
        guard let target = field.message else { continue }
        field.isRecursive = target === message || reach(target).contains(message.fullName)
      }
    }
  }
}

/// One .proto file.
final class FileModel {
  let proto: Google_Protobuf_FileDescriptorProto
  let name: String
  let package: String
  let prefix: String
  let isProto2: Bool
  let comments: Comments
  private(set) var messages: [MessageModel] = []
  private(set) var enums: [EnumModel] = []
  private(set) var services: [ServiceModel] = []

  init(_ proto: Google_Protobuf_FileDescriptorProto) {
    self.proto = proto
    name = proto.name ?? ""
    package = proto.package ?? ""
    prefix = proto.options?.swiftPrefix ?? SwiftName.prefix(package: package)
    isProto2 = (proto.syntax ?? "proto2") == "proto2"
    comments = Comments(proto.sourceCodeInfo)
    let scope = package.isEmpty ? "" : package + "."
    for (index, each) in proto.enumType.enumerated() {
      enums.append(EnumModel(each, fullName: scope + (each.name ?? ""), swiftName: prefix + (each.name ?? ""), in: self, path: [5, index]))
    }
    for (index, each) in proto.messageType.enumerated() {
      messages.append(MessageModel(each, scope: scope, swiftScope: "", prefix: prefix, in: self, path: [4, index]))
    }
    for (index, each) in proto.service.enumerated() {
      services.append(
        ServiceModel(each, fullName: scope + (each.name ?? ""), swiftName: prefix + (each.name ?? ""), in: self, path: [6, index]))
    }
  }

  var allMessages: [MessageModel] { messages.flatMap(\.withNested) }
  var allEnums: [EnumModel] { enums + allMessages.flatMap(\.enums) }

  /// The file's name as part of an identifier or of a flat file name: `spanwire/city/v1/lem.proto` → `spanwire_city_v1_lem`.
  var flatName: String {
    let stem = name.hasSuffix(".proto") ? String(name.dropLast(6)) : name
    return String(stem.map { $0.isLetter || $0.isNumber ? $0 : "_" })
  }
}

/// One message with its nested types.
final class MessageModel {
  let proto: Google_Protobuf_DescriptorProto
  unowned let file: FileModel
  let fullName: String
  /// The name within its parent, and the name to reach it by from anywhere.
  let swiftName: String
  let swiftPath: String
  let path: [Int]
  let isMapEntry: Bool
  private(set) var fields: [FieldModel] = []
  private(set) var oneofs: [OneofModel] = []
  private(set) var nested: [MessageModel] = []
  private(set) var enums: [EnumModel] = []

  init(
    _ proto: Google_Protobuf_DescriptorProto, scope: String, swiftScope: String, prefix: String, in file: FileModel, path: [Int]
  ) {
    self.proto = proto
    self.file = file
    self.path = path
    let name = proto.name ?? ""
    fullName = scope + name
    swiftName = swiftScope.isEmpty ? prefix + name : SwiftName.type(name, kind: "Message")
    swiftPath = swiftScope + swiftName
    isMapEntry = proto.options?.mapEntry ?? false
    let inner = swiftPath + "."
    for (index, each) in proto.enumType.enumerated() {
      let name = SwiftName.type(each.name ?? "", kind: "Enum")
      enums.append(
        EnumModel(
          each, fullName: fullName + "." + (each.name ?? ""), swiftName: name, swiftScope: inner, in: file, path: path + [4, index]))
    }
    for (index, each) in proto.nestedType.enumerated() {
      nested.append(MessageModel(each, scope: fullName + ".", swiftScope: inner, prefix: "", in: file, path: path + [3, index]))
    }
    let cNames = CFieldNames(proto)
    for (index, each) in proto.oneofDecl.enumerated() {
      let members = proto.field.filter { $0.oneofIndex == Int32(index) }
      if members.contains(where: { $0.proto3Optional == true }) { continue }
      oneofs.append(OneofModel(each, index: index, cName: cNames.oneofs[index] ?? "", path: path + [8, index]))
    }
    for (index, each) in proto.field.enumerated() {
      let field = FieldModel(each, in: self, cName: cNames.fields[index], path: path + [2, index])
      if let oneof = each.oneofIndex {
        if each.proto3Optional == true {
          field.cCase = cNames.oneofs[Int(oneof)]
        } else {
          field.oneof = oneofs.first { $0.index == Int(oneof) }
          field.oneof?.fields.append(field)
        }
      }
      fields.append(field)
    }
    chooseFieldNames()
  }

  var withNested: [MessageModel] { [self] + nested.flatMap(\.withNested) }

  /// Two fields may fall onto one Swift name (`field_name3`, `_field_name3`): the later ones bear their numbers.
  private func chooseFieldNames() {
    var taken: Set<String> = []
    for field in fields where field.oneof == nil {
      field.swiftName = unique(SwiftName.field(field.name), number: field.number, &taken)
    }
    for oneof in oneofs { oneof.swiftName = unique(SwiftName.field(oneof.name), number: Int32(oneof.index), &taken) }
    for oneof in oneofs {
      var cases: Set<String> = []
      for field in oneof.fields { field.swiftName = unique(SwiftName.field(field.name), number: field.number, &cases) }
    }
    for field in fields where field.proto.defaultValue != nil {
      field.defaultName = unique(SwiftName.field(field.name + "_or_default"), number: field.number, &taken)
    }
  }

  private func unique(_ name: String, number: Int32, _ taken: inout Set<String>) -> String {
    if taken.insert(name).inserted { return name }
    let numbered = "\(name)_\(number)"
    taken.insert(numbered)
    return numbered
  }

  /// A oneof's enum is nested in the message; it must not hide a type that the message's fields are of.
  func chooseOneofNames() {
    var taken = Set(nested.map(\.swiftName) + enums.map(\.swiftName)).union(SwiftName.takenAsTypes)
    taken.formUnion(["String", "Bool", "Int32", "Int64", "UInt32", "UInt64", "Float", "Double", "UInt8", "Optional", "Array"])
    for message in withNested {
      for field in message.fields {
        let target = field.message?.swiftPath ?? field.enumeration?.swiftPath ?? ""
        if let first = target.split(separator: ".").first { taken.insert(String(first)) }
      }
    }
    taken.formUnion(swiftPath.split(separator: ".").map(String.init))
    for oneof in oneofs {
      let name = SwiftName.upperCamel(oneof.name)
      oneof.swiftType = taken.contains(name) ? "OneOf_" + name : name
      taken.insert(oneof.swiftType)
    }
  }
}

/// One field.
final class FieldModel {
  let proto: Google_Protobuf_FieldDescriptorProto
  unowned let parent: MessageModel
  let name: String
  let number: Int32
  let cName: String
  let path: [Int]
  var swiftName = ""
  /// The property that stands in for an absent value; nil unless the file gives a default.
  var defaultName: String?
  /// The message or enum it is of.
  var message: MessageModel?
  var enumeration: EnumModel?
  /// The real oneof it belongs to.
  var oneof: OneofModel?
  /// The C member that tells whether a proto3 `optional` scalar is there.
  var cCase: String?
  /// Whether a value of it would hold its own parent.
  var isRecursive = false

  init(_ proto: Google_Protobuf_FieldDescriptorProto, in parent: MessageModel, cName: String, path: [Int]) {
    self.proto = proto
    self.parent = parent
    self.cName = cName
    self.path = path
    name = proto.name ?? ""
    number = proto.number ?? 0
  }

  var typeName: String { String((proto.typeName ?? "").drop { $0 == "." }) }
  var isRepeated: Bool { proto.label == .repeated }
  var isMap: Bool { message?.isMapEntry ?? false && isRepeated }
  var mapKey: FieldModel { message!.fields.first { $0.number == 1 }! }
  var mapValue: FieldModel { message!.fields.first { $0.number == 2 }! }
  /// Whether absence differs from the default value.
  var hasPresence: Bool {
    !isRepeated && (message != nil || oneof != nil || proto.proto3Optional == true || parent.file.isProto2)
  }
  /// A proto2 submessage between a start and an end tag.
  var isGroup: Bool { proto.type == .group }
  /// Of an enum whose unnamed values count as unknown fields (proto2).
  var isClosedEnum: Bool { enumeration?.file.isProto2 ?? false }
  /// Whether a repeated field is written as one run.
  var isPacked: Bool {
    guard isRepeated, let type = proto.type, type != .string, type != .bytes, type != .message, type != .group else { return false }
    return proto.options?.packed ?? !parent.file.isProto2
  }
}

/// A oneof that the file declares; those behind proto3 `optional` are not among them.
final class OneofModel {
  let name: String
  let index: Int
  /// The C member that bears the number of the field that is there.
  let cName: String
  let path: [Int]
  var swiftName = ""
  var swiftType = ""
  var fields: [FieldModel] = []

  init(_ proto: Google_Protobuf_OneofDescriptorProto, index: Int, cName: String, path: [Int]) {
    name = proto.name ?? ""
    self.index = index
    self.cName = cName
    self.path = path
  }

  var isRecursive: Bool { fields.contains(where: \.isRecursive) }
}

/// One enum.
final class EnumModel {
  struct Case {
    let name: String
    let protoName: String
    let number: Int32
    let path: [Int]
  }

  unowned let file: FileModel
  let fullName: String
  let swiftName: String
  let swiftPath: String
  let path: [Int]
  /// The first name of each number; the further ones stand in `aliases`.
  private(set) var cases: [Case] = []
  private(set) var aliases: [(name: String, of: Case, path: [Int])] = []
  /// By the names of the file.
  private(set) var numbers: [String: Int32] = [:]

  init(
    _ proto: Google_Protobuf_EnumDescriptorProto, fullName: String, swiftName: String, swiftScope: String = "", in file: FileModel,
    path: [Int]
  ) {
    self.file = file
    self.fullName = fullName
    self.swiftName = swiftName
    self.path = path
    swiftPath = swiftScope + swiftName
    var taken: Set<String> = []
    for (index, value) in proto.value.enumerated() {
      let protoName = value.name ?? ""
      let number = value.number ?? 0
      numbers[protoName] = number
      var name = SwiftName.enumCase(protoName, of: proto.name ?? "")
      if SwiftName.takenByEnums.contains(name) { name += "_p" }
      if let first = cases.first(where: { $0.number == number }) {
        // An alias that differs by its spelling alone says nothing new.
        if taken.insert(name).inserted { aliases.append((name, first, path + [2, index])) }
        continue
      }
      if !taken.insert(name).inserted {
        name += number < 0 ? "_n\(-Int(number))" : "_\(number)"
        taken.insert(name)
      }
      cases.append(Case(name: name, protoName: protoName, number: number, path: path + [2, index]))
    }
  }
}

/// One service.
final class ServiceModel {
  let proto: Google_Protobuf_ServiceDescriptorProto
  unowned let file: FileModel
  let fullName: String
  let swiftName: String
  let path: [Int]

  init(_ proto: Google_Protobuf_ServiceDescriptorProto, fullName: String, swiftName: String, in file: FileModel, path: [Int]) {
    self.proto = proto
    self.file = file
    self.fullName = fullName
    self.swiftName = swiftName
    self.path = path
  }
}

/// What is wrong with the .proto files, or with the parameters.
struct GeneratorError: Error {
  let message: String
  init(_ message: String) { self.message = message }
}

/// The comments of a file by the path of what they belong to.
struct Comments {
  private var leading: [[Int]: String] = [:]
  private var trailing: [[Int]: String] = [:]

  init(_ info: Google_Protobuf_SourceCodeInfo?) {
    for location in info?.location ?? [] {
      let path = location.path.map(Int.init)
      if let text = location.leadingComments { leading[path] = text }
      if let text = location.trailingComments { trailing[path] = text }
    }
  }

  /// The lines of a comment, or none.
  subscript(path: [Int]) -> [String] {
    guard let text = leading[path] ?? trailing[path] else { return [] }
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      String(line.reversed().drop { $0.isWhitespace }.reversed())
    }
    // protoc leaves the space that follows the slashes.
    lines = lines.map { $0.first == " " ? String($0.dropFirst()) : $0 }
    while lines.last?.isEmpty == true { lines.removeLast() }
    while lines.first?.isEmpty == true { lines.removeFirst() }
    return lines
  }
}
