/// Who calls, as established by a credential and never by what the caller says of itself.
///
/// Immutable and shared by reference: a connection or a token makes it once, and every call passes it on for nothing.
public final class Principal: Sendable, Hashable {
  /// What sort of caller this is.
  public enum Kind: UInt8, Sendable, Hashable, CaseIterable {
    /// No credential.
    case anonymous = 1
    case user = 2
    case agent = 3
    case worker = 4
    case ops = 5
    /// Another service of the platform.
    case service = 6
  }

  /// What sort of caller this is.
  public let kind: Kind
  /// Which of its kind and tenant; empty for the anonymous.
  public let id: String
  /// The tenant whose data it may see; empty for none.
  public let tenant: String
  /// The organisation within the tenant; empty for none.
  public let organization: String
  /// What the credential lets it be.
  public let roles: [String]
  /// What the credential allows beyond its kind: scopes, slugs of agents or profiles.
  public let scopes: [String]
  /// The groups of customers it belongs to, as its credential says.
  public let segments: [String]
  /// The side of the platform it came in by.
  public let surface: Surface
  /// Whom a service acts for, when it passes on the identity of the call that it serves.
  public let onBehalfOf: Principal?

  /// A caller, as its credential says.
  public init(
    kind: Kind, id: String, tenant: String = "", organization: String = "", roles: [String] = [], scopes: [String] = [],
    segments: [String] = [], surface: Surface, onBehalfOf: Principal? = nil
  ) {
    self.kind = kind
    self.id = id
    self.tenant = tenant
    self.organization = organization
    self.roles = roles
    self.scopes = scopes
    self.segments = segments
    self.surface = surface
    self.onBehalfOf = onBehalfOf
  }

  /// A caller without a credential, from outside.
  public static let anonymous = Principal(kind: .anonymous, id: "", surface: .edge)

  /// A service of the platform, acting for itself or for somebody.
  public static func service(_ id: String, onBehalfOf: Principal? = nil) -> Principal {
    Principal(kind: .service, id: id, tenant: onBehalfOf?.tenant ?? "", surface: .internal, onBehalfOf: onBehalfOf)
  }

  /// The one whose wish this is: behind any number of services, the principal that came from outside; otherwise itself.
  public var subject: Principal {
    var subject = self
    while let next = subject.onBehalfOf { subject = next }
    return subject
  }

  /// Equal when all parts are.
  public static func == (left: Principal, right: Principal) -> Bool {
    left === right
      || left.kind == right.kind && left.id == right.id && left.tenant == right.tenant && left.organization == right.organization
        && left.roles == right.roles && left.scopes == right.scopes
        && left.segments == right.segments && left.surface == right.surface && left.onBehalfOf == right.onBehalfOf
  }

  /// Hashes kind, id and tenant.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(kind)
    hasher.combine(id)
    hasher.combine(tenant)
  }
}

extension Principal: CustomStringConvertible {
  /// `user:USR-0001`, with those it acts for.
  public var description: String {
    onBehalfOf.map { "\(kind):\(id) for \($0)" } ?? "\(kind):\(id)"
  }
}

/// The side of the platform that a call comes in by.
public enum Surface: UInt8, Sendable, Hashable, CaseIterable {
  /// Travellers and their clients.
  case edge = 1
  /// Operators: console, CLI.
  case ops = 2
  /// Agents and workers.
  case worker = 3
  /// Another service of the platform: in process, or by a node's certificate.
  case `internal` = 4
}
