/// The flags of a verb as gRPC's interoperability tests write them: `--name=value` or `--name value`.
struct InteropFlags {
  /// A flag that cannot be understood.
  struct Misuse: Error, CustomStringConvertible {
    let description: String
  }

  /// One flag: what it is called, what stands for it in the help, and what it means.
  struct Flag {
    let name: String
    let value: String
    let meaning: String

    init(_ name: String, _ value: String, _ meaning: String) {
      self.name = name
      self.value = value
      self.meaning = meaning
    }
  }

  private var values: [String: String] = [:]

  /// Reads a command line; names may stand with one dash or two, words with `_` or `-` between.
  init(_ arguments: some Collection<String>, known: [Flag]) throws(Misuse) {
    var rest = Array(arguments)[...]
    while let argument = rest.popFirst() {
      let text = argument.drop { $0 == "-" }
      guard text.count < argument.count else { throw Misuse(description: "\(argument) is no flag") }
      let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let name = String(parts[0].map { $0 == "-" ? "_" : $0 })
      guard known.contains(where: { $0.name == name }) else { throw Misuse(description: "\(argument) is unknown") }
      if parts.count == 2 {
        values[name] = parts[1]
      } else if let value = rest.first, !value.hasPrefix("--") {
        values[name] = value
        rest.removeFirst()
      } else {
        values[name] = "true"
      }
    }
  }

  /// What a flag was given; nil when it was not, or was left empty.
  subscript(_ name: String) -> String? { values[name].flatMap { $0.isEmpty ? nil : $0 } }

  /// Whether a flag is set; `true`, `false`, `1` and `0` are understood.
  func bool(_ name: String) throws(Misuse) -> Bool {
    switch values[name]?.lowercased() {
    case nil, "false", "0": return false
    case "true", "1": return true
    case .some(let other): throw Misuse(description: "--\(name) is true or false, not \(other)")
    }
  }

  /// A number of zero or more.
  func number(_ name: String, default fallback: Int) throws(Misuse) -> Int {
    guard let text = self[name] else { return fallback }
    guard let number = Int(text), (0...Int(Int32.max)).contains(number) else {
      throw Misuse(description: "--\(name) is a number, not \(text)")
    }
    return number
  }

  /// The port of a name; one that is missing is misuse.
  func port(_ name: String) throws(Misuse) -> UInt16 {
    guard let text = self[name] else { throw Misuse(description: "--\(name) is missing") }
    guard let port = UInt16(text) else { throw Misuse(description: "--\(name) is a port, not \(text)") }
    return port
  }
}
