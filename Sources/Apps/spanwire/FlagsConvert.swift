import ArgumentParser
import SpanwireWellKnown

struct FlagsConvert: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert", abstract: "Print a file of flagd's flags as a bundle for the registry.",
    discussion: """
      Shared rules ($evaluators) are put where they are referred to, and the metadata of the set are given to each flag. Example:
        spanwire flags convert flags.flagd.json | spanwire registry apply - --reason "flags of the old platform"
      """)

  @Argument(help: "The file, in flagd's JSON; - reads standard input.") var file: String
  @Option(help: "What the bundle is called.") var bundleID: String = "BND-FLAGD"

  func run() async throws {
    try await reportingFailures {
      let text = try readText(file)
      guard let content = try? Google_Protobuf_Struct(jsonString: text) else { throw CheckFailed(message: "\(file) is no JSON object") }
      try printJSON(try FlagdFile(content).bundle(named: bundleID))
    }
  }
}

/// A file of flags as flagd reads it (flagd.dev/schema/v0/flags.json).
struct FlagdFile {
  /// Rules that refer to rules go no deeper; flagd itself goes one.
  private static let depth = 16

  private let content: Google_Protobuf_Struct
  private let evaluators: Google_Protobuf_Struct

  init(_ content: Google_Protobuf_Struct) {
    self.content = content
    evaluators = content.object("$evaluators") ?? Google_Protobuf_Struct()
  }

  /// The flags in the words of a bundle.
  func bundle(named id: String) throws -> Google_Protobuf_Struct {
    let flags = (content.object("flags") ?? Google_Protobuf_Struct()).members.sorted { $0.key < $1.key }
    return Google_Protobuf_Struct([
      "bundle_id": .text(id),
      "flags": Google_Protobuf_Value(
        kind: .listValue(Google_Protobuf_ListValue(values: try flags.map { .object(try flag($0.key, $0.value)) }))),
    ])
  }

  private func flag(_ key: String, _ value: Google_Protobuf_Value) throws -> Google_Protobuf_Struct {
    guard case .structValue(let members)? = value.kind else { throw CheckFailed(message: "flags.\(key) is no object") }
    var flag = Google_Protobuf_Struct(["flag_key": .text(key)])
    switch members.fields["state"]?.kind {
    case .stringValue("ENABLED")?: flag.fields["enabled"] = Google_Protobuf_Value(kind: .boolValue(true))
    case .stringValue("DISABLED")?: flag.fields["enabled"] = Google_Protobuf_Value(kind: .boolValue(false))
    default: throw CheckFailed(message: "flags.\(key).state must be ENABLED or DISABLED")
    }
    if let variants = members.fields["variants"] { flag.fields["variants"] = variants }
    switch members.fields["defaultVariant"]?.kind {
    case .stringValue(let name)?: flag.fields["default_variant"] = .text(name)
    case .boolValue(let value)?: flag.fields["default_variant"] = .text("\(value)")
    default: break
    }
    if let targeting = members.object("targeting"), !targeting.fields.isEmpty {
      flag.fields["targeting"] = try resolved(.object(targeting), of: key, Self.depth)
    }
    var metadata = content.object("metadata") ?? Google_Protobuf_Struct()
    for (name, value) in members.object("metadata")?.members ?? [] { metadata.fields[name] = value }
    if !metadata.fields.isEmpty { flag.fields["metadata"] = .object(metadata) }
    return flag
  }

  /// A rule with the shared ones in their places.
  private func resolved(_ rule: Google_Protobuf_Value, of key: String, _ left: Int) throws -> Google_Protobuf_Value {
    guard left > 0 else { throw CheckFailed(message: "flags.\(key): rules refer to each other in a circle, or too deep") }
    switch rule.kind {
    case .structValue(let object)?:
      if object.fields.count == 1, case .stringValue(let name)? = object.fields["$ref"]?.kind {
        guard let shared = evaluators.fields[name] else { throw CheckFailed(message: "flags.\(key): there is no evaluator \(name)") }
        return try resolved(shared, of: key, left - 1)
      }
      return .object(Google_Protobuf_Struct(try object.members.map { ($0.key, try resolved($0.value, of: key, left)) }))
    case .listValue(let list)?:
      return Google_Protobuf_Value(
        kind: .listValue(Google_Protobuf_ListValue(values: try list.values.map { try resolved($0, of: key, left) })))
    default: return rule
    }
  }
}

extension Google_Protobuf_Struct {
  fileprivate init(_ members: some Sequence<(String, Google_Protobuf_Value)>) {
    self.init()
    for (name, value) in members { fields[name] = value }
  }

  fileprivate init(_ members: KeyValuePairs<String, Google_Protobuf_Value>) { self.init(members.map { ($0.key, $0.value) }) }

  fileprivate var members: [(key: String, value: Google_Protobuf_Value)] { fields.map { ($0.key, $0.value) } }

  fileprivate func object(_ name: String) -> Google_Protobuf_Struct? {
    if case .structValue(let object)? = fields[name]?.kind { object } else { nil }
  }
}

extension Google_Protobuf_Value {
  fileprivate static func text(_ text: String) -> Self { Google_Protobuf_Value(kind: .stringValue(text)) }
  fileprivate static func object(_ object: Google_Protobuf_Struct) -> Self { Google_Protobuf_Value(kind: .structValue(object)) }
}
