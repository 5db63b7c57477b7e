import ArgumentParser
import SpanwireRPC
import SpanwireSchema

struct TenantsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tenants", abstract: "The tenants of the platform: list, create, suspend, resume.",
    discussion: """
      It takes a credential of the tenant 'platform' with the role platform_admin. Every credential of a suspended tenant is refused, \
      whatever it is; nothing of its data changes.
      """,
    subcommands: [TenantsList.self, TenantsShow.self, TenantsCreate.self, TenantsSuspend.self, TenantsResume.self],
    defaultSubcommand: TenantsList.self)
}

struct TenantsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List tenants by their ids.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions
  @Flag(help: "Only suspended ones.") var suspended = false

  func run() async throws {
    try await reportingFailures {
      let identity = IdentityClient(try await connection.channel())
      var request = ListTenantsRequest(state: suspended ? .suspended : .unspecified)
      let (found, next) = try await page.collect { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let answer = try await identity.listTenants(request)
        return (answer.tenants, answer.nextPageToken)
      }
      try page.show(found, next: next, ["TENANT", "STATE", "NAME", "REASON"]) { [$0.tenantID, "\($0.state)", $0.displayName, $0.reason] }
    }
  }
}

struct TenantsShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one tenant.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The tenant's id; the credential's own when none is named.") var id: String = ""
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      try show(try await IdentityClient(try await connection.channel()).getTenant(GetTenantRequest(tenantID: id)), json: json)
    }
  }
}

struct TenantsCreate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "create", abstract: "Create a tenant, whose credentials then count.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "Its id, as credentials name it.") var id: String
  @Option(help: "What people call it.") var name: String
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let identity = IdentityClient(try await connection.channel())
      try show(
        try await identity.createTenant(
          CreateTenantRequest(idempotencyKey: idempotencyKey ?? newIdempotencyKey(), tenantID: id, displayName: name)), json: json)
    }
  }
}

struct TenantsSuspend: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "suspend", abstract: "Refuse every credential of a tenant from now on.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The tenant's id.") var id: String
  @OptionGroup var change: ChangeOptions

  func run() async throws { try await set(.suspended, of: id, change, over: connection) }
}

struct TenantsResume: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "resume", abstract: "Admit a suspended tenant's credentials again.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The tenant's id.") var id: String
  @OptionGroup var change: ChangeOptions

  func run() async throws { try await set(.active, of: id, change, over: connection) }
}

private func set(_ state: TenantState, of id: String, _ change: ChangeOptions, over connection: ConnectionOptions) async throws {
  try await reportingFailures {
    let identity = IdentityClient(try await connection.channel())
    try show(
      try await identity.setTenantState(
        SetTenantStateRequest(idempotencyKey: change.key, tenantID: id, state: state, reason: change.reason)), json: change.json)
  }
}

private func show(_ tenant: Tenant, json: Bool) throws {
  if json { return try printJSON(tenant) }
  print("\(printable(tenant.tenantID))  \(tenant.state)  \(printable(tenant.displayName))")
  if !tenant.reason.isEmpty { print("  \(printable(tenant.changedBy)): \(printable(tenant.reason))") }
}
