extension SwiftFile {
  /// `Place.View`: the message, read where the decoder put it. Only for messages that the caller asked views of.
  func view(_ message: MessageModel, _ out: inout Output) {
    for each in message.nested where !each.isMapEntry { view(each, &out) }
    guard options.hasView(message) else { return }
    out.block("extension \(message.swiftPath)") { out in
      out.line("/// An immutable `\(message.swiftPath)` that is read where the decoder put it.")
      out.block("\(access)struct View: \(name("MessageView"))") { out in
        out.line("\(access)typealias Value = \(message.swiftPath)")
        out.line("\(access)let decoded: \(name("DecodedMessage"))")
        out.line("\(access)init(decoded: \(name("DecodedMessage"))) { self.decoded = decoded }")
        var oneofs: Set<Int> = []
        for field in message.fields {
          if let oneof = field.oneof {
            if oneofs.insert(oneof.index).inserted { self.oneof(oneof, of: message, &out) }
          } else {
            self.property(field, of: message, &out)
          }
        }
        defaults(message, &out)
        out.line("\(access)var unknownFields: \(name("UnknownFields")) {")
        out.line("  decoded.read(as: \(CName.type(message.fullName)).self) { c in \(name("CField")).unknownFields(c) }")
        out.line("}")
      }
    }
    out.line()
  }

  private func property(_ field: FieldModel, of message: MessageModel, _ out: inout Output) {
    out.documentation(file.comments[field.path])
    let start = "decoded.read(as: \(CName.type(message.fullName)).self)"
    let declared = SwiftName.declared(field.swiftName == "decoded" ? "decoded_p" : field.swiftName)
    let member = "c.pointee.\(field.cName)"
    if let target = field.message, !field.isMap, options.hasView(target) {
      let view = target.swiftPath + ".View"
      if field.isRepeated {
        out.block("\(access)var \(declared): [\(view)]") { out in
          out.block("\(start) { c in (0..<c.pointee.n_\(field.cName)).compactMap") { out in
            out.line("decoded.submessage(UnsafeRawPointer(\(member)[$0])).map(\(view).init(decoded:))")
          }
          out.line("}")
        }
      } else {
        out.block("\(access)var \(declared): \(view)?") { out in
          out.line("decoded.submessage(\(start) { c in UnsafeRawPointer(\(member)) }).map(\(view).init(decoded:))")
        }
      }
      return
    }
    out.block("\(access)var \(declared): \(type(field))") { out in
      out.line("\(start) { c in \(read(field, boxed: false)) }")
    }
  }

  private func oneof(_ oneof: OneofModel, of message: MessageModel, _ out: inout Output) {
    out.documentation(file.comments[oneof.path])
    out.block("\(access)var \(SwiftName.declared(oneof.swiftName)): \(message.swiftPath).\(oneof.swiftType)?") { out in
      let type = "\(message.swiftPath).\(oneof.swiftType)?"
      out.block("decoded.read(as: \(CName.type(message.fullName)).self)") { out in
        out.line("c -> \(type) in")
        out.line("switch c.pointee.\(oneof.cName).rawValue {")
        for field in oneof.fields {
          out.line("case \(field.number): return .\(SwiftName.declared(field.swiftName))(\(readMember(field)))")
        }
        out.line("default: return nil")
        out.line("}")
      }
    }
  }
}
