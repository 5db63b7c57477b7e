/// A message's proto3 JSON as a JSON Schema (2020-12).
struct JSONSchema {
  let root: MessageModel
  private var open: [MessageModel] = []
  private var definitions: [String: String] = [:]

  /// The schema of one event type's payload.
  static func text(_ event: EventModel) -> String {
    var schema = JSONSchema(root: event.message)
    let body = schema.object(event.message, depth: 1)
    while let next = schema.open.popLast() { schema.definitions[next.fullName] = schema.object(next, depth: 3) }
    var out = "{\n"
    out += "  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
    out += "  \"$id\": \(("urn:spanwire:event:" + event.type).quoted),\n"
    out += "  \"title\": \(event.type.quoted),\n"
    let about = event.message.file.comments[event.message.path].joined(separator: " ")
    if !about.isEmpty { out += "  \"description\": \(about.quoted),\n" }
    out += body
    if !schema.definitions.isEmpty {
      let list = schema.definitions.sorted { $0.key < $1.key }.map { "    \($0.key.quoted): {\n\($0.value)\n    }" }
      out += ",\n  \"$defs\": {\n" + list.joined(separator: ",\n") + "\n  }"
    }
    return out + "\n}\n"
  }

  private init(root: MessageModel) { self.root = root }

  /// The members of an object schema, without its braces.
  private mutating func object(_ message: MessageModel, depth: Int) -> String {
    let pad = String(repeating: "  ", count: depth)
    var properties: [String] = []
    for field in message.fields {
      var text = schema(field)
      let about = message.file.comments[field.path].joined(separator: " ")
      if !about.isEmpty && !text.contains("$ref") { text += ", \"description\": \(about.quoted)" }
      properties.append("\(pad)  \((field.proto.jsonName ?? field.name).quoted): {\(text)}")
    }
    let list = properties.isEmpty ? "{}" : "{\n\(properties.joined(separator: ",\n"))\n\(pad)}"
    return "\(pad)\"type\": \"object\",\n\(pad)\"properties\": \(list),\n\(pad)\"additionalProperties\": false"
  }

  private mutating func schema(_ field: FieldModel) -> String {
    if field.isMap { return "\"type\": \"object\", \"additionalProperties\": {\(single(field.mapValue))}" }
    if field.isRepeated { return "\"type\": \"array\", \"items\": {\(single(field))}" }
    return single(field)
  }

  private mutating func single(_ field: FieldModel) -> String {
    switch field.proto.type {
    case .string?: return "\"type\": \"string\""
    case .bytes?: return "\"type\": \"string\", \"contentEncoding\": \"base64\""
    case .bool?: return "\"type\": \"boolean\""
    case .double?, .float?: return "\"type\": [\"number\", \"string\"]"
    case .int64?, .sint64?, .sfixed64?: return "\"type\": \"string\", \"pattern\": \"^-?[0-9]+$\""
    case .uint64?, .fixed64?: return "\"type\": \"string\", \"pattern\": \"^[0-9]+$\""
    case .uint32?, .fixed32?: return "\"type\": \"integer\", \"minimum\": 0"
    case .int32?, .sint32?, .sfixed32?: return "\"type\": \"integer\""
    case .enum?:
      let names = field.enumeration!.cases.map(\.protoName.quoted).joined(separator: ", ")
      return "\"enum\": [\(names)]"
    default: return message(field.message!)
    }
  }

  private mutating func message(_ message: MessageModel) -> String {
    switch message.fullName {
    case "google.protobuf.Timestamp": return "\"type\": \"string\", \"format\": \"date-time\""
    case "google.protobuf.Duration": return "\"type\": \"string\", \"pattern\": \"^-?[0-9]+(\\\\.[0-9]{1,9})?s$\""
    case "google.protobuf.FieldMask": return "\"type\": \"string\""
    case "google.protobuf.Struct", "google.protobuf.Any", "google.protobuf.Empty": return "\"type\": \"object\""
    case "google.protobuf.Value": return ""
    case "google.protobuf.ListValue": return "\"type\": \"array\""
    default: break
    }
    if message === root { return "\"$ref\": \"#\"" }
    if definitions[message.fullName] == nil {
      definitions[message.fullName] = ""
      open.append(message)
    }
    return "\"$ref\": \("#/$defs/\(message.fullName)".quoted)"
  }
}
