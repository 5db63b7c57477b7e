import Foundation
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwirePlatform

/// What becomes of streams, and of calls, whose credential is not what it was: over the wire, as callers see it.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct OpenStreamTests {
  private static let root = "dev:ops:root:platform:platform_admin"

  private final class Site {
    let platform: Platform
    let channel: HTTP2Channel
    private let folder: URL

    init() async throws {
      folder = FileManager.default.temporaryDirectory.appending(path: "streams-\(UUID().uuidString)")
      platform = try await Platform.start(PlatformOptions(dataFolder: folder.path, listen: "127.0.0.1:0", isDevelopment: true))
      channel = try HTTP2Channel(#require(ChannelTarget(platform.address)))
      _ = try await identity.createTenant(
        CreateTenantRequest(idempotencyKey: "T", tenantID: "vienna", displayName: "Vienna"), options: Self.bearer(OpenStreamTests.root))
    }

    var identity: IdentityClient { IdentityClient(channel) }

    static func bearer(_ token: String) -> CallOptions {
      var options = CallOptions()
      options.metadata.set("authorization", "Bearer \(token)")
      return options
    }

    func key(
      _ name: String, kind: PrincipalKind = .ops, roles: [String] = ["ops_lead"], scopes: [String] = []
    ) async throws -> CreateApiKeyResponse {
      try await identity.createApiKey(
        CreateApiKeyRequest(
          idempotencyKey: "K-\(name)", tenantID: "vienna", kind: kind, principalID: name, roles: roles, scopes: scopes),
        options: Self.bearer(OpenStreamTests.root))
    }

    func stop() async {
      await channel.close()
      await platform.stop(grace: .seconds(1))
      try? FileManager.default.removeItem(at: folder)
    }
  }

  /// What a stream ends with that is open and has been answered.
  private func ending(of next: () async throws -> Bool) async -> RPCError? {
    do {
      while try await next() {}
      return nil
    } catch {
      return RPCError.outcome(of: error, in: nil)
    }
  }

  @Test("A suspended tenant's subscriptions and workers, and a revoked key's, end at once with the reason; others' go on")
  func ended() async throws {
    let site = try await Site()
    let (held, kept) = (try await site.key("olga"), try await site.key("otto"))
    let worker = try await site.key("w-1", kind: .worker, roles: ["w-1"])
    func subscribe(_ token: String) async throws -> any ClientCall {
      let call = try await site.channel.start(Events.Methods.subscribe, Site.bearer(token))
      _ = try call.send(SubscribeRequest(filter: EventFilter(types: ["policy.approval.*"])))
      call.finishSending()
      // History has come: it is open.
      _ = try await call.receive(SubscribeResponse.self)
      return call
    }
    func happen(_ key: String) async throws {
      _ = try await PolicyClient(site.channel).requestApproval(
        RequestApprovalRequest(idempotencyKey: key, category: "admin_flag_access", reason: "to be heard of"),
        options: Site.bearer(kept.secret))
    }
    try await happen("A")
    let (first, second) = (try await subscribe(held.secret), try await subscribe(kept.secret))
    let attached = try await site.channel.start(AgentWorker.Methods.attach, Site.bearer(worker.secret))
    _ = try attached.send(AttachRequest(kind: .registration(WorkerRegistration(workerID: "w-1", agentSlugs: ["w-1"]))))
    _ = try await attached.receive(AttachResponse.self)

    _ = try await site.identity.revokeApiKey(
      RevokeApiKeyRequest(idempotencyKey: "R", tenantID: "vienna", keyID: held.key?.keyID ?? "", reason: "left"),
      options: Site.bearer(Self.root))
    let revoked = await ending { try await first.receive(SubscribeResponse.self) != nil }
    #expect(revoked?.code == .unauthenticated && revoked?.reason == .credentialRefused, "\(String(describing: revoked))")
    // The other hears of what happens, and so is open still.
    try await happen("B")
    #expect(try await second.receive(SubscribeResponse.self) != nil)

    _ = try await site.identity.setTenantState(
      SetTenantStateRequest(idempotencyKey: "S", tenantID: "vienna", state: .suspended, reason: "unpaid"),
      options: Site.bearer(Self.root))
    for (name, outcome) in [
      ("subscription", await ending { try await second.receive(SubscribeResponse.self) != nil }),
      ("worker", await ending { try await attached.receive(AttachResponse.self) != nil }),
    ] {
      #expect(outcome?.code == .unauthenticated && outcome?.reason == .tenantSuspended, "\(name): \(String(describing: outcome))")
    }
    await site.stop()
  }

  @Test("A key calls nothing outside of its scopes, and with read-only nothing that changes anything; the refusal names the rule")
  func scopes() async throws {
    let site = try await Site()
    let events = try await site.key("e", scopes: ["spanwire.events.v1.Events", "spanwire.policy.v1.Policy.ListBudgets"])
    let reader = try await site.key("r", scopes: [CallScope.readOnly])
    let (log, policy) = (EventsClient(site.channel), PolicyClient(site.channel))
    func code(_ call: () async throws -> Void) async -> RPCError? {
      do {
        try await call()
        return nil
      } catch {
        return RPCError.outcome(of: error, in: nil)
      }
    }
    let approve = RequestApprovalRequest(idempotencyKey: "A", category: "admin_flag_access", reason: "to try")
    for (name, key, list, budgets, approvals, change) in [
      ("by service and method", events, true, true, false, false), ("read-only", reader, true, true, true, false),
    ] {
      let options = Site.bearer(key.secret)
      for (method, isAdmitted, refusal) in [
        ("ListEvents", list, await code { _ = try await log.listEvents(ListEventsRequest(pageSize: 1), options: options) }),
        ("ListBudgets", budgets, await code { _ = try await policy.listBudgets(ListBudgetsRequest(), options: options) }),
        ("ListApprovals", approvals, await code { _ = try await policy.listApprovals(ListApprovalsRequest(), options: options) }),
        ("RequestApproval", change, await code { _ = try await policy.requestApproval(approve, options: options) }),
      ] {
        if isAdmitted {
          #expect(refusal == nil, "\(name), \(method): \(String(describing: refusal))")
        } else {
          #expect(
            refusal?.code == .permissionDenied && refusal?.reason == .outsideScope
              && refusal?.reasonMetadata("rule") == ExposureGate.scopeRule, "\(name), \(method): \(String(describing: refusal))")
        }
      }
    }
    await site.stop()
  }
}
