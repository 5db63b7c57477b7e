import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireServiceKit
import SpanwireWellKnown

/// Performs effects: each is a call of a generated method, made as its owner, for whom the owner acted when it wrote the effect.
struct EffectPerformer: Sendable {
  let local: LocalRouter

  func perform(_ effect: Effect) async throws -> [UInt8] {
    let parts = effect.method.split(separator: "/").map(String.init)
    guard parts.count == 2 else { throw RPCError.unimplemented("\(effect.method) is no method's path") }
    let method = MethodDescriptor(service: parts[0], name: parts[1], kind: .unary, inputType: "", outputType: "")
    // Nobody's wish is the platform's own, for the tenant.
    let subject =
      effect.subject ?? Principal(kind: .service, id: effect.owner, tenant: effect.tenant, surface: .internal)
    // Every field of a message is unknown to Empty, so it carries the bytes as they are.
    let request = Google_Protobuf_Empty(unknownFields: UnknownFields(bytes: effect.request))
    return try await CallContext.with(principal: subject, trace: effect.trace) {
      let response: Google_Protobuf_Empty = try await local.channel(as: effect.owner).unary(request, method, CallOptions())
      return response.unknownFields.bytes
    }
  }
}

extension Google_Protobuf_Empty {
  fileprivate init(unknownFields: UnknownFields) {
    self.init()
    self.unknownFields = unknownFields
  }
}
