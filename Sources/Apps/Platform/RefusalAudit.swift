import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// Writes refused calls into the audit: who wanted what, and the rule that stood against it.
struct RefusalAudit: Sendable {
  /// Refusals audited a second: a caller that is refused a million times is told of often enough, and must not fill the log.
  static let perSecond = 50

  let environment: ServiceEnvironment
  private let window = SecondWindow()

  init(environment: ServiceEnvironment) { self.environment = environment }

  func record(_ context: ServerContext, rule: String) async {
    let subject = context.principal.subject
    guard !subject.tenant.isEmpty, window.admits(environment.clock.now) else { return }
    let actor = "\(context.principal.kind):\(context.principal.id)"
    let payload = AuditRecorded(
      action: context.method.name, target: context.method.service, actor: actor, actorKind: "\(context.principal.kind)", decision: "deny",
      rule: rule, reason: "the method is not open to this caller", method: context.method.path)
    let now = environment.clock.now
    let trace = context.trace
    // The refusal stands whether or not it can be told of.
    _ = try? await environment.database.transaction("audit a refusal") { transaction in
      try transaction.append(
        EventDraft(payload, producer: ServiceNames.prg, tenant: subject.tenant, occurredAt: now, trace: trace), environment)
    }
  }

  /// Counts within the second.
  private final class SecondWindow: Sendable {
    private let state = Mutex<(second: Int64, count: Int)>((0, 0))

    func admits(_ now: Int64) -> Bool {
      state.withLock { state in
        let second = now / 1_000_000_000
        if second != state.second { state = (second, 0) }
        state.count += 1
        return state.count <= RefusalAudit.perSecond
      }
    }
  }
}
