import Synchronization

/// The message, enum and service types of a set of files, by name: what reflection, JSON and dynamic calls look up.
///
/// Files are added in the order of their imports and never removed.
public final class DescriptorPool: Sendable {
  private struct State {
    var files: [String: FileSchema] = [:]
    var messages: [String: MessageSchema] = [:]
    var enums: [String: EnumSchema] = [:]
    var services: [String: ServiceSchema] = [:]
    /// Every declared name, members included, and the file that declares it.
    var symbols: [String: String] = [:]
    var extensions: [String: [UInt32: FieldSchema]] = [:]
    /// Made when they are first asked for, since a schema's table lives as long as the process.
    var extensionSchemas: [String: MessageSchema] = [:]
  }

  private let state = Mutex(State())

  /// The files of generated code, as they were registered: what `Any` in JSON is looked up in unless told otherwise.
  public static let generated = DescriptorPool()

  /// A pool without files.
  public init() {}

  /// A pool of generated files and all that they import.
  public convenience init(files: [GeneratedFile]) {
    self.init()
    for file in files { add(file) }
  }

  // MARK: - Adding

  /// Adds a generated file and what it imports; a file that is there already is left alone.
  public func add(_ file: GeneratedFile) {
    if self.file(named: file.name) != nil { return }
    for dependency in file.dependencies { add(dependency) }
    do {
      try add(fileDescriptor: file.descriptorBytes)
    } catch {
      preconditionFailure("generated code carries a bad descriptor: \(error)")
    }
  }

  /// Adds a file by its FileDescriptorProto; everything it imports must be there. A file that is there already with the same bytes is
  /// left alone.
  @discardableResult
  public func add(fileDescriptor bytes: [UInt8]) throws(SchemaError) -> FileSchema {
    let raw: RawFile
    do {
      raw = try RawFile(bytes)
    } catch {
      throw SchemaError(fileName: "?", problem: error.problem)
    }
    let result: Result<FileSchema, SchemaError> = state.withLock { state in
      if let known = state.files[raw.name] {
        return known.bytes == bytes ? .success(known) : .failure(SchemaError(fileName: raw.name, problem: "another file has this name"))
      }
      do throws(MalformedDescriptor) {
        var draft = state
        let file = try Self.link(raw, into: &draft)
        state = draft
        return .success(file)
      } catch {
        return .failure(SchemaError(fileName: raw.name, problem: error.problem))
      }
    }
    return try result.get()
  }

  // MARK: - Looking up

  /// The file of a name, as in `google/protobuf/any.proto`; nil when the pool lacks it.
  public func file(named name: String) -> FileSchema? { state.withLock { $0.files[name] } }
  /// The message of a full name without a leading dot; nil when the pool lacks it.
  public func message(_ fullName: String) -> MessageSchema? { state.withLock { $0.messages[fullName] } }
  /// The enum of a full name; nil when the pool lacks it.
  public func enumeration(_ fullName: String) -> EnumSchema? { state.withLock { $0.enums[fullName] } }
  /// The service of a full name; nil when the pool lacks it.
  public func service(_ fullName: String) -> ServiceSchema? { state.withLock { $0.services[fullName] } }

  /// The file that declares a message, field, oneof, enum, enum value, service, method or extension.
  public func file(containing symbol: String) -> FileSchema? {
    state.withLock { state in state.symbols[symbol].flatMap { state.files[$0] } }
  }

  /// The extension of a message by its field number; nil when the pool knows none.
  public func `extension`(of message: String, number: UInt32) -> FieldSchema? {
    state.withLock { $0.extensions[message]?[number] }
  }

  /// The file that declares an extension; nil when the pool knows none.
  public func file(extending message: String, number: UInt32) -> FileSchema? {
    state.withLock { state in
      state.extensions[message]?[number].flatMap { state.symbols[$0.fullName] }.flatMap { state.files[$0] }
    }
  }

  /// Numbers of the extensions of a message, ascending.
  public func extensionNumbers(of message: String) -> [UInt32] { state.withLock { $0.extensions[message].map { $0.keys.sorted() } ?? [] } }

  /// The extensions of a message as the fields of one with the same name: what reads and writes them among its unknown fields.
  func extensionSchema(of message: String) -> MessageSchema? {
    state.withLock { state in
      if let known = state.extensionSchemas[message] { return known }
      guard let fields = state.extensions[message]?.values, let extendee = state.messages[message] else { return nil }
      let schema = MessageSchema(
        RawMessage(), fullName: message, fileName: extendee.fileName, nestedMessages: [], nestedEnums: [])
      schema.fields = fields.sorted { $0.number < $1.number }
      state.extensionSchemas[message] = schema
      return schema
    }
  }

  /// The names of all files, sorted.
  public var fileNames: [String] { state.withLock { $0.files.keys.sorted() } }
  /// The full names of all services, sorted.
  public var serviceNames: [String] { state.withLock { $0.services.keys.sorted() } }

  // MARK: - Linking

  private static func link(_ raw: RawFile, into state: inout State) throws(MalformedDescriptor) -> FileSchema {
    if raw.name.isEmpty { throw MalformedDescriptor(problem: "a file without a name") }
    for dependency in raw.dependencies where state.files[dependency] == nil {
      throw MalformedDescriptor(problem: "imports \(dependency), which is not here")
    }
    var linker = Linker(isProto3: raw.syntax != "" && raw.syntax != "proto2", fileName: raw.name)
    let prefix = raw.package.isEmpty ? "" : raw.package + "."
    var messages: [MessageSchema] = []
    for message in raw.messages { messages.append(linker.declare(message, prefix: prefix)) }
    var enums: [EnumSchema] = []
    for item in raw.enums { enums.append(linker.declare(item, prefix: prefix)) }
    let extensions = raw.extensions.map { linker.declareExtension($0, prefix: prefix) }
    for service in raw.services {
      linker.symbols.append(service.fullName)
      for method in service.methods { linker.symbols.append("\(service.fullName).\(method.name)") }
      state.services[service.fullName] = service
    }
    for symbol in linker.symbols {
      if let other = state.symbols.updateValue(raw.name, forKey: symbol) {
        throw MalformedDescriptor(problem: "\(symbol) is declared in \(other) too")
      }
    }
    for message in linker.messages { state.messages[message.fullName] = message }
    for item in linker.enums { state.enums[item.fullName] = item }
    for (field, scope) in linker.unresolved { try resolve(field, scope, state) }
    for field in linker.extensions {
      let extendee = field.extendee ?? ""
      guard state.messages[extendee] != nil else {
        throw MalformedDescriptor(problem: "\(field.fullName) extends \(extendee), which is not here")
      }
      state.extensions[extendee, default: [:]][field.number] = field
      state.extensionSchemas[extendee] = nil
    }
    let file = FileSchema(raw, messages: messages, enums: enums, extensions: extensions)
    state.files[raw.name] = file
    return file
  }

  /// Finds a field's type: by its full name, or from the innermost scope outward.
  private static func resolve(_ field: FieldSchema, _ scope: String, _ state: State) throws(MalformedDescriptor) {
    var candidates: [String] = []
    if field.typeName.hasPrefix(".") {
      candidates = [String(field.typeName.dropFirst())]
    } else {
      var parts = scope.split(separator: ".")
      while !parts.isEmpty {
        candidates.append(parts.joined(separator: ".") + "." + field.typeName)
        parts.removeLast()
      }
      candidates.append(field.typeName)
    }
    for candidate in candidates {
      if field.type == .enumeration, let found = state.enums[candidate] {
        field.enumType = found
        return
      }
      if field.type != .enumeration, let found = state.messages[candidate] {
        field.messageType = found
        return
      }
    }
    throw MalformedDescriptor(problem: "\(field.fullName) has the type \(field.typeName), which is not here")
  }
}

/// Declares a file's types before their fields are resolved, since types may refer to each other in any order.
private struct Linker {
  let isProto3: Bool
  let fileName: String
  var symbols: [String] = []
  var messages: [MessageSchema] = []
  var enums: [EnumSchema] = []
  var extensions: [FieldSchema] = []
  /// Fields of message and enum types, and where they stand.
  var unresolved: [(FieldSchema, scope: String)] = []

  init(isProto3: Bool, fileName: String) {
    self.isProto3 = isProto3
    self.fileName = fileName
  }

  mutating func declare(_ raw: RawMessage, prefix: String) -> MessageSchema {
    let fullName = prefix + raw.name
    symbols.append(fullName)
    let inner = fullName + "."
    var nested: [MessageSchema] = []
    for message in raw.nested { nested.append(declare(message, prefix: inner)) }
    var nestedEnums: [EnumSchema] = []
    for item in raw.enums { nestedEnums.append(declare(item, prefix: inner)) }
    for item in raw.extensions { _ = declareExtension(item, prefix: inner) }
    for oneof in raw.oneofs { symbols.append(inner + oneof) }
    let message = MessageSchema(raw, fullName: fullName, fileName: fileName, nestedMessages: nested, nestedEnums: nestedEnums)
    message.fields = raw.fields.map { declare($0, prefix: inner, scope: fullName) }.sorted { $0.number < $1.number }
    messages.append(message)
    return message
  }

  mutating func declare(_ raw: RawEnum, prefix: String) -> EnumSchema {
    let item = EnumSchema(raw, fullName: prefix + raw.name, fileName: fileName, isClosed: !isProto3)
    symbols.append(item.fullName)
    // A value's name stands beside its enum, not inside.
    for value in raw.values { symbols.append(prefix + value.name) }
    enums.append(item)
    return item
  }

  mutating func declareExtension(_ raw: RawField, prefix: String) -> FieldSchema {
    let field = declare(raw, prefix: prefix, scope: String(prefix.dropLast()))
    extensions.append(field)
    return field
  }

  private mutating func declare(_ raw: RawField, prefix: String, scope: String) -> FieldSchema {
    let field = FieldSchema(raw, fullName: prefix + raw.name, isProto3: isProto3)
    symbols.append(field.fullName)
    if [.message, .group, .enumeration].contains(raw.type) { unresolved.append((field, scope)) }
    return field
  }
}
