import SpanwireRPC
import SpanwireSchema
import SpanwireWellKnown

/// flagd's evaluation service in its first version.
public struct FlagdEvaluationV1: Flagd_Evaluation_V1_ServiceService {
  private let server: FlagsServer

  public init(_ server: FlagsServer) { self.server = server }

  public func resolveBoolean(
    _ request: Flagd_Evaluation_V1_ResolveBooleanRequest, context: ServerContext
  ) async throws -> Flagd_Evaluation_V1_ResolveBooleanResponse {
    let found = try await server.resolve(request.flagKey, .boolean, request.context, context)
    return .init(value: found.bool ?? false, reason: found.reason, variant: found.variant ?? "", metadata: found.metadata)
  }

  public func resolveString(
    _ request: Flagd_Evaluation_V1_ResolveStringRequest, context: ServerContext
  ) async throws -> Flagd_Evaluation_V1_ResolveStringResponse {
    let found = try await server.resolve(request.flagKey, .string, request.context, context)
    return .init(value: found.string ?? "", reason: found.reason, variant: found.variant ?? "", metadata: found.metadata)
  }

  public func resolveFloat(
    _ request: Flagd_Evaluation_V1_ResolveFloatRequest, context: ServerContext
  ) async throws -> Flagd_Evaluation_V1_ResolveFloatResponse {
    let found = try await server.resolve(request.flagKey, .float, request.context, context)
    return .init(value: found.double ?? 0, reason: found.reason, variant: found.variant ?? "", metadata: found.metadata)
  }

  public func resolveInt(
    _ request: Flagd_Evaluation_V1_ResolveIntRequest, context: ServerContext
  ) async throws -> Flagd_Evaluation_V1_ResolveIntResponse {
    let found = try await server.resolve(request.flagKey, .integer, request.context, context)
    return .init(value: found.integer ?? 0, reason: found.reason, variant: found.variant ?? "", metadata: found.metadata)
  }

  public func resolveObject(
    _ request: Flagd_Evaluation_V1_ResolveObjectRequest, context: ServerContext
  ) async throws -> Flagd_Evaluation_V1_ResolveObjectResponse {
    let found = try await server.resolve(request.flagKey, .object, request.context, context)
    return .init(value: try found.object(), reason: found.reason, variant: found.variant ?? "", metadata: found.metadata)
  }

  /// Every flag that resolves to something; the others are left out.
  public func resolveAll(
    _ request: Flagd_Evaluation_V1_ResolveAllRequest, context: ServerContext
  ) async throws -> Flagd_Evaluation_V1_ResolveAllResponse {
    let set = try await server.flags(of: server.tenant(of: context)).set
    let asking = server.asking(request.context)
    var response = Flagd_Evaluation_V1_ResolveAllResponse(metadata: FlagValue.contract(set.metadata))
    for key in set.flags.keys.sorted() {
      guard let found = try? set.resolve(key, for: asking), let value = found.value else { continue }
      var flag = Flagd_Evaluation_V1_AnyFlag(
        reason: found.reason.rawValue, variant: found.variant ?? "", metadata: FlagValue.contract(found.metadata))
      switch value {
      case .bool(let value): flag.value = .boolValue(value)
      case .string(let value): flag.value = .stringValue(value)
      case .number(let value): flag.value = .doubleValue(value)
      case .object(let members): flag.value = .objectValue(FlagValue.contract(members))
      case .list, .null: continue
      }
      response.flags[key] = flag
    }
    return response
  }

  public func eventStream(
    _ request: Flagd_Evaluation_V1_EventStreamRequest, responses: ResponseWriter<Flagd_Evaluation_V1_EventStreamResponse>,
    context: ServerContext
  ) async throws {
    try await server.follow(try server.tenant(of: context), context) { now, before in
      try await responses.write(.init(type: FlagsServer.eventType(before), data: FlagsServer.eventData(now, before)))
    }
  }
}

/// flagd's evaluation service in its second version, which leaves out what there is not.
public struct FlagdEvaluationV2: Flagd_Evaluation_V2_ServiceService {
  private let server: FlagsServer

  public init(_ server: FlagsServer) { self.server = server }

  public func resolveBoolean(
    _ request: Flagd_Evaluation_V2_ResolveBooleanRequest, context: ServerContext
  ) async throws -> Flagd_Evaluation_V2_ResolveBooleanResponse {
    let found = try await server.resolve(request.flagKey, .boolean, request.context, context)
    return .init(value: found.bool, reason: found.reason, variant: found.variant, metadata: found.metadata)
  }

  public func resolveString(
    _ request: Flagd_Evaluation_V2_ResolveStringRequest, context: ServerContext
  ) async throws -> Flagd_Evaluation_V2_ResolveStringResponse {
    let found = try await server.resolve(request.flagKey, .string, request.context, context)
    return .init(value: found.string, reason: found.reason, variant: found.variant, metadata: found.metadata)
  }

  public func resolveFloat(
    _ request: Flagd_Evaluation_V2_ResolveFloatRequest, context: ServerContext
  ) async throws -> Flagd_Evaluation_V2_ResolveFloatResponse {
    let found = try await server.resolve(request.flagKey, .float, request.context, context)
    return .init(value: found.double, reason: found.reason, variant: found.variant, metadata: found.metadata)
  }

  public func resolveInt(
    _ request: Flagd_Evaluation_V2_ResolveIntRequest, context: ServerContext
  ) async throws -> Flagd_Evaluation_V2_ResolveIntResponse {
    let found = try await server.resolve(request.flagKey, .integer, request.context, context)
    return .init(value: found.integer, reason: found.reason, variant: found.variant, metadata: found.metadata)
  }

  public func resolveObject(
    _ request: Flagd_Evaluation_V2_ResolveObjectRequest, context: ServerContext
  ) async throws -> Flagd_Evaluation_V2_ResolveObjectResponse {
    let found = try await server.resolve(request.flagKey, .object, request.context, context)
    return .init(value: try found.object(), reason: found.reason, variant: found.variant, metadata: found.metadata)
  }

  public func eventStream(
    _ request: Flagd_Evaluation_V2_EventStreamRequest, responses: ResponseWriter<Flagd_Evaluation_V2_EventStreamResponse>,
    context: ServerContext
  ) async throws {
    try await server.follow(try server.tenant(of: context), context) { now, before in
      try await responses.write(.init(type: FlagsServer.eventType(before), data: FlagsServer.eventData(now, before)))
    }
  }
}

/// flagd's sync service: all flags at once, and again when they change, for evaluators inside clients.
public struct FlagdSync: Flagd_Sync_V1_FlagSyncServiceService {
  private let server: FlagsServer

  public init(_ server: FlagsServer) { self.server = server }

  public func syncFlags(
    _ request: Flagd_Sync_V1_SyncFlagsRequest, responses: ResponseWriter<Flagd_Sync_V1_SyncFlagsResponse>, context: ServerContext
  ) async throws {
    try await server.follow(try server.tenant(of: context), context) { now, _ in
      try await responses.write(.init(flagConfiguration: now.json, syncContext: Google_Protobuf_Struct()))
    }
  }

  public func fetchAllFlags(
    _ request: Flagd_Sync_V1_FetchAllFlagsRequest, context: ServerContext
  ) async throws -> Flagd_Sync_V1_FetchAllFlagsResponse {
    .init(flagConfiguration: try await server.flags(of: try server.tenant(of: context)).json)
  }

  public func getMetadata(
    _ request: Flagd_Sync_V1_GetMetadataRequest, context: ServerContext
  ) async throws -> Flagd_Sync_V1_GetMetadataResponse {
    _ = try server.tenant(of: context)
    return .init(metadata: Google_Protobuf_Struct())
  }
}

/// A resolved flag on its way into one of the responses.
struct ResolvedFlag {
  var value: FlagValue?
  var reason: String
  var variant: String?
  var metadata: Google_Protobuf_Struct

  var bool: Bool? { if case .bool(let value)? = value { value } else { nil } }
  var string: String? { if case .string(let value)? = value { value } else { nil } }
  var double: Double? { if case .number(let value)? = value { value } else { nil } }
  var integer: Int64? { double.flatMap(Int64.init(exactly:)) }

  /// A list is an object to OpenFeature, but flagd's message has no room for one.
  func object() throws -> Google_Protobuf_Struct? {
    switch value {
    case nil: return nil
    case .object(let members)?: return FlagValue.contract(members)
    case .some(let other): throw FlagError.typeMismatch(expected: .object, found: other.kind).status
    }
  }
}

extension FlagsServer {
  func resolve(
    _ key: String, _ type: FlagType, _ asking: Google_Protobuf_Struct?, _ context: ServerContext
  ) async throws -> ResolvedFlag {
    let set = try await flags(of: try tenant(of: context)).set
    do throws(FlagError) {
      let found = try set.resolve(key, as: type, for: self.asking(asking))
      return ResolvedFlag(
        value: found.value, reason: found.reason.rawValue, variant: found.value == nil ? nil : found.variant,
        metadata: FlagValue.contract(found.metadata))
    } catch {
      throw error.status
    }
  }

  static func eventType(_ before: FlagBook.Snapshot?) -> String { before == nil ? "provider_ready" : "configuration_change" }

  /// Which flags changed, and how.
  static func eventData(_ now: FlagBook.Snapshot, _ before: FlagBook.Snapshot?) -> Google_Protobuf_Struct? {
    guard let before else { return nil }
    var flags: [String: FlagValue] = [:]
    for change in now.set.changes(since: before.set) {
      let type =
        switch change.kind {
        case .added: "write"
        case .changed: "update"
        case .removed: "delete"
        }
      flags[change.key] = .object(["type": .string(type), "flagKey": .string(change.key)])
    }
    return FlagValue.contract(["flags": .object(flags)])
  }
}
