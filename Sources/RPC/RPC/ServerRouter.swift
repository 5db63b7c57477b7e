import SpanwireProtobuf

/// Everything that a server serves: it finds the method of a path and runs calls through the interceptors to their handlers.
///
/// Immutable once made, shared by all transports: the same router answers over HTTP/2 and in process.
public final class ServerRouter: Sendable {
  /// The services, as they were given.
  public let services: [ServiceDescriptor]
  /// Who learns of calls; nil for nobody.
  public let observer: (any CallObserver)?
  /// How large messages may be.
  public let limits: MessageLimits
  let interceptors: [any ServerInterceptor]

  private let routes: [MethodRoute]
  /// Paths one after the other, and where each ends.
  private let paths: [[UInt8]]
  /// Open addressing: index into `routes` + 1, 0 for an empty slot. At most half full.
  private let slots: [UInt16]
  private let mask: Int

  /// Two services of one name, or two methods of one path, are a programming error.
  public init(
    _ services: [ServiceRoutes], interceptors: [any ServerInterceptor] = [], observer: (any CallObserver)? = nil,
    limits: MessageLimits = .default
  ) {
    self.services = services.map(\.descriptor)
    self.observer = observer
    self.limits = limits
    self.interceptors = interceptors
    routes = services.flatMap(\.methods)
    paths = routes.map { Array($0.method.path.utf8) }
    precondition(Set(paths).count == paths.count, "two methods of one path")
    precondition(paths.count < Int(UInt16.max))
    var size = 16
    while size < paths.count * 2 { size *= 2 }
    mask = size - 1
    var slots = [UInt16](repeating: 0, count: size)
    for (index, path) in paths.enumerated() {
      var slot = path.withUnsafeBytes(Self.hash) & mask
      while slots[slot] != 0 { slot = (slot + 1) & mask }
      slots[slot] = UInt16(index + 1)
    }
    self.slots = slots
  }

  /// The route of `/package.Service/Method`; nil when nobody serves it.
  public func route(of path: String) -> MethodRoute? {
    var path = path
    return path.withUTF8 { route(of: UnsafeRawBufferPointer($0)) }
  }

  /// As `route(of:)`, from header bytes.
  package func route(of path: UnsafeRawBufferPointer) -> MethodRoute? {
    var slot = Self.hash(path) & mask
    while slots[slot] != 0 {
      let index = Int(slots[slot]) - 1
      if paths[index].count == path.count, path.elementsEqual(paths[index]) { return routes[index] }
      slot = (slot + 1) & mask
    }
    return nil
  }

  /// FNV-1a. The set of paths is ours and at most half the slots are taken, so a caller gains nothing by collisions but a short probe.
  private static func hash(_ path: UnsafeRawBufferPointer) -> Int {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in path { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return Int(truncatingIfNeeded: (hash ^ hash >> 32) & 0x7FFF_FFFF)
  }

  /// The answer to a path that nobody serves: UNIMPLEMENTED, for an unknown service as for an unknown method.
  public func refusal(ofPath path: String) -> RPCError {
    .unimplemented("unknown method \(path)")
  }

  /// Runs a call to its end. Never throws: the result is what the call ended with, nil for OK. Trailers stand in the context.
  ///
  /// The handler runs in the calling task, so a transport chooses the executor and cancels that task together with the context. The way to it
  /// stays on the caller's executor: a function that does not would ask the task for its own at every step.
  public nonisolated(nonsending) func serve(_ route: MethodRoute, _ call: any ServerCall) async -> RPCError? {
    guard let observer else { return await run(route, call) }
    let start = Deadline.now()
    observer.callStarted(CallStart(side: .server, method: route.method, trace: call.context.trace, start: start))
    let outcome = await run(route, call)
    let context = call.context
    observer.callEnded(
      CallRecord(
        side: .server, method: route.method, trace: context.trace, peer: context.peer.address, principal: context.principal,
        error: outcome, start: start, end: .now(), traffic: call.traffic))
    return outcome
  }

  private nonisolated(nonsending) func run(_ route: MethodRoute, _ call: any ServerCall) async -> RPCError? {
    let context = call.context
    // The deadline may have passed while the call waited its turn: then the handler never runs.
    if context.deadline != .never, context.deadline.hasPassed { context.cancel(.deadlineExceeded) }
    if let code = context.cancellationCode { return RPCError(code) }
    return await CallContext.$current.withValue(context) {
      do {
        if interceptors.isEmpty {
          try await route.body(call)
        } else {
          try await NextServerHandler(interceptors: interceptors, index: 0, body: route.body)(call)
        }
        // A handler that did not notice its cancellation has not answered in time all the same.
        return context.cancellationCode.map { RPCError($0) }
      } catch {
        return RPCError.outcome(of: error, in: context)
      }
    }
  }
}
