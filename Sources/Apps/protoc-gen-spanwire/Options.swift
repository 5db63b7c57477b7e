import SpanwireWellKnown

/// What the caller of the plugin asks for: `key=value` pairs, separated by commas.
struct Options {
  enum Emit: String {
    /// Swift, beside which `index` makes one file that lists all.
    case swift
    /// The umbrella header and the module map of the C structs.
    case cModule = "c-module"
    /// docs/events.md and a JSON Schema for each event type.
    case docs
  }

  var emit = Emit.swift
  /// `public`, `package` or `internal`.
  var visibility = "public"
  /// The module of the generated C structs.
  var cModule = "CProtos"
  /// The module that the Swift will stand in.
  var swiftModule = ""
  /// Further modules to import.
  var imports: [String] = []
  /// Whether to generate the registry of event types.
  var events = false
  /// What gets a view, by full name: messages, `all` for every one, and methods, whose handlers then take their requests as views.
  var views: Set<String> = []
  /// The files to generate, by protoc's names.
  var generated: Set<String> = []

  init(_ parameter: String, generating files: [String]) throws(GeneratorError) {
    generated = Set(files)
    for pair in parameter.split(separator: ",") {
      let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2 else { throw GeneratorError("\(pair): options are key=value") }
      switch (parts[0], parts[1]) {
      case ("emit", let value):
        guard let emit = Emit(rawValue: value) else { throw GeneratorError("emit is swift, c-module or docs, not \(value)") }
        self.emit = emit
      case ("visibility", "public"), ("visibility", "package"), ("visibility", "internal"): visibility = parts[1]
      case ("c_module", let value): cModule = value
      case ("swift_module", let value): swiftModule = value
      case ("import", let value): imports.append(value)
      case ("view", let value): views.insert(value)
      case ("events", let value): events = value == "true"
      default: throw GeneratorError("unknown option \(pair)")
      }
    }
  }

  /// By the option of the file, or by that of the caller for files that are not his.
  func takesView(_ method: Google_Protobuf_MethodDescriptorProto, of service: ServiceModel) -> Bool {
    if views.contains("\(service.fullName).\(method.name ?? "")") { return true }
    guard let options = method.options else { return false }
    return RawFields(options.unknownFields.bytes).numbers(50103).last == 1
  }

  func hasView(_ message: MessageModel) -> Bool {
    generated.contains(message.file.name) && (views.contains("all") || views.contains(message.fullName))
  }
}
