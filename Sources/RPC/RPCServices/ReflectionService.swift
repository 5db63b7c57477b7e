import SpanwireProtobuf
import SpanwireRPC

/// Server reflection: a server tells of its own services and types, so that tools can call what they have no code for.
///
/// Clients in the field still ask version v1alpha; both say the same.
public enum ReflectionService {
  /// - Parameters:
  ///   - services: what the server serves, as it is listed; reflection itself is listed too.
  ///   - files: the generated files that declare them. What they import comes along.
  public static func routes(services: [ServiceDescriptor], files: [GeneratedFile]) -> [ServiceRoutes] {
    let pool = DescriptorPool(files: files + [Grpc_Reflection_V1_ServerReflection.file, Grpc_Reflection_V1alpha_ServerReflection.file])
    let own = [Grpc_Reflection_V1_ServerReflection.descriptor, Grpc_Reflection_V1alpha_ServerReflection.descriptor]
    let index = ReflectionIndex(pool: pool, services: (services + own).map(\.fullName).sorted())
    return [
      Grpc_Reflection_V1_ServerReflection.routes(ReflectionServiceV1(index: index)),
      Grpc_Reflection_V1alpha_ServerReflection.routes(ReflectionServiceV1alpha(index: index)),
    ]
  }
}
