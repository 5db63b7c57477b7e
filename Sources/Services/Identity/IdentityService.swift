import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// The identity service: which tenants there are, which roles principals have, and the credentials given out and taken back.
///
/// Administrators of the tenant `platform` make tenants and act in any of them; those of a tenant act in their own.
public final class IdentityServer: IdentityService {
  let environment: ServiceEnvironment

  /// The service's name in events.
  public static let producer = "identity"

  public init(environment: ServiceEnvironment) { self.environment = environment }

  public func whoAmI(_ request: WhoAmIRequest, context: ServerContext) async throws -> CallingPrincipal {
    context.principal.contract
  }

  // MARK: Tenants

  public func createTenant(_ request: CreateTenantRequest, context: ServerContext) async throws -> Tenant {
    let step = try step(context)
    try step.requirePlatform()
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.tenantID, "tenant_id")
    fields.text(request.displayName, "display_name", max: IdentityLimits.labelLetters)
    try fields.finish()
    let tenant = Tenant(
      tenantID: request.tenantID, displayName: request.displayName, state: .active, createdAt: step.time, changedAt: step.time,
      changedBy: step.caller.name)
    return try await change("identity.create_tenant", request.idempotencyKey, request, context, step) { tx in
      if try IdentityStore.tenant(tenant.tenantID, in: tx) != nil {
        throw RPCError.refusal(.alreadyExists, .tenantExists, "there is a tenant \(tenant.tenantID)")
      }
      try IdentityStore.put(tenant, in: tx)
      try step.audit("tenant.create", tenant.tenantID, reason: tenant.displayName, in: tx)
      return tenant
    }
  }

  public func getTenant(_ request: GetTenantRequest, context: ServerContext) async throws -> Tenant {
    let step = try step(context)
    let id = try step.reading(request.tenantID)
    let found = try await environment.database.read { try IdentityStore.tenant(id, in: $0) }
    guard let found else { throw RPCError.missing(.tenantNotFound, "there is no tenant \(id)") }
    return found
  }

  public func listTenants(_ request: ListTenantsRequest, context: ServerContext) async throws -> ListTenantsResponse {
    let step = try step(context)
    try step.requirePlatform(Caller.platformRoles)
    var fields = Validation()
    fields.known(request.state, "state")
    let size = pageSize(request.pageSize, &fields)
    try fields.finish()
    let after = try PageToken.decode(request.pageToken)
    let rows = try await environment.database.scan {
      try IdentityStore.tenants(state: request.state, after: after, size: size + 1, in: $0)
    }
    return ListTenantsResponse(
      tenants: Array(rows.prefix(size)), nextPageToken: rows.count > size ? PageToken.encode(rows[size - 1].tenantID) : "")
  }

  public func setTenantState(_ request: SetTenantStateRequest, context: ServerContext) async throws -> Tenant {
    let step = try step(context)
    try step.requirePlatform()
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.tenantID, "tenant_id")
    fields.given(request.state, "state")
    fields.text(request.reason, "reason", max: IdentityLimits.reasonLetters)
    try fields.finish()
    guard request.tenantID != Caller.platformTenant else {
      throw RPCError.refusal(.failedPrecondition, .invalidFields, "the platform's own tenant is always active")
    }
    return try await change("identity.set_tenant_state", request.idempotencyKey, request, context, step) { tx in
      guard var tenant = try IdentityStore.tenant(request.tenantID, in: tx) else {
        throw RPCError.missing(.tenantNotFound, "there is no tenant \(request.tenantID)")
      }
      if tenant.state == request.state { return tenant }
      (tenant.state, tenant.reason, tenant.changedBy, tenant.changedAt) = (request.state, request.reason, step.caller.name, step.time)
      try IdentityStore.put(tenant, in: tx)
      try step.audit(request.state == .suspended ? "tenant.suspend" : "tenant.resume", tenant.tenantID, reason: request.reason, in: tx)
      return tenant
    }
  }

  // MARK: Inside

  /// Forgets, from time to time, the revocations of tokens that have expired themselves.
  public func purge() async throws {
    let now = environment.clock.now
    while try await environment.database.transaction("identity.purge", { try IdentityStore.purge(before: now, in: $0) }).value
      == IdentityLimits.purgeBatch
    {}
  }

  func step(_ context: ServerContext) throws -> IdentityStep {
    IdentityStep(
      caller: try Caller(context), now: environment.clock.now, trace: context.trace, method: context.method.path, environment: environment)
  }

  func pageSize(_ asked: UInt32, _ fields: inout Validation) -> Int {
    fields.pageSize(asked, default: IdentityLimits.defaultPage, max: IdentityLimits.page)
  }

  /// A page of what a tenant has, for who may look at it, and the token of the next.
  ///
  /// - Parameter read: reads what comes after an id, up to so many, of a tenant.
  func page<Row: Sendable>(
    of named: String, _ principal: String, _ asked: UInt32, _ token: String, _ context: ServerContext, id: (Row) -> String,
    _ read: @escaping @Sendable (_ after: String, _ size: Int, _ tenant: String, borrowing Snapshot) throws -> [Row]
  ) async throws -> ([Row], next: String) {
    let tenant = try step(context).reading(named)
    var fields = Validation()
    fields.optionalID(principal, "principal_id")
    let size = pageSize(asked, &fields)
    try fields.finish()
    let after = try PageToken.decode(token)
    let rows = try await environment.database.scan { try read(after, size + 1, tenant, $0) }
    return (Array(rows.prefix(size)), rows.count > size ? PageToken.encode(id(rows[size - 1])) : "")
  }

  /// A change that is made once for its idempotency key.
  func change<Response: Message>(
    _ name: StaticString, _ key: String, _ request: some Message, _ context: ServerContext, _ step: IdentityStep,
    _ body: @escaping @Sendable (borrowing Transaction) throws -> Response
  ) async throws -> Response {
    let key = IdempotencyKey(key, request, context)
    return try await environment.database.transaction(name) { tx in try tx.once(key, at: step.now) { try body(tx) } }.value
  }
}

extension IDPrefix {
  static let roleBinding: IDPrefix = "BIND"
  static let apiKey: IDPrefix = "KEY"
}
