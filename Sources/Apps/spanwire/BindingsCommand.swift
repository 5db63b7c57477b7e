import ArgumentParser
import SpanwireRPC
import SpanwireSchema

struct BindingsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bindings", abstract: "The roles of principals, and the client certificates that are theirs.",
    discussion: """
      A binding adds roles and segments to a principal, whatever it proves itself by. One with --certificate also says that this \
      client certificate is the principal's; since certificates prove the same in every tenant, only platform_admin binds them.
      """,
    subcommands: [BindingsList.self, BindingsCreate.self, BindingsDelete.self], defaultSubcommand: BindingsList.self)
}

struct BindingsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List bindings, oldest first.")

  @OptionGroup var options: PrincipalListOptions

  func run() async throws {
    try await options.show(["BINDING", "PRINCIPAL", "ROLES", "SEGMENTS", "CERTIFICATE"], row: \RoleBinding.cells) {
      let answer = try await $0.listRoleBindings(
        ListRoleBindingsRequest(tenantID: options.tenant.tenant, principalID: options.principal, pageSize: $1, pageToken: $2))
      return (answer.bindings, answer.nextPageToken)
    }
  }
}

struct BindingsCreate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "create", abstract: "Give a principal roles, segments or a certificate.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var tenant: TenantOption
  @OptionGroup var principal: PrincipalOptions
  @Option(help: "A name of its client certificate: uri:…, email:…, dns:…, ip:… or subject:CN=….") var certificate: String = ""
  @Option(help: "For how many hours; for ever when none are given.") var hours: Int?
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let identity = IdentityClient(try await connection.channel())
      let (kind, id) = try principal.chosen()
      let binding = try await identity.createRoleBinding(
        CreateRoleBindingRequest(
          idempotencyKey: idempotencyKey ?? newIdempotencyKey(), tenantID: tenant.tenant, kind: kind, principalID: id,
          certificateName: certificate, orgID: principal.org, roles: principal.roles, segments: principal.segments,
          ttl: hours.map { .init(seconds: Int64($0) * 3_600) }))
      if json { return try printJSON(binding) }
      print(binding.cells.map(printable).joined(separator: "  "))
    }
  }
}

struct BindingsDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "delete", abstract: "Take a binding away; it counts no more at once.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var tenant: TenantOption
  @Argument(help: "The binding's id, BIND-….") var id: String
  @OptionGroup var change: ChangeOptions

  func run() async throws {
    try await reportingFailures {
      let identity = IdentityClient(try await connection.channel())
      let binding = try await identity.deleteRoleBinding(
        DeleteRoleBindingRequest(idempotencyKey: change.key, tenantID: tenant.tenant, bindingID: id, reason: change.reason))
      if change.json { return try printJSON(binding) }
      print("deleted \(printable(binding.bindingID))")
    }
  }
}

extension RoleBinding {
  fileprivate var cells: [String] {
    [
      bindingID, principalName(kind, principalID), roles.joined(separator: ", "), segments.joined(separator: ", "), certificateName,
    ]
  }
}
