import SpanwireWellKnown

extension SwiftFile {
  func service(_ service: ServiceModel, _ out: inout Output) {
    let methods = service.proto.method.enumerated().map { MethodModel($1, in: service, model: model, path: service.path + [2, $0]) }
    namespace(service, methods, &out)
    implementation(service, methods, &out)
    client(service, methods, &out)
  }

  private func namespace(_ service: ServiceModel, _ methods: [MethodModel], _ out: inout Output) {
    out.documentation(documentation(service.path, fullName: service.fullName))
    out.block("\(access)enum \(service.swiftName)") { out in
      out.line("/// The file that declares the service, for reflection.")
      out.line("\(access)static var file: \(name("GeneratedFile")) { \(file.constant) }")
      out.line("\(access)static let descriptor = \(name("ServiceDescriptor"))(")
      out.line("  fullName: \(service.fullName.quoted),")
      out.line("  methods: [\(methods.map { "Methods.\($0.swiftName)" }.joined(separator: ", "))])")
      out.line()
      out.block("\(access)enum Methods") { out in
        for method in methods {
          out.line("\(access)static let \(SwiftName.declared(method.swiftName)) = \(name("MethodDescriptor"))(")
          out.line("  service: \(service.fullName.quoted), name: \(method.name.quoted), kind: .\(method.kind),")
          var last = "  inputType: \(method.input.fullName.quoted), outputType: \(method.output.fullName.quoted)"
          if let exposure = exposure(method) {
            out.line(last + ",")
            last = "  exposure: \(exposure)"
          }
          switch method.proto.options?.idempotencyLevel {
          case .noSideEffects?: last += ", noSideEffects: true"
          case .idempotent?: last += ", isIdempotent: true"
          default: break
          }
          out.line(last + ")")
        }
      }
      out.line()
      out.line("/// The implementation, ready for a server or for calls in process.")
      let parameter = methods.isEmpty ? "_: some" : "_ implementation: some"
      out.block("\(access)static func routes(\(parameter) \(service.swiftName)Service) -> \(name("ServiceRoutes"))") { out in
        out.line("\(name("ServiceRoutes"))(descriptor, [")
        for method in methods {
          let call = "implementation.\(method.swiftName)"
          let handler =
            switch method.kind {
            case "unary": "try $0.respond(await \(call)($0.request(), context: $0.context))"
            case "serverStreaming": "try await \(call)($0.request(), responses: $0.responses(), context: $0.context)"
            case "clientStreaming": "try $0.respond(await \(call)($0.requests(), context: $0.context))"
            default: "try await \(call)($0.requests(), responses: $0.responses(), context: $0.context)"
            }
          out.line("  \(name("MethodRoute"))(Methods.\(method.swiftName)) { \(handler) },")
        }
        out.line("])")
      }
    }
    out.line()
  }

  private func implementation(_ service: ServiceModel, _ methods: [MethodModel], _ out: inout Output) {
    out.line("/// What an implementation of `\(service.fullName)` does.")
    out.block("\(access)protocol \(service.swiftName)Service: Sendable") { out in
      for method in methods {
        out.documentation(file.comments[method.path])
        let context = "context: \(name("ServerContext"))) async throws"
        let input = method.input.swiftPath + (options.takesView(method.proto, of: service) ? ".View" : "")
        let requests = "_ requests: \(name("RequestStream"))<\(input)>"
        let responses = "responses: \(name("ResponseWriter"))<\(method.output.swiftPath)>"
        let signature =
          switch method.kind {
          case "unary": "_ request: \(input), \(context) -> \(method.output.swiftPath)"
          case "serverStreaming": "_ request: \(input), \(responses), \(context)"
          case "clientStreaming": "\(requests), \(context) -> \(method.output.swiftPath)"
          default: "\(requests), \(responses), \(context)"
          }
        out.line("nonisolated(nonsending) func \(SwiftName.declared(method.swiftName))(\(signature)")
      }
    }
    out.line()
  }

  private func client(_ service: ServiceModel, _ methods: [MethodModel], _ out: inout Output) {
    out.line("/// Calls `\(service.fullName)` over a channel.")
    out.block("\(access)struct \(service.swiftName)Client: Sendable") { out in
      out.line("private let channel: any \(name("Channel"))")
      out.line()
      out.line("\(access)init(_ channel: any \(name("Channel"))) { self.channel = channel }")
      for method in methods {
        let input = method.input.swiftPath
        let output = method.output.swiftPath
        let options = "options: \(name("CallOptions")) = \(name("CallOptions"))()"
        let descriptor = "\(service.swiftName).Methods.\(method.swiftName)"
        let (parameters, result, call) =
          switch method.kind {
          case "unary": ("_ request: \(input), \(options)", output, "unary(request, \(descriptor), options)")
          case "serverStreaming":
            (
              "_ request: \(input), \(options)", "\(name("ResponseStream"))<\(output)>",
              "serverStreaming(request, \(descriptor), options)"
            )
          case "clientStreaming":
            (
              "\(options), _ send: nonisolated(nonsending) (\(name("RequestWriter"))<\(input)>) async throws -> Void", output,
              "clientStreaming(\(descriptor), options, send)"
            )
          default: (options, "\(name("BidirectionalCall"))<\(input), \(output)>", "bidirectional(\(descriptor), options)")
          }
        out.line()
        out.documentation(file.comments[method.path])
        out.block("\(access)nonisolated(nonsending) func \(SwiftName.declared(method.swiftName))(\(parameters)) async throws -> \(result)")
        { out in
          out.line("try await channel.\(call)")
        }
      }
    }
    out.line()
  }

  /// The `spanwire.options.v1.access` option, which a method of other people's services does not have.
  private func exposure(_ method: MethodModel) -> String? {
    guard let options = method.proto.options, let access = RawFields(options.unknownFields.bytes).messages(50101).last else { return nil }
    let surfaceNames: [UInt64: String] = [1: ".edge", 2: ".ops", 3: ".worker", 4: ".internal"]
    let principalNames: [UInt64: String] = [1: ".anonymous", 2: ".user", 3: ".agent", 4: ".worker", 5: ".ops", 6: ".service"]
    let surfaces = access.numbers(1).compactMap { surfaceNames[$0] }.joined(separator: ", ")
    let principals = access.numbers(2).compactMap { principalNames[$0] }.joined(separator: ", ")
    var call = "\(name("MethodExposure"))(surfaces: [\(surfaces)], principals: [\(principals)]"
    let services = access.strings(3)
    if !services.isEmpty { call += ", services: [\(services.map(\.quoted).joined(separator: ", "))]" }
    if let rule = access.strings(4).last, !rule.isEmpty { call += ", agentRule: \(rule.quoted)" }
    return call + ")"
  }
}

/// One method.
struct MethodModel {
  let proto: Google_Protobuf_MethodDescriptorProto
  let name: String
  let swiftName: String
  let input: MessageModel
  let output: MessageModel
  let path: [Int]

  init(_ proto: Google_Protobuf_MethodDescriptorProto, in service: ServiceModel, model: Model, path: [Int]) {
    self.proto = proto
    self.path = path
    name = proto.name ?? ""
    let camel = SwiftName.lowerCamel(name)
    swiftName = ["init", "self"].contains(camel) ? camel + "_p" : camel
    // protoc has resolved both.
    input = model.messages[String((proto.inputType ?? "").drop { $0 == "." })]!
    output = model.messages[String((proto.outputType ?? "").drop { $0 == "." })]!
  }

  /// The case of `MethodKind`.
  var kind: String {
    switch (proto.clientStreaming ?? false, proto.serverStreaming ?? false) {
    case (false, false): "unary"
    case (false, true): "serverStreaming"
    case (true, false): "clientStreaming"
    case (true, true): "bidirectional"
    }
  }
}
