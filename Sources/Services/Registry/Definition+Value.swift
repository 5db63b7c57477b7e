import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit

/// What names a definition inside a tenant.
struct DefinitionKey: Hashable, Comparable, Sendable {
  var kind: DefinitionKind
  var id: String

  static func < (left: DefinitionKey, right: DefinitionKey) -> Bool {
    (left.kind.rawValue, left.id) < (right.kind.rawValue, right.id)
  }

  /// `product_version/PRDV-…`, as events name it.
  var name: String { "\(kind.word)/\(id)" }

  init(_ kind: DefinitionKind, _ id: String) {
    self.kind = kind
    self.id = id
  }

  init?(name: some StringProtocol) {
    guard let slash = name.firstIndex(of: "/"), let kind = DefinitionKind(word: String(name[..<slash])) else { return nil }
    self.init(kind, String(name[name.index(after: slash)...]))
  }
}

extension DefinitionKind {
  /// As people and events call it: `product_version`.
  var word: String { DefinitionSection.of(self)?.word ?? "unspecified" }

  init?(word: String) {
    guard let section = DefinitionSection.all.first(where: { $0.word == word }) else { return nil }
    self = section.kind
  }

  /// Whether tenants without a definition of their own use the one that tenant `platform` shares. Places are each tenant's own: the
  /// city graph holds them by tenant.
  var isShared: Bool { self != .servicePoint }
}

extension Definition.Value {
  var key: DefinitionKey {
    switch self {
    case .market(let value): DefinitionKey(.market, value.marketCode)
    case .product(let value): DefinitionKey(.product, value.productID)
    case .productVersion(let value): DefinitionKey(.productVersion, value.productVersionID)
    case .profile(let value): DefinitionKey(.profile, value.profileID)
    case .journeyDocument(let value): DefinitionKey(.journeyDocument, value.journeyDocID)
    case .servicePoint(let value): DefinitionKey(.servicePoint, value.servicePointID)
    case .token(let value): DefinitionKey(.token, value.tokenID)
    case .vendor(let value): DefinitionKey(.vendor, value.vendorID)
    case .experiment(let value): DefinitionKey(.experiment, value.experimentKey)
    case .agent(let value): DefinitionKey(.agent, value.agentSlug)
    case .modelRoute(let value): DefinitionKey(.modelRoute, value.routeID)
    case .flag(let value): DefinitionKey(.flag, value.flagKey)
    case .policy(let value): DefinitionKey(.policy, value.policyID)
    case .role(let value): DefinitionKey(.role, value.roleKey)
    case .approvalRow(let value): DefinitionKey(.approvalRow, value.rowID)
    case .accessPolicy(let value): DefinitionKey(.accessPolicy, value.accessPolicyID)
    case .slaTarget(let value): DefinitionKey(.slaTarget, value.jobType)
    }
  }

  /// The message itself, for encoding and for comparing it field by field.
  var message: any Message {
    switch self {
    case .market(let value): value
    case .product(let value): value
    case .productVersion(let value): value
    case .profile(let value): value
    case .journeyDocument(let value): value
    case .servicePoint(let value): value
    case .token(let value): value
    case .vendor(let value): value
    case .experiment(let value): value
    case .agent(let value): value
    case .modelRoute(let value): value
    case .flag(let value): value
    case .policy(let value): value
    case .role(let value): value
    case .approvalRow(let value): value
    case .accessPolicy(let value): value
    case .slaTarget(let value): value
    }
  }

  /// SHA-256 of the encoded message, `sha256:…`.
  var contentHash: String { SHA256.name(of: message.encoded()) }

  /// The version that is published with it and immutable from then on; nil for kinds that may change in place. Of a product version
  /// the id itself names the version.
  var publishedVersion: String? {
    switch self {
    case .productVersion: ""
    case .journeyDocument(let value): value.version
    case .agent(let value): String(value.version)
    default: nil
    }
  }
}
