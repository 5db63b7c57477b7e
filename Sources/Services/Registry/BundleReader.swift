import SpanwireProtobuf
import SpanwireSchema
import Yams

/// A mistake in a bundle, or a doubt about it, with the place it stands at.
struct BundleProblem: Error, Hashable, Sendable {
  /// `product_versions[0].variants[1].grants[0].token_id`, in the contract's field names.
  var path: String
  /// Where in the YAML; nil for a bundle that came as a message.
  var line: Int?
  var text: String

  var description: String { line.map { "line \($0): \(text)" } ?? text }
}

/// A definition of a bundle, and where it was written.
struct LocatedDefinition: Sendable {
  var path: String
  var line: Int?
  var value: Definition.Value
  var key: DefinitionKey { value.key }
}

/// A definition that a bundle takes out, and where that was written.
struct LocatedRemoval: Sendable {
  var path: String
  var line: Int?
  var key: DefinitionKey
}

/// A bundle taken apart into its definitions. What could not be read is in `problems`, and named in `unread`, so that references to
/// it are not called unknown besides.
struct ReadBundle: Sendable {
  var bundleID = ""
  var definitions: [LocatedDefinition] = []
  var removals: [LocatedRemoval] = []
  var problems: [BundleProblem] = []
  var unread: Set<DefinitionKey> = []
}

/// Reads bundles: YAML definition by definition, so that every mistake is found and none hides another.
enum BundleReader {
  static func read(_ bundle: Bundle) -> ReadBundle {
    var read = ReadBundle(bundleID: bundle.bundleID)
    func add<M>(_ field: String, _ values: [M], _ wrap: (M) -> Definition.Value) {
      for (index, value) in values.enumerated() {
        read.definitions.append(LocatedDefinition(path: "\(field)[\(index)]", line: nil, value: wrap(value)))
      }
    }
    add("markets", bundle.markets) { .market($0) }
    add("products", bundle.products) { .product($0) }
    add("product_versions", bundle.productVersions) { .productVersion($0) }
    add("profiles", bundle.profiles) { .profile($0) }
    add("journey_documents", bundle.journeyDocuments) { .journeyDocument($0) }
    add("service_points", bundle.servicePoints) { .servicePoint($0) }
    add("tokens", bundle.tokens) { .token($0) }
    add("vendors", bundle.vendors) { .vendor($0) }
    add("experiments", bundle.experiments) { .experiment($0) }
    add("agents", bundle.agents) { .agent($0) }
    add("model_routes", bundle.modelRoutes) { .modelRoute($0) }
    add("flags", bundle.flags) { .flag($0) }
    add("policies", bundle.policies) { .policy($0) }
    add("roles", bundle.roles) { .role($0) }
    add("approval_matrix", bundle.approvalMatrix) { .approvalRow($0) }
    add("access_policies", bundle.accessPolicies) { .accessPolicy($0) }
    add("sla_targets", bundle.slaTargets) { .slaTarget($0) }
    for (index, name) in bundle.removals.enumerated() { remove(name, path: "removals[\(index)]", line: nil, into: &read) }
    return read
  }

  static func read(yaml text: String) -> ReadBundle {
    var read = ReadBundle()
    let root: Node
    do throws(YAMLDocument.Refusal) {
      root = try YAMLDocument(parsing: text).root
    } catch {
      read.problems.append(BundleProblem(path: "bundle_yaml", line: error.line, text: error.text))
      return read
    }
    guard case .mapping(let members) = root else {
      read.problems.append(BundleProblem(path: "bundle_yaml", line: root.line, text: "a bundle is a mapping of its fields"))
      return read
    }
    for (key, value) in members {
      guard let name = try? key.key() else {
        read.problems.append(BundleProblem(path: "bundle_yaml", line: key.line, text: "a key must be plain text"))
        continue
      }
      if let section = DefinitionSection.all.first(where: { $0.field == name }) {
        readSection(section, value, into: &read)
      } else if name == "removals" {
        readRemovals(value, into: &read)
      } else {
        readHead(name, value, line: key.line, into: &read)
      }
    }
    return read
  }

  /// A field of the bundle itself: its name, description, attributions.
  private static func readHead(_ name: String, _ value: Node, line: Int?, into read: inout ReadBundle) {
    guard ["bundle_id", "description", "attributions"].contains(name) else {
      read.problems.append(BundleProblem(path: name, line: line, text: "a bundle has no such field"))
      return
    }
    do {
      let head = try Bundle(jsonString: "{\(jsonQuoted(name)):\(try value.json())}")
      if name == "bundle_id" { read.bundleID = head.bundleID }
    } catch {
      read.problems.append(BundleProblem(path: name, line: line, text: (error as? JSONError)?.problem ?? "cannot be read"))
    }
  }

  /// The items of a list of the bundle; none for one that is left empty.
  private static func list(_ field: String, _ value: Node, into read: inout ReadBundle) -> [Node] {
    if case .scalar(let scalar) = value, ["", "~", "null"].contains(scalar.string) { return [] }
    guard case .sequence(let items) = value else {
      read.problems.append(BundleProblem(path: field, line: value.line, text: "must be a list"))
      return []
    }
    return Array(items)
  }

  /// `{kind: vendor, id: VND-1}`: kinds by the word that people use.
  private static func readRemovals(_ value: Node, into read: inout ReadBundle) {
    for (index, item) in list("removals", value, into: &read).enumerated() {
      let path = "removals[\(index)]"
      var fields: [String: String] = [:]
      guard case .mapping(let members) = item else {
        read.problems.append(BundleProblem(path: path, line: item.line, text: "must be a mapping of kind and id"))
        continue
      }
      for (key, value) in members {
        guard let name = try? key.key(), ["kind", "id"].contains(name), case .scalar(let scalar) = value else {
          read.problems.append(BundleProblem(path: path, line: key.line, text: "names its definition by kind and id, nothing else"))
          continue
        }
        fields[name] = scalar.string
      }
      let word = fields["kind"] ?? ""
      guard let kind = DefinitionKind(word: word) else {
        read.problems.append(BundleProblem(path: "\(path).kind", line: item.line, text: "\"\(word)\" is no kind of definition"))
        continue
      }
      remove(DefinitionName(kind: kind, id: fields["id"] ?? ""), path: path, line: item.line, into: &read)
    }
  }

  private static func remove(_ name: DefinitionName, path: String, line: Int?, into read: inout ReadBundle) {
    guard DefinitionSection.of(name.kind) != nil else {
      read.problems.append(BundleProblem(path: "\(path).kind", line: line, text: "must be a known kind of definition"))
      return
    }
    read.removals.append(LocatedRemoval(path: path, line: line, key: DefinitionKey(name.kind, name.id)))
  }

  private static func readSection(_ section: DefinitionSection, _ value: Node, into read: inout ReadBundle) {
    for (index, item) in list(section.field, value, into: &read).enumerated() {
      let path = "\(section.field)[\(index)]"
      guard case .mapping(let members) = item else {
        read.problems.append(BundleProblem(path: path, line: item.line, text: "must be a mapping of its fields"))
        continue
      }
      do {
        let json = try item.json(free: section.freeFields)
        read.definitions.append(LocatedDefinition(path: path, line: item.line, value: try section.decode(json)))
      } catch {
        read.problems += mistakes(in: members, of: section, path: path, whole: problem(error, path: path, line: item.line))
        for (key, value) in members {
          if case .scalar(let id) = value, (try? key.key()) == section.idField {
            read.unread.insert(DefinitionKey(section.kind, id.string))
          }
        }
      }
    }
  }

  /// Reads each field of a definition by itself, to tell every mistake in it and not only the first.
  private static func mistakes(
    in members: Node.Mapping, of section: DefinitionSection, path: String, whole: BundleProblem
  ) -> [BundleProblem] {
    var found: [BundleProblem] = []
    for (key, value) in members {
      guard let name = try? key.key() else { continue }
      do {
        _ = try section.decode("{\(jsonQuoted(name)):\(try value.json(isFree: section.freeFields.contains(name)))}")
      } catch {
        found.append(problem(error, path: path, field: name, line: value.line ?? key.line))
      }
    }
    return found.isEmpty ? [whole] : found
  }

  private static func problem(_ error: any Error, path: String, field: String = "", line: Int?) -> BundleProblem {
    let place = field.isEmpty ? path : "\(path).\(field)"
    if let error = error as? YAMLProblem { return BundleProblem(path: place, line: error.line ?? line, text: error.text) }
    guard let error = error as? JSONError else { return BundleProblem(path: place, line: line, text: "cannot be read") }
    guard !error.path.isEmpty else { return BundleProblem(path: place, line: line, text: error.problem) }
    return BundleProblem(path: "\(path).\(protoName(error.path))", line: line, text: error.problem)
  }

  /// A path in JSON names, in those of the contract: `settlementValue.micros` is `settlement_value.micros`.
  private static func protoName(_ path: String) -> String {
    path.reduce(into: "") { name, letter in
      if letter.isUppercase { name += "_" }
      name += letter.lowercased()
    }
  }
}
