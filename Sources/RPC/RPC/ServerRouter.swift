import Glibc
import SpanwireProtobuf

/// Everything that a server serves: it finds the method of a path and runs calls through the interceptors to their handlers.
///
/// Immutable once made, shared by all transports: the same router answers over HTTP/2 and in process.
public final class ServerRouter: @unchecked Sendable {
  // Sendable: nothing changes after `init`; what stands behind pointers is freed with the object.

  /// The services, as they were given.
  public let services: [ServiceDescriptor]
  /// Who learns of calls; nil for nobody.
  public let observer: (any CallObserver)?
  /// How large messages may be.
  public let limits: MessageLimits

  /// The observer behind a pointer, so that a call copies nothing of it.
  private let listener: UnsafeMutablePointer<any CallObserver>?
  private let routes: [MethodRoute]
  /// Each route with the bytes of its path. Behind pointers, so that a search counts no reference.
  private let places: UnsafeMutablePointer<(path: UnsafeRawBufferPointer, route: Unmanaged<MethodRoute>)>
  /// Open addressing: index into `routes` + 1, 0 for an empty slot. At most half full.
  private let slots: UnsafeMutablePointer<UInt16>
  private let mask: Int

  /// Two services of one name, or two methods of one path, are a programming error.
  public init(
    _ services: [ServiceRoutes], interceptors: [any ServerInterceptor] = [], observer: (any CallObserver)? = nil,
    limits: MessageLimits = .default
  ) {
    self.services = services.map(\.descriptor)
    self.observer = observer
    listener = observer.map { observer in
      let listener = UnsafeMutablePointer<any CallObserver>.allocate(capacity: 1)
      listener.initialize(to: observer)
      return listener
    }
    self.limits = limits
    routes = services.flatMap(\.methods).map { $0.intercepted(by: interceptors) }
    precondition(Set(routes.map(\.method.path)).count == routes.count, "two methods of one path")
    precondition(routes.count < Int(UInt16.max))
    var size = 16
    while size < routes.count * 2 { size *= 2 }
    mask = size - 1
    slots = .allocate(capacity: size)
    slots.initialize(repeating: 0, count: size)
    places = .allocate(capacity: max(1, routes.count))
    for (index, route) in routes.enumerated() {
      let path = UnsafeMutableRawBufferPointer.allocate(byteCount: route.method.path.utf8.count, alignment: 1)
      path.copyBytes(from: route.method.path.utf8)
      places[index] = (UnsafeRawBufferPointer(path), .passUnretained(route))
      var slot = Self.hash(places[index].path) & mask
      while slots[slot] != 0 { slot = (slot + 1) & mask }
      slots[slot] = UInt16(index + 1)
    }
  }

  deinit {
    listener?.deinitialize(count: 1)
    listener?.deallocate()
    for index in routes.indices { places[index].path.deallocate() }
    places.deallocate()
    slots.deallocate()
  }

  /// The route of `/package.Service/Method`; nil when nobody serves it.
  public func route(of path: String) -> MethodRoute? {
    var path = path
    return path.withUTF8 { route(of: UnsafeRawBufferPointer($0))?.takeUnretainedValue() }
  }

  /// As `route(of:)`, from header bytes; not counted, since it lives as long as the router.
  package func route(of path: UnsafeRawBufferPointer) -> Unmanaged<MethodRoute>? {
    if path.isEmpty { return nil }
    var slot = Self.hash(path) & mask
    while slots[slot] != 0 {
      let place = places + (Int(slots[slot]) - 1)
      let known = place.pointee.path
      if known.count == path.count, memcmp(known.baseAddress!, path.baseAddress!, path.count) == 0 { return place.pointee.route }
      slot = (slot + 1) & mask
    }
    return nil
  }

  /// Eight bytes at a time, by multiplication. The set of paths is ours and at most half the slots are taken, so a caller gains
  /// nothing by collisions but a short probe.
  private static func hash(_ path: UnsafeRawBufferPointer) -> Int {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325 ^ UInt64(path.count)
    var offset = 0
    while offset + 8 <= path.count {
      hash = (hash ^ path.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* 0x9E37_79B9_7F4A_7C15
      hash ^= hash >> 29
      offset += 8
    }
    while offset < path.count {
      hash = (hash ^ UInt64(path[offset])) &* 0x100_0000_01B3
      offset += 1
    }
    return Int(truncatingIfNeeded: (hash ^ hash >> 32) & 0x7FFF_FFFF)
  }

  /// The answer to a path that nobody serves: UNIMPLEMENTED, for an unknown service as for an unknown method.
  public func refusal(ofPath path: String) -> RPCError {
    .unimplemented("unknown method \(path)")
  }

  /// Runs a call to its end. Never throws: the result is what the call ended with, nil for OK. Trailers stand in the context.
  ///
  /// The handler runs in the calling task, so a transport chooses the executor and cancels that task together with the context.
  public func serve(_ route: MethodRoute, _ call: any ServerCall) async -> RPCError? {
    let context = call.context
    let (start, refusal) = begin(route, context)
    if let refusal { return end(route, call, context, start, refusal) }
    do {
      try await CallContext.$current.withValue(context) { try await route.body(call) }
      return end(route, call, context, start, nil)
    } catch {
      return end(route, call, context, start, RPCError.outcome(of: error, in: context))
    }
  }

  // The parts of `serve`, for a transport that runs `route.body` itself: every async function on the way asks the task for its executor when
  // it goes on, and that costs as much as what it does.

  /// Before the handler: tells the observer, and why the handler is not to run.
  package func begin(_ route: MethodRoute, _ context: ServerContext) -> (start: Deadline, refusal: RPCError?) {
    let start = Deadline.now()
    listener?.pointee.callStarted(CallStart(side: .server, method: route.method, trace: context.trace, start: start))
    // The deadline may have passed while the call waited its turn: then the handler never runs.
    if context.deadline != .never, context.deadline.remaining(at: start) <= .zero { context.cancel(.deadlineExceeded) }
    return (start, context.cancellationCode.map { RPCError($0) })
  }

  /// After the handler: how the call ended, and the observer's record of it.
  package func end(
    _ route: MethodRoute, _ call: any ServerCall, _ context: ServerContext, _ start: Deadline, _ error: RPCError?
  ) -> RPCError? {
    // A handler that did not notice its cancellation has not answered in time all the same.
    let outcome = error ?? context.cancellationCode.map { RPCError($0) }
    listener?.pointee.callEnded(
      CallRecord(
        side: .server, method: route.method, trace: context.trace, peer: context.peer.address, principal: context.principal,
        error: outcome, start: start, end: .now(), traffic: call.traffic))
    return outcome
  }
}
