import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Refuses, before the request is decoded, every call whose method is not open to its caller, and names the rule in the refusal.
struct ExposureGate: ServerInterceptor {
  let exposure: ExposureInterceptor

  /// The rules of refusals that no agent rule covers.
  static let kindRule = "EXPOSURE-KIND"
  static let surfaceRule = "EXPOSURE-SURFACE"
  /// The rule by which a key or a token with scopes is refused what lies outside of them.
  static let scopeRule = "CREDENTIAL-SCOPE"

  func intercept(_ call: any ServerCall, next: NextServerHandler) async throws {
    let context = call.context
    guard var refusal = exposure.refusal(of: context.principal, by: context.method) else {
      // What is open to everybody, health and reflection, needs no credential, and so none that names it.
      let scopes = context.method.exposure == nil ? [] : context.principal.scopes
      if scopes.isEmpty || CallScope.admit(context.method, scopes) { return try await next(call) }
      throw RPCError.denied(
        .outsideScope, rule: Self.scopeRule,
        "\(context.method.path) is outside of the credential's scopes: \(scopes.filter(CallScope.isOne).joined(separator: ", "))")
    }
    let rule = Self.rule(for: context.principal, method: context.method)
    let info = Google_Rpc_ErrorInfo(
      reason: reason(of: refusal, rule).wireName, domain: RPCError.reasonDomain, metadata: ["rule": rule, "method": context.method.path])
    refusal.details.append(Google_Protobuf_Any(packing: info))
    throw refusal
  }

  private func reason(of refusal: RPCError, _ rule: String) -> Reason {
    if refusal.code == .unauthenticated { return .unauthenticated }
    return rule.hasPrefix("AGENT-") ? .agentForbidden : .methodNotExposed
  }

  /// The rule that refuses this caller this method.
  static func rule(for caller: Principal, method: MethodDescriptor) -> String {
    guard let exposure = method.exposure else { return surfaceRule }
    let isAgent = caller.kind == .agent || caller.kind == .worker || (caller.kind == .service && caller.id == ServiceNames.ao)
    if isAgent, !exposure.agentRule.isEmpty { return exposure.agentRule }
    return exposure.principals.rawValue & (1 << caller.kind.rawValue) == 0 ? kindRule : surfaceRule
  }
}
