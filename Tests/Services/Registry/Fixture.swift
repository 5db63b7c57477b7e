import Foundation
import SpanwireSchema

@testable import SpanwireRegistry

enum Fixture {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// The product the day is played on.
  static var sample: String {
    get throws { try String(contentsOf: root.appending(path: "Samples/vienna-coffee-pass.yaml"), encoding: .utf8) }
  }

  /// Checks that find fault with a document titled "faulty" and with hours that say "sometimes".
  static let checks = BundleChecks(
    journeyDocument: { $0.title == "faulty" ? [("nodes[0].node_id", "is faulty")] : [] },
    openingHours: { $0.contains("sometimes") ? "no such rule" : nil })

  static func validated(_ yaml: String, existing: [DefinitionKey: Definition.Value] = [:]) -> BundleValidator {
    var validator = BundleValidator(bundle: BundleReader.read(yaml: yaml), existing: existing, checks: checks)
    validator.validate()
    return validator
  }

  static func existing(_ yaml: String) -> [DefinitionKey: Definition.Value] {
    Dictionary(BundleReader.read(yaml: yaml).definitions.map { ($0.key, $0.value) }) { first, _ in first }
  }
}
