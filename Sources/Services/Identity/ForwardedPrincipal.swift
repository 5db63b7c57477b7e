import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// For whom a node of the platform calls, as it says in the call's metadata.
struct ForwardedPrincipal {
  static let metadataName = "spanwire-principal-bin"

  let principal: Principal

  /// Nil when the metadata say nothing of it.
  init?(in metadata: Metadata) throws {
    let values = metadata[bytes: Self.metadataName]
    if values.isEmpty {
      // What does not decode as bytes is no absence.
      if metadata.names.contains(Self.metadataName) { throw Self.refusal("is no bytes") }
      return nil
    }
    guard values.count == 1, values[0].count <= IdentityLimits.forwardedBytes else { throw Self.refusal("is too much") }
    guard let said = try? CallingPrincipal(decoding: values[0]), let principal = Principal(said, depth: 1) else {
      throw Self.refusal("names nobody")
    }
    self.principal = principal
  }

  private static func refusal(_ problem: String) -> RPCError {
    .refusal(.unauthenticated, .forwardingRefused, "\(metadataName) \(problem)")
  }
}

extension Principal {
  /// The principal as the contract tells of it.
  var contract: CallingPrincipal {
    CallingPrincipal(
      kind: PrincipalKind(kind), principalID: id, tenantID: tenant, orgID: organization, roles: roles, segments: segments, scopes: scopes,
      onBehalfOf: onBehalfOf?.contract)
  }

  /// Nil for one that could not be.
  fileprivate convenience init?(_ said: CallingPrincipal, depth: Int) {
    guard depth <= IdentityLimits.forwardedDepth, let kind = said.kind == .service ? .service : Principal.Kind(said.kind),
      Identifier.isValid(said.principalID), said.tenantID.isEmpty ? kind == .service : Identifier.isValid(said.tenantID),
      said.orgID.isEmpty || Identifier.isValid(said.orgID),
      [said.roles, said.segments, said.scopes].allSatisfy({ $0.count <= IdentityLimits.roles && $0.allSatisfy(Identifier.isValid) })
    else { return nil }
    var behind: Principal?
    if let next = said.onBehalfOf {
      guard kind == .service, let found = Principal(next, depth: depth + 1) else { return nil }
      behind = found
    }
    self.init(
      kind: kind, id: said.principalID, tenant: said.tenantID, organization: said.orgID, roles: said.roles, scopes: said.scopes,
      segments: said.segments, surface: Surface(of: kind), onBehalfOf: behind)
  }
}

extension Principal.Kind {
  /// The kinds that a credential can be given out for.
  init?(_ kind: PrincipalKind) {
    switch kind {
    case .user: self = .user
    case .agent: self = .agent
    case .worker: self = .worker
    case .ops: self = .ops
    default: return nil
    }
  }
}

extension PrincipalKind {
  init(_ kind: Principal.Kind) { self.init(rawValue: Int32(kind.rawValue)) }
}
