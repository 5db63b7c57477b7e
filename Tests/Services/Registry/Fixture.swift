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

  /// What tenant platform shares.
  static var platform: String {
    get throws { try String(contentsOf: root.appending(path: "Samples/platform.yaml"), encoding: .utf8) }
  }

  /// Checks that find fault with a document titled "faulty", with hours that say "sometimes", with every clock but two, and with a rule
  /// of more than one operation.
  static let checks = BundleChecks(
    journeyDocument: { $0.title == "faulty" ? [("nodes[0].node_id", "is faulty")] : [] },
    openingHours: { $0.contains("sometimes") ? "no such rule" : nil },
    timeZone: { ["Europe/Vienna", "Europe/Rome"].contains($0) },
    targeting: { $0.fields.pairs.count > 1 ? "no such rule" : nil })

  static func validated(_ yaml: String, content: RegistryContent = RegistryContent()) -> BundleValidator {
    var validator = BundleValidator(bundle: BundleReader.read(yaml: yaml), content: content, checks: checks)
    validator.validate()
    return validator
  }

  static func definitions(_ yaml: String) -> [DefinitionKey: Definition.Value] {
    Dictionary(BundleReader.read(yaml: yaml).definitions.map { ($0.key, $0.value) }) { first, _ in first }
  }

  /// A registry that holds a bundle, and has published what is in it.
  static func content(_ yaml: String, tenant: String = "vienna") -> RegistryContent {
    var content = RegistryContent(tenant: tenant, own: definitions(yaml))
    for (key, value) in content.own {
      if let version = value.publishedVersion { content.published[PublishedVersion(key: key, version: version)] = value.contentHash }
    }
    return content
  }
}
