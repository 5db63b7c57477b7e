/// What a field counts as when it is absent, if its contract says so (proto2): `nameOrDefault` beside `name`.
extension SwiftFile {
  func defaults(_ message: MessageModel, _ out: inout Output) {
    for field in message.fields {
      guard let property = field.defaultName, let literal = defaultLiteral(field) else { continue }
      let name = SwiftName.declared(field.swiftName)
      out.line("/// `\(field.swiftName)`, or what its absence stands for.")
      out.block("\(access)var \(property): \(valueType(field))") { out in
        if let oneof = field.oneof {
          out.line("if case .\(name)(let value)? = self.\(SwiftName.declared(oneof.swiftName)) { value } else { \(literal) }")
        } else {
          out.line("self.\(name) ?? \(literal)")
        }
      }
    }
  }

  /// The default as Swift, from the form that descriptors have.
  private func defaultLiteral(_ field: FieldModel) -> String? {
    guard let text = field.proto.defaultValue else { return nil }
    switch field.proto.type {
    case .string?: return text.swiftLiteral
    case .bytes?: return "[" + text.unescapedBytes.map(String.init).joined(separator: ", ") + "]"
    case .enum?: return field.enumeration!.caseName(of: text).map { "." + $0 }
    case .double?, .float?:
      return switch text {
      case "inf": ".infinity"
      case "-inf": "-.infinity"
      case "nan": ".nan"
      default: text
      }
    default: return text
    }
  }
}

extension EnumModel {
  /// The Swift case of a value of the file.
  fileprivate func caseName(of protoName: String) -> String? {
    numbers[protoName].flatMap { number in cases.first { $0.number == number }?.name }
  }
}

extension String {
  /// As a literal of Swift, whatever it contains.
  fileprivate var swiftLiteral: String {
    var out = "\""
    for scalar in unicodeScalars {
      switch scalar {
      case "\"", "\\": out += "\\\(scalar)"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F: out += "\\u{\(String(scalar.value, radix: 16))}"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }

  /// The bytes behind C's escapes, in which descriptors write them: `\n`, `\r`, `\t`, `\"`, `\'`, `\\`, and three octal digits.
  fileprivate var unescapedBytes: [UInt8] {
    var out: [UInt8] = []
    var rest = utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\"), let escaped = rest.popFirst() else {
        out.append(byte)
        continue
      }
      switch escaped {
      case UInt8(ascii: "n"): out.append(10)
      case UInt8(ascii: "r"): out.append(13)
      case UInt8(ascii: "t"): out.append(9)
      case UInt8(ascii: "0")...UInt8(ascii: "7"):
        let digits = [escaped] + rest.prefix(2)
        rest = rest.dropFirst(2)
        out.append(digits.reduce(0) { $0 &<< 3 | ($1 - UInt8(ascii: "0")) })
      default: out.append(escaped)
      }
    }
    return out
  }
}
