/// A version as semver.org writes it, compared as it says: numbers, then what stands before a release; what is said of its build does
/// not count.
struct SemanticVersion: Comparable {
  var numbers: [UInt64]
  var preRelease: [Substring] = []

  /// Nil unless it is one. A leading `v` and missing numbers (`v1.2`) are let pass.
  init?(_ text: String) {
    var text = Substring(text)
    if let first = text.first, first == "v" || first == "V" { text = text.dropFirst() }
    let core = text.prefix { $0 != "-" && $0 != "+" }
    var rest = text[core.endIndex...]
    var parts = core.split(separator: ".", omittingEmptySubsequences: false)
    while parts.count < 3 { parts.append("0") }
    guard parts.count == 3 else { return nil }
    numbers = []
    for part in parts {
      guard Self.isNumber(part), part == "0" || part.first != "0", let number = UInt64(part) else { return nil }
      numbers.append(number)
    }
    if rest.first == "-" {
      let identifiers = rest.dropFirst().prefix { $0 != "+" }
      rest = rest[identifiers.endIndex...]
      preRelease = identifiers.split(separator: ".", omittingEmptySubsequences: false)
      guard preRelease.allSatisfy({ Self.isIdentifier($0) && (!Self.isNumber($0) || $0 == "0" || $0.first != "0") }) else { return nil }
    }
    if rest.first == "+" {
      guard rest.dropFirst().split(separator: ".", omittingEmptySubsequences: false).allSatisfy(Self.isIdentifier) else { return nil }
      rest = ""
    }
    guard rest.isEmpty else { return nil }
  }

  private static func isNumber(_ text: Substring) -> Bool { !text.isEmpty && text.utf8.allSatisfy { (48...57).contains($0) } }

  private static func isIdentifier(_ text: Substring) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 45 }
  }

  static func < (a: Self, b: Self) -> Bool {
    if a.numbers != b.numbers { return a.numbers.lexicographicallyPrecedes(b.numbers) }
    if a.preRelease.isEmpty || b.preRelease.isEmpty { return !a.preRelease.isEmpty && b.preRelease.isEmpty }
    for (one, other) in zip(a.preRelease, b.preRelease) where one != other {
      switch (isNumber(one), isNumber(other)) {
      case (true, true): return (one.count, String(one)) < (other.count, String(other))
      case (true, false): return true
      case (false, true): return false
      case (false, false): return one.utf8.lexicographicallyPrecedes(other.utf8)
      }
    }
    return a.preRelease.count < b.preRelease.count
  }

  /// flagd's `sem_ver`; nil where one of the versions is none, or the relation is unknown.
  static func holds(_ a: String, _ relation: String, _ b: String) -> Bool? {
    guard let a = SemanticVersion(a), let b = SemanticVersion(b) else { return nil }
    return switch relation {
    case "=": a == b
    case "!=": a != b
    case "<": a < b
    case "<=": a <= b
    case ">": a > b
    case ">=": a >= b
    case "^": a.numbers[0] == b.numbers[0]
    case "~": a.numbers[..<2] == b.numbers[..<2]
    default: nil
    }
  }
}
