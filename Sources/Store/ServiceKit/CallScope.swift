import SpanwireRPC

/// What a credential lets its bearer call at all, whatever the bearer may do besides: scopes of keys and tokens that say so.
///
/// Names of services and methods have dots, `spanwire.events.v1.Events` and `spanwire.events.v1.Events.Subscribe`; other scopes, such as the
/// slugs of agents, are no matter of calls.
public enum CallScope {
  /// Only methods without side effects, as their contracts say of them.
  public static let readOnly = "read-only"

  /// Whether a scope limits calls.
  public static func isOne(_ scope: String) -> Bool { scope == readOnly || scope.contains(".") }

  /// Whether a credential with these scopes may call a method. Those that name what may be called add up; `read-only` takes away.
  public static func admit(_ method: MethodDescriptor, _ scopes: [String]) -> Bool {
    if scopes.contains(readOnly), !method.noSideEffects { return false }
    let named = scopes.filter { $0.contains(".") }
    return named.isEmpty || named.contains { $0 == method.service || $0 == "\(method.service).\(method.name)" }
  }
}
