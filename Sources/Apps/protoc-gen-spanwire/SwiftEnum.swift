extension SwiftFile {
  func enumeration(_ each: EnumModel, _ out: inout Output) {
    out.documentation(documentation(each.path, fullName: each.fullName))
    out.block("\(access)enum \(each.swiftName): \(name("MessageEnum")), CaseIterable") { out in
      for value in each.cases {
        out.documentation(file.comments[value.path])
        out.line("case \(SwiftName.declared(value.name))")
      }
      out.line("/// A number that this build has no name for.")
      out.line("case unrecognized(\(name("Int32")))")
      for alias in each.aliases {
        out.documentation(file.comments[alias.path])
        out.line("\(access)static var \(SwiftName.declared(alias.name)): Self { .\(alias.of.name) }")
      }
      out.line()
      out.block("\(access)init(rawValue: \(name("Int32")))") { out in
        out.line("switch rawValue {")
        for value in each.cases { out.line("case \(value.number): self = .\(value.name)") }
        out.line("default: self = .unrecognized(rawValue)")
        out.line("}")
      }
      out.line()
      out.block("\(access)var rawValue: \(name("Int32"))") { out in
        out.line("switch self {")
        for value in each.cases { out.line("case .\(value.name): \(value.number)") }
        out.line("case .unrecognized(let number): number")
        out.line("}")
      }
      out.line()
      out.line("/// Every value that has a name.")
      out.line("\(access)static let allCases: [Self] = [\(each.cases.map { "." + $0.name }.joined(separator: ", "))]")
    }
    out.line()
  }

  /// The file's own words, or the full name for want of them.
  func documentation(_ path: [Int], fullName: String) -> [String] {
    let lines = file.comments[path]
    return lines.isEmpty ? ["`\(fullName)`"] : lines
  }
}
