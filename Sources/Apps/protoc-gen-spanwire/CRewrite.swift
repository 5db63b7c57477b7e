import SpanwireWellKnown

/// The C members that a message's fields and oneofs get: lower case, no word of C, C++ or Swift, each once.
///
/// protoc-gen-c derives further members from them (`n_items`, `has_name`, `kind_case`), which must not meet either.
struct CFieldNames {
  /// By the field's place in the descriptor.
  private(set) var fields: [String] = []
  /// The case member by the oneof's index; a oneof that C does not have is absent.
  private(set) var oneofs: [Int: String] = [:]
  /// What to call the oneof for protoc-gen-c to come to that member.
  private(set) var oneofDeclarations: [Int: String] = [:]

  init(_ message: Google_Protobuf_DescriptorProto) {
    var taken: Set<String> = []
    for field in message.field {
      var name = (field.name ?? "").lowercased()
      if CName.reserved.contains(name) { name += "_" }
      let companion = field.label == .repeated ? "n_" : "has_"
      if taken.contains(name) || taken.contains(companion + name) { name += "_\(field.number ?? 0)" }
      while taken.contains(name) || taken.contains(companion + name) { name += "_" }
      taken.formUnion([name, companion + name])
      fields.append(name)
    }
    // The case of a oneof is an enum beside the nested types.
    var types = Set(message.nestedType.map { CName.camel($0.name ?? "") } + message.enumType.map { CName.camel($0.name ?? "") })
    for (index, oneof) in message.oneofDecl.enumerated() {
      let members = message.field.indices.filter { message.field[$0].oneofIndex == Int32(index) }
      var name = (oneof.name ?? "").lowercased()
      if let only = members.first, message.field[only].proto3Optional == true {
        // A pointer says by itself whether it is there.
        if message.field[only].type == .message { continue }
        name = "has_" + fields[only]
      }
      let wanted = name
      var attempt = 1
      while taken.contains(name + "_case") || types.contains(CName.camel(name + "_case")) {
        attempt += 1
        name = "\(wanted)_\(attempt)"
      }
      taken.insert(name + "_case")
      types.insert(CName.camel(name + "_case"))
      oneofs[index] = name + "_case"
      oneofDeclarations[index] = name
    }
  }
}

/// Turns a request into one that protoc-gen-c can take and whose C is sound.
///
/// proto3 `optional` becomes a oneof of one, strings become bytes (C strings end at NUL; our decoder checks UTF-8), names are
/// made fit for C, and what C has no use for goes: comments, options, extensions, services, defaults. Groups are messages there, and
/// required fields have a flag that tells whether they came.
enum CRewrite {
  static func rewrite(_ request: Google_Protobuf_Compiler_CodeGeneratorRequest) -> Google_Protobuf_Compiler_CodeGeneratorRequest {
    var request = request
    request.sourceFileDescriptors = []
    let homes = homes(of: request.protoFile)
    for index in request.protoFile.indices {
      var file = request.protoFile[index]
      // A file imported for its options or its services' types has no header to include, or none that matters.
      let imports = Set(file.messageType.flatMap(typeNames)).compactMap { homes[$0] }
      file.dependency = Set(imports).subtracting([file.name ?? ""]).sorted()
      file.publicDependency = []
      file.weakDependency = []
      file.sourceCodeInfo = nil
      file.service = []
      file.extension = []
      file.options = nil
      let packs = (file.syntax ?? "proto2") != "proto2"
      for message in file.messageType.indices { rewrite(&file.messageType[message], packsByDefault: packs) }
      for each in file.enumType.indices { rewrite(&file.enumType[each]) }
      request.protoFile[index] = file
    }
    return request
  }

  /// The file of each message and enum, by its name with the leading dot that references have.
  private static func homes(of files: [Google_Protobuf_FileDescriptorProto]) -> [String: String] {
    var homes: [String: String] = [:]
    func enter(_ message: Google_Protobuf_DescriptorProto, _ scope: String, _ file: String) {
      let name = scope + "." + (message.name ?? "")
      homes[name] = file
      for each in message.enumType { homes[name + "." + (each.name ?? "")] = file }
      for each in message.nestedType { enter(each, name, file) }
    }
    for file in files {
      let scope = file.package.map { $0.isEmpty ? "" : "." + $0 } ?? ""
      for each in file.enumType { homes[scope + "." + (each.name ?? "")] = file.name }
      for each in file.messageType { enter(each, scope, file.name ?? "") }
    }
    return homes
  }

  /// The types that a message's fields, and those of its nested messages, refer to.
  private static func typeNames(_ message: Google_Protobuf_DescriptorProto) -> [String] {
    message.field.compactMap(\.typeName) + message.nestedType.flatMap(typeNames)
  }

  private static func rewrite(_ message: inout Google_Protobuf_DescriptorProto, packsByDefault: Bool) {
    let names = CFieldNames(message)
    var indices: [Int32: Int32] = [:]
    var declarations: [Google_Protobuf_OneofDescriptorProto] = []
    for index in message.oneofDecl.indices {
      guard let name = names.oneofDeclarations[index] else { continue }
      indices[Int32(index)] = Int32(declarations.count)
      declarations.append(Google_Protobuf_OneofDescriptorProto(name: name))
    }
    message.oneofDecl = declarations
    for index in message.field.indices {
      var field = message.field[index]
      field.name = names.fields[index]
      field.jsonName = nil
      field.proto3Optional = nil
      field.defaultValue = nil
      field.oneofIndex = field.oneofIndex.flatMap { indices[$0] }
      if field.type == .string { field.type = .bytes }
      if field.type == .group { field.type = .message }
      if field.label == .required { field.label = .optional }
      // protoc-gen-c's own table says PACKED by this option alone, whatever the syntax makes the default.
      let isPacked = isPackable(field) && (field.options?.packed ?? packsByDefault)
      field.options = isPacked ? Google_Protobuf_FieldOptions(packed: true) : nil
      message.field[index] = field
    }
    message.extension = []
    message.extensionRange = []
    // Entries of maps go as ordinary messages: keys, too, become bytes.
    message.options = nil
    for index in message.nestedType.indices { rewrite(&message.nestedType[index], packsByDefault: packsByDefault) }
    for index in message.enumType.indices { rewrite(&message.enumType[index]) }
  }

  private static func isPackable(_ field: Google_Protobuf_FieldDescriptorProto) -> Bool {
    guard field.label == .repeated, let type = field.type else { return false }
    return ![.string, .bytes, .message, .group].contains(type)
  }

  private static func rewrite(_ each: inout Google_Protobuf_EnumDescriptorProto) {
    let hasAliases = each.options?.allowAlias ?? false
    each.options = hasAliases ? Google_Protobuf_EnumOptions(allowAlias: true) : nil
    for index in each.value.indices { each.value[index].options = nil }
  }
}
