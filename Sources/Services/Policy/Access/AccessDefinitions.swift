import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

/// What definitions say of access: one registry's, or the platform's with a tenant's own over them.
public struct AccessDefinitions: Sendable {
  private var policy: AccessPolicy?
  private var roles: [RoleDefinition] = []
  private var rows: [ApprovalRow] = []
  private var flags: [FlagDefinition] = []

  public init(_ definitions: [Definition.Value]) {
    for definition in definitions {
      switch definition {
      case .accessPolicy(let policy): self.policy = policy
      case .role(let role): roles.append(role)
      case .approvalRow(let row): rows.append(row)
      case .flag(let flag) where !flag.approvalRowID.isEmpty: flags.append(flag)
      default: break
      }
    }
  }

  /// A tenant's own hold where both have one of a name.
  public mutating func override(with own: AccessDefinitions) {
    policy = own.policy ?? policy
    roles += own.roles
    rows += own.rows
    flags += own.flags
  }

  /// The model they make; without any access policy, over what a platform starts with.
  public var model: AccessModel {
    if let policy { return AccessModel(policy, roles: roles, approvalMatrix: rows, flags: flags) }
    return AccessModel(
      AccessModel.standardPolicy, roles: AccessModel.standardRoles + roles, approvalMatrix: AccessModel.standardApprovalMatrix + rows,
      flags: flags)
  }

  /// The kinds that a model is made of.
  public static let kinds: [DefinitionKind] = [.accessPolicy, .role, .approvalRow, .flag]

  /// Each tenant's model, kept until its definitions or the platform's change.
  static func cache(_ registry: RegistryClient) -> DefinitionCache<AccessEvaluator> {
    @Sendable func definitions(of tenant: String) async throws -> AccessDefinitions {
      var found: [Definition.Value] = []
      for kind in kinds { found += try await registry.definitions(of: kind, tenant: tenant, as: PolicyServer.producer) }
      return AccessDefinitions(found)
    }
    return DefinitionCache(lifetime: PolicyLimits.policyLifetime, tenants: PolicyLimits.tenants) { tenant in
      var shared = try await definitions(of: Caller.platformTenant)
      if tenant != Caller.platformTenant { shared.override(with: try await definitions(of: tenant)) }
      return AccessEvaluator(model: shared.model)
    }
  }
}
