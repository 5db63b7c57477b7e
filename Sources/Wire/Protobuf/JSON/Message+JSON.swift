// The proto3 JSON mapping, https://protobuf.dev/programming-guides/json/, for typed messages and for types known only to a pool.

extension DynamicMessage {
  /// - Parameter pool: where the types inside `Any` are found.
  public func jsonString(options: JSONEncodingOptions = .init(), pool: DescriptorPool = .generated) throws(JSONError) -> String {
    var printer = JSONPrinter(options: options, pool: pool)
    try printer.message(self)
    return printer.text.string
  }

  /// - Parameter pool: where the types inside `Any` are found.
  public init(
    jsonString text: String, schema: MessageSchema, options: JSONDecodingOptions = .init(), pool: DescriptorPool = .generated
  ) throws(JSONError) {
    guard text.utf8.count <= options.maximumBytes else { throw JSONError("the text is too large") }
    let reader = JSONReader(options: options, pool: pool)
    self = try reader.message(JSONValue.parse(text), schema, depth: options.depth)
  }
}

extension Message {
  /// This type in `DescriptorPool.generated`, which gets its file if it does not have it.
  public static var schema: MessageSchema {
    DescriptorPool.generated.add(file)
    guard let schema = DescriptorPool.generated.message(protoTypeName) else {
      preconditionFailure("\(file.name) does not declare \(protoTypeName)")
    }
    return schema
  }

  /// The message in proto3 JSON; fails where JSON has no form for it, as for an `Any` of an unknown type.
  public func jsonString(options: JSONEncodingOptions = .init()) throws(JSONError) -> String {
    try DynamicMessage(printing: encoded(), as: Self.schema).jsonString(options: options)
  }

  /// Reads proto3 JSON.
  public init(jsonString text: String, options: JSONDecodingOptions = .init()) throws(JSONError) {
    let message = try DynamicMessage(jsonString: text, schema: Self.schema, options: options)
    do {
      self = try Self(decoding: message.encoded())
    } catch {
      throw JSONError(error.description)
    }
  }
}

extension DescriptorPool {
  /// A message of a type of this pool from its wire form to JSON.
  public func json(from bytes: [UInt8], type fullName: String, options: JSONEncodingOptions = .init()) throws(JSONError) -> String {
    try DynamicMessage(printing: bytes, as: schema(fullName)).jsonString(options: options, pool: self)
  }

  /// A message of a type of this pool from JSON to its wire form.
  public func bytes(fromJSON text: String, type fullName: String, options: JSONDecodingOptions = .init()) throws(JSONError) -> [UInt8] {
    try DynamicMessage(jsonString: text, schema: schema(fullName), options: options, pool: self).encoded()
  }

  private func schema(_ fullName: String) throws(JSONError) -> MessageSchema {
    guard let schema = message(fullName) else { throw JSONError("the type \(fullName) is not known here") }
    return schema
  }
}
