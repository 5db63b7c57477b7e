/// A tool call that asks to be made.
struct ToolCall: Sendable, Hashable {
  var agentSlug: String
  var toolName: String
  /// The tool's tier.
  var tier: String
  var runID: String
  var sessionID: String
  var userID: String
  var orgID: String
  /// Empty: it stays inside.
  var targetURL: String

  /// The scopes of policies that the call falls into.
  var scopes: [String] {
    var scopes = ["global"]
    for (kind, value) in [("agent", agentSlug), ("tool", toolName), ("session", sessionID), ("user", userID), ("org", orgID)]
    where !value.isEmpty {
      scopes.append("\(kind):\(value)")
    }
    return scopes
  }
}
