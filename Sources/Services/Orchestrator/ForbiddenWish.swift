/// What a message asks an agent to do that no agent may: the honest answer is to say so aloud, as a requested action to be refused.
struct ForbiddenWish: Hashable, Sendable {
  /// `payment`, `issue`, `redeem`, `registry_change` or `lem_mutation`.
  var action: String
  /// The words that gave it away.
  var words: String

  /// The first wish in a message; nil when it asks for nothing forbidden.
  ///
  /// Whole words of English are looked for, in an order that lets "redeem what I bought" be about redeeming. Asking *about* such an
  /// action ("how do I pay?") asks for an explanation and not for the deed.
  init?(in message: String) {
    let words = message.lowercased().split { !$0.isLetter && $0 != "'" }.map(String.init)
    guard !words.isEmpty, !Self.asksAbout(words) else { return nil }
    for (action, verbs, objects) in Self.signs {
      guard let verb = words.first(where: verbs.contains) else { continue }
      if objects.isEmpty {
        (self.action, self.words) = (action, verb)
        return
      }
      if let object = words.first(where: objects.contains) {
        (self.action, self.words) = (action, "\(verb) \(object)")
        return
      }
    }
    return nil
  }

  private static func asksAbout(_ words: [String]) -> Bool {
    guard let first = words.first else { return false }
    if ["how", "what", "why", "when", "where", "which", "who"].contains(first) { return true }
    return words.count > 2 && ["can", "may", "do", "does", "is", "are"].contains(first) && ["i", "we", "it", "there"].contains(words[1])
  }

  /// Actions with their verbs, and the objects without which a common verb means nothing.
  private static let signs: [(action: String, verbs: Set<String>, objects: Set<String>)] = [
    ("redeem", ["redeem", "redeeming", "spend"], []),
    ("payment", ["pay", "charge", "refund", "buy", "purchase", "settle"], []),
    (
      "issue", ["issue", "grant", "gift", "add", "give", "compensate"],
      ["token", "tokens", "coffee", "coffees", "entitlement", "entitlements", "pass", "voucher", "vouchers", "credit", "credits", "free"]
    ),
    (
      "registry_change", ["change", "edit", "update", "raise", "lower", "delete", "remove", "publish", "set"],
      ["price", "prices", "product", "products", "profile", "profiles", "registry", "limit", "limits", "version", "variant", "experiment"]
    ),
    (
      "lem_mutation", ["block", "unblock", "close", "open", "reopen", "move"],
      ["café", "cafe", "cafés", "cafes", "place", "places", "sight", "museum", "stop", "shop", "bar"]
    ),
  ]
}
