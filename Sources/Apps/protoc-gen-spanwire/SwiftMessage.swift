extension SwiftFile {
  func message(_ message: MessageModel, _ out: inout Output) {
    if message.isMapEntry { return }
    out.documentation(documentation(message.path, fullName: message.fullName))
    out.block("\(access)struct \(message.swiftName): \(name("Message"))") { out in
      properties(message, &out)
      for oneof in message.oneofs { self.oneof(oneof, &out) }
      for each in message.enums { enumeration(each, &out) }
      for each in message.nested { self.message(each, &out) }
      initializers(message, &out)
      tables(message, &out)
      reader(message, &out)
      writer(message, &out)
    }
    out.line()
  }

  // MARK: What a message holds

  /// Fields and oneofs as properties, in the order of the file.
  private enum Property {
    case field(FieldModel)
    case oneof(OneofModel)
  }

  private func list(_ message: MessageModel) -> [Property] {
    var seen: Set<Int> = []
    return message.fields.compactMap { field in
      guard let oneof = field.oneof else { return .field(field) }
      return seen.insert(oneof.index).inserted ? .oneof(oneof) : nil
    }
  }

  private func properties(_ message: MessageModel, _ out: inout Output) {
    for property in list(message) {
      switch property {
      case .field(let field):
        out.documentation(file.comments[field.path])
        let declared = SwiftName.declared(field.swiftName)
        if field.isRecursive {
          out.block("\(access)var \(declared): \(type(field))") { out in
            out.line("get { \(field.swiftName)Box?.value }")
            out.line("set { \(field.swiftName)Box = newValue.map { \(name("Indirect"))($0) } }")
          }
          out.line("private var \(field.swiftName)Box: \(name("Indirect"))<\(valueType(field))>?")
        } else {
          out.line("\(access)var \(declared): \(type(field))")
        }
      case .oneof(let oneof):
        out.documentation(file.comments[oneof.path])
        out.line("\(access)var \(SwiftName.declared(oneof.swiftName)): \(oneof.swiftType)?")
      }
    }
    out.line("\(access)var unknownFields: \(name("UnknownFields"))")
    defaults(message, &out)
    out.line()
  }

  private func oneof(_ oneof: OneofModel, _ out: inout Output) {
    out.documentation(file.comments[oneof.path])
    out.block("\(access)\(oneof.isRecursive ? "indirect " : "")enum \(oneof.swiftType): Hashable, Sendable") { out in
      for field in oneof.fields {
        out.documentation(file.comments[field.path])
        out.line("case \(SwiftName.declared(field.swiftName))(\(valueType(field)))")
      }
    }
    out.line()
  }

  private func initializers(_ message: MessageModel, _ out: inout Output) {
    let all = list(message)
    out.block("\(access)init()") { out in
      for property in all {
        switch property {
        case .field(let field):
          out.line("self.\(SwiftName.declared(field.isRecursive ? field.swiftName + "Box" : field.swiftName)) = \(defaultValue(field))")
        case .oneof(let oneof): out.line("self.\(SwiftName.declared(oneof.swiftName)) = nil")
        }
      }
      out.line("self.unknownFields = \(name("UnknownFields"))()")
    }
    out.line()
    if all.isEmpty { return }
    let parameters = all.map { property in
      switch property {
      case .field(let field): "\(SwiftName.declared(field.swiftName)): \(type(field)) = \(defaultValue(field))"
      case .oneof(let oneof): "\(SwiftName.declared(oneof.swiftName)): \(oneof.swiftType)? = nil"
      }
    }
    out.line("\(access)init(")
    for (index, parameter) in parameters.enumerated() { out.line("  \(parameter)\(index == parameters.count - 1 ? "" : ",")") }
    out.block(")") { out in
      for property in all {
        switch property {
        case .field(let field):
          if field.isRecursive {
            out.line("self.\(field.swiftName)Box = \(SwiftName.declared(field.swiftName)).map { \(name("Indirect"))($0) }")
          } else {
            out.line("self.\(SwiftName.declared(field.swiftName)) = \(SwiftName.declared(field.swiftName))")
          }
        case .oneof(let oneof):
          out.line("self.\(SwiftName.declared(oneof.swiftName)) = \(SwiftName.declared(oneof.swiftName))")
        }
      }
      out.line("self.unknownFields = \(name("UnknownFields"))()")
    }
    out.line()
  }

  private func tables(_ message: MessageModel, _ out: inout Output) {
    out.line("\(access)static let protoTypeName: \(name("String")) = \(message.fullName.quoted)")
    out.line("\(access)static var file: \(name("GeneratedFile")) { \(file.constant) }")
    let strings = message.fields.filter { $0.proto.type == .string }.map { String($0.number) }
    let children = message.fields.compactMap { field -> String? in
      guard let target = field.message else { return nil }
      if field.isMap {
        let strings = [field.mapKey, field.mapValue].filter { $0.proto.type == .string }.map { String($0.number) }
        var call = ".map(\(field.number)"
        if !strings.isEmpty { call += ", strings: [\(strings.joined(separator: ", "))]" }
        if let value = field.mapValue.message { call += ", value: \(value.swiftPath).table" }
        if field.mapValue.isClosedEnum { call += ", closedEnum: true" }
        return call + ")"
      }
      return "\(field.isGroup ? ".group" : ".message")(\(field.number), \(target.swiftPath).table)"
    }
    var call = "\(name("MessageTable"))(typeName: protoTypeName, descriptor: \(message.cTable)()"
    if !strings.isEmpty { call += ", strings: [\(strings.joined(separator: ", "))]" }
    let closedEnums = message.fields.filter(\.isClosedEnum).map { String($0.number) }
    if !closedEnums.isEmpty { call += ", closedEnums: [\(closedEnums.joined(separator: ", "))]" }
    let required = message.fields.filter { $0.proto.label == .required }.map { String($0.number) }
    if !required.isEmpty { call += ", required: [\(required.joined(separator: ", "))]" }
    call += ")"
    if children.isEmpty {
      out.line("\(access)static let table: \(name("MessageTable")) = \(call)")
    } else {
      out.block("\(access)static let table: \(name("MessageTable")) = \(call)") { out in
        out.line("[")
        for child in children { out.line("  \(child),") }
        out.line("]")
      }
    }
    out.line()
  }

  // MARK: From the C struct

  private func reader(_ message: MessageModel, _ out: inout Output) {
    out.block("\(access)init(cStruct: UnsafeRawPointer)") { out in
      if !message.fields.isEmpty {
        out.line("let c = cStruct.assumingMemoryBound(to: \(CName.type(message.fullName)).self)")
      }
      for property in list(message) {
        switch property {
        case .field(let field):
          out.line("self.\(SwiftName.declared(field.isRecursive ? field.swiftName + "Box" : field.swiftName)) = \(read(field))")
        case .oneof(let oneof):
          let target = "self.\(SwiftName.declared(oneof.swiftName))"
          out.line("switch c.pointee.\(oneof.cName).rawValue {")
          for field in oneof.fields {
            out.line("case \(field.number): \(target) = .\(SwiftName.declared(field.swiftName))(\(readMember(field)))")
          }
          out.line("default: \(target) = nil")
          out.line("}")
        }
      }
      out.line("self.unknownFields = \(name("CField")).unknownFields(cStruct)")
    }
    out.line()
  }

  /// A member of a oneof, which is there.
  func readMember(_ field: FieldModel) -> String {
    field.message.map { "\(read(field)) ?? \($0.swiftPath)()" } ?? readOne(field, "c.pointee.\(field.cName)")
  }

  /// - Parameter boxed: whether a recursive field is read into its box.
  func read(_ field: FieldModel, boxed: Bool = true) -> String {
    let support = name("CField")
    let member = "c.pointee.\(field.cName)"
    if field.isMap {
      let value = field.mapValue
      let entry = readOne(value, "$0.pointee.value") + (value.message.map { " ?? \($0.swiftPath)()" } ?? "")
      return "\(support).map(c.pointee.n_\(field.cName), \(member)) { (\(readOne(field.mapKey, "$0.pointee.key")), \(entry)) }"
    }
    if field.isRepeated {
      let reader =
        switch field.proto.type {
        case .string?: "strings"
        case .bytes?: "byteArrays"
        case .bool?: "bools"
        case .enum?: "enumerations"
        case .message?, .group?: "messages"
        default: "scalars"
        }
      return "\(support).\(reader)(c.pointee.n_\(field.cName), \(member))"
    }
    if field.message != nil {
      return "\(support).\(boxed && field.isRecursive && field.oneof == nil ? "indirect" : "message")(\(member))"
    }
    let value = readOne(field, member)
    if field.oneof != nil || !field.hasPresence { return value }
    if let presence = field.cCase { return "c.pointee.\(presence).rawValue == \(field.number) ? \(value) : nil" }
    return "c.pointee.has_\(field.cName) != 0 ? \(value) : nil"
  }

  private func readOne(_ field: FieldModel, _ member: String) -> String {
    let support = name("CField")
    return switch field.proto.type {
    case .string?: "\(support).string(\(member))"
    case .bytes?: "\(support).bytes(\(member))"
    case .bool?: "\(member) != 0"
    case .enum?: "\(support).enumeration(\(member))"
    case .message?, .group?: "\(support).message(\(member))"
    default: member
    }
  }

  // MARK: To the wire

  private func writer(_ message: MessageModel, _ out: inout Output) {
    out.block("\(access)func write(to writer: inout \(name("MessageWriter")))") { out in
      out.line("writer.unknown(unknownFields)")
      let fields = message.fields.sorted { $0.number > $1.number }
      var index = 0
      while index < fields.count {
        let field = fields[index]
        guard let oneof = field.oneof else {
          out.line(write(field))
          index += 1
          continue
        }
        // Members with neighbouring numbers share a switch.
        out.line("switch self.\(SwiftName.declared(oneof.swiftName)) {")
        while index < fields.count, fields[index].oneof === oneof {
          let member = fields[index]
          out.line(
            "case .\(SwiftName.declared(member.swiftName))(let value)?: writer.\(writerName(member))(\(member.number), always: value)")
          index += 1
        }
        out.line("default: break")
        out.line("}")
      }
    }
  }

  private func write(_ field: FieldModel) -> String {
    let value = "self.\(SwiftName.declared(field.swiftName))"
    let start = "writer.\(writerName(field))(\(field.number), "
    if field.isMap {
      let key = "$0.\(writerName(field.mapKey))(1, always: $1)"
      return "writer.map(\(field.number), \(value)) { $0.\(writerName(field.mapValue))(2, always: $2); \(key) }"
    }
    if field.isRepeated { return start + (field.isPacked ? "packed: " : "repeated: ") + value + ")" }
    if field.isRecursive { return start + "optional: self.\(field.swiftName)Box?.value)" }
    return start + (field.hasPresence ? "optional: " : "") + value + ")"
  }

  private func writerName(_ field: FieldModel) -> String {
    switch field.proto.type {
    case .double?: "double"
    case .float?: "float"
    case .int64?: "int64"
    case .uint64?: "uint64"
    case .int32?: "int32"
    case .fixed64?: "fixed64"
    case .fixed32?: "fixed32"
    case .bool?: "bool"
    case .string?: "string"
    case .bytes?: "bytes"
    case .uint32?: "uint32"
    case .enum?: "enumeration"
    case .sfixed32?: "sfixed32"
    case .sfixed64?: "sfixed64"
    case .sint32?: "sint32"
    case .sint64?: "sint64"
    case .group?: "group"
    default: "message"
    }
  }

  // MARK: Types

  /// The type of one value of the field.
  func valueType(_ field: FieldModel) -> String {
    switch field.proto.type {
    case .double?: name("Double")
    case .float?: name("Float")
    case .int64?, .sfixed64?, .sint64?: name("Int64")
    case .uint64?, .fixed64?: name("UInt64")
    case .int32?, .sfixed32?, .sint32?: name("Int32")
    case .uint32?, .fixed32?: name("UInt32")
    case .bool?: name("Bool")
    case .string?: name("String")
    case .bytes?: "[\(name("UInt8"))]"
    case .enum?: field.enumeration!.swiftPath
    default: field.message!.swiftPath
    }
  }

  func type(_ field: FieldModel) -> String {
    if field.isMap { return "\(name("ProtoMap"))<\(valueType(field.mapKey)), \(valueType(field.mapValue))>" }
    if field.isRepeated { return "[\(valueType(field))]" }
    return valueType(field) + (field.hasPresence ? "?" : "")
  }

  private func defaultValue(_ field: FieldModel) -> String {
    if field.isMap { return "[:]" }
    if field.isRepeated { return "[]" }
    if field.hasPresence { return "nil" }
    switch field.proto.type {
    case .bool?: return "false"
    case .string?: return "\"\""
    case .bytes?: return "[]"
    case .enum?: return "." + (field.enumeration!.cases.first?.name ?? "unrecognized(0)")
    default: return "0"
    }
  }
}

extension MessageModel {
  /// The C function that returns the message's descriptor: imported constants have no stable address in Swift.
  var cTable: String { CName.lower(fullName) + "__table" }
}
