import SpanwireProtobuf
import SpanwireSchema

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
  /// The kinds there are, without `unspecified`.
  static let known: [DefinitionKind] = [
    .market, .product, .productVersion, .profile, .journeyDocument, .servicePoint, .token, .vendor, .experiment, .agent,
  ]

  var word: String {
    switch self {
    case .market: "market"
    case .product: "product"
    case .productVersion: "product_version"
    case .profile: "profile"
    case .journeyDocument: "journey_document"
    case .servicePoint: "service_point"
    case .token: "token"
    case .vendor: "vendor"
    case .experiment: "experiment"
    case .agent: "agent"
    default: "unspecified"
    }
  }

  init?(word: String) {
    guard let kind = Self.known.first(where: { $0.word == word }) else { return nil }
    self = kind
  }
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
    }
  }
}
