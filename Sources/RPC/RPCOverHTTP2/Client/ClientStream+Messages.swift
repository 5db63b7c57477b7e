import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireProtobuf
import SpanwireRPC

/// The caller's side of a call: from any task, on the loop or not.
extension ClientStream {
  func send<M: Message>(_ message: M) throws -> Bool {
    if loop.isCurrent {
      return try EncodingScratch.encoding(message, on: loop) { try send($0) }
    }
    var writer = MessageWriter()
    message.write(to: &writer)
    return try writer.withBytes { try send($0) }
  }

  func send(encoded message: [UInt8]) throws -> Bool {
    try message.withUnsafeBytes { try send($0) }
  }

  private func send(_ message: UnsafeRawBufferPointer) throws -> Bool {
    if let refusal = limits.refusal(sending: message.count) { throw refusal }
    if let compression = outgoing.options.compression, compressesRequests, message.count >= MessageCompression.worthwhileBytes {
      let compressed = MessageCompression.deflate(message, compression)
      return try compressed.withUnsafeBytes { try queue($0, isCompressed: true, original: message.count) }
    }
    return try queue(message, isCompressed: false, original: message.count)
  }

  /// Frames a message for the stream. After an OK it goes nowhere.
  private func queue(_ message: UnsafeRawBufferPointer, isCompressed: Bool, original: Int) throws -> Bool {
    if loop.isCurrent {
      let isWanted = try withShared { shared throws -> Bool in
        if let outcome = shared.outcome {
          if let outcome { throw outcome }
          return false
        }
        shared.traffic.messagesSent += 1
        shared.traffic.bytesSent += original
        if isCompressed { shared.traffic.compressedSent += 1 }
        return true
      }
      if !isWanted { return true }
      visit()  // what was written elsewhere before goes first
      let target = output.reserve(MessageAssembler.prefix + message.count)
      MessageAssembler.writePrefix(to: target, count: message.count, isCompressed: isCompressed)
      if let source = message.baseAddress { (target + MessageAssembler.prefix).copyMemory(from: source, byteCount: message.count) }
      output.commit(MessageAssembler.prefix + message.count)
      outputGrew()
      return output.count < Self.highWater
    }
    let (hasRoom, needsVisit) = try withShared { shared throws -> (Bool, Bool) in
      if let outcome = shared.outcome {
        if let outcome { throw outcome }
        return (true, false)
      }
      shared.traffic.messagesSent += 1
      shared.traffic.bytesSent += original
      if isCompressed { shared.traffic.compressedSent += 1 }
      withUnsafeTemporaryAllocation(byteCount: MessageAssembler.prefix, alignment: 1) { prefix in
        MessageAssembler.writePrefix(to: prefix.baseAddress!, count: message.count, isCompressed: isCompressed)
        shared.outbox.append(contentsOf: prefix)
      }
      shared.outbox.append(contentsOf: message)
      defer { shared.visitIsScheduled = true }
      return (shared.outbox.count + shared.outputBytes < Self.highWater, !shared.visitIsScheduled)
    }
    if needsVisit { loop.execute { self.visit() } }
    return hasRoom
  }

  func finishSending() {
    if loop.isCurrent {
      visit()
      if !isFinished { finish() }
      return
    }
    let needsVisit = withShared { shared in
      shared.outboxIsLast = true
      defer { shared.visitIsScheduled = true }
      return !shared.visitIsScheduled
    }
    if needsVisit { loop.execute { self.visit() } }
  }

  /// The loop takes over what was left for it: messages, the end of them, credit.
  func visit() {
    assert(loop.isCurrent)
    let (outbox, isLast, credit) = withShared { shared -> ([UInt8], Bool, Int) in
      shared.visitIsScheduled = false
      defer {
        if !shared.outbox.isEmpty { shared.outbox = [] }
        shared.credit = 0
      }
      return (shared.outbox, shared.outboxIsLast, shared.credit)
    }
    if credit > 0 { consume(credit) }
    if !outbox.isEmpty {
      outbox.withUnsafeBytes { output.append($0) }
      outputGrew()
    }
    if isLast, !isFinished { finish() }
  }

  private func outputGrew() {
    outputChanged()
    let count = output.count
    if count > Self.lowWater { drainMark = Self.lowWater }
    let waiter = withShared { shared -> UnsafeContinuation<Void, Never>? in
      shared.outputBytes = count
      guard count <= Self.lowWater, shared.outbox.isEmpty else { return nil }
      defer { shared.drainWaiter = nil }
      return shared.drainWaiter
    }
    waiter?.resume()
  }

  func drained() async throws {
    while true {
      let isDrained = try withShared { shared throws -> Bool in
        if let outcome = shared.outcome {
          if let outcome { throw outcome }
          return true
        }
        return shared.outbox.count + shared.outputBytes <= Self.lowWater
      }
      if isDrained { return }
      try await cancelling {
        await withUnsafeContinuation { continuation in
          let isReady = withShared { shared in
            if shared.outcome != nil || shared.outbox.count + shared.outputBytes <= Self.lowWater { return true }
            shared.drainWaiter = continuation
            return false
          }
          if isReady { continuation.resume() }
        }
      }
    }
  }

  func receive<M: IncomingMessage>(_ type: M.Type) async throws -> M? {
    while true {
      switch try take(type) {
      case .message(let message): return message
      case .end: return nil
      case .nothing: returnCredit()
      }
      try await cancelling {
        await withUnsafeContinuation { continuation in
          let isReady = withShared { shared in
            if shared.outcome != nil || shared.assembler.hasMessage { return true }
            precondition(shared.messageWaiter == nil, "two tasks read the responses of one call")
            shared.messageWaiter = continuation
            return false
          }
          if isReady { continuation.resume() }
        }
      }
    }
  }

  /// The one response of a unary call, with all that came beside it: the caller is woken once, when the call has ended.
  ///
  /// None, or a second, with OK is UNIMPLEMENTED, as gRPC has it.
  nonisolated(nonsending) func response<M: Message>(_ type: M.Type) async throws -> UnaryResponse<M> {
    await withTaskCancellationHandler {
      await withUnsafeContinuation { continuation in
        let isReady = withShared { shared in
          shared.awaitsEnd = true
          if shared.outcome != nil || shared.assembler.hasMore { return true }
          shared.messageWaiter = continuation
          return false
        }
        if isReady { continuation.resume() }
      }
    } onCancel: {
      cancel(outgoing.parent?.cancellationCode ?? .cancelled)
    }
    guard case .message(let message) = try take(type) else {
      throw RPCError.unimplemented("the server ended a call without the one response it should have")
    }
    guard case .end = try take(type) else {
      cancel()
      throw RPCError.unimplemented("the server sent more than the one response it should have")
    }
    return withShared { UnaryResponse(message, metadata: $0.leading ?? Metadata(), trailers: $0.trailers) }
  }

  /// Gives back whatever room was kept for a larger step, before waiting: many streams that each keep a little would together keep the
  /// whole window of their connection, and wait for ever.
  private func returnCredit() {
    guard withShared({ $0.credit > 0 }) else { return }
    if loop.isCurrent { visit() } else { scheduleVisit() }
  }

  private enum Taken<M> {
    case message(M)
    case end
    case nothing
  }

  private func take<M: IncomingMessage>(_ type: M.Type) throws -> Taken<M> {
    var failure: RPCError?
    var credit = 0
    let taken: Taken<M>? = withShared { shared in
      do {
        let encoding = shared.encoding, limits = limits
        var size = 0
        var isCompressed = false
        try shared.assembler.checkNext()
        let message = try shared.assembler.take(&credit) { frame -> M in
          size = frame.bytes.count
          isCompressed = frame.isCompressed
          return try Self.decode(frame, encoding, limits)
        }
        if let message {
          if shared.outcome == nil {
            shared.traffic.messagesReceived += 1
            shared.traffic.bytesReceived += size
            if isCompressed { shared.traffic.compressedReceived += 1 }
          }
          shared.credit += credit
          credit = shared.credit
          return .message(message)
        }
        switch shared.outcome {
        case .none: return .nothing
        case .some(.none): return .end
        case .some(.some(let error)):
          failure = error
          return nil
        }
      } catch {
        failure = error as? RPCError ?? .internal("\(error)")
        return nil
      }
    }
    if let taken {
      if credit > 0, loop.isCurrent || credit >= Self.creditStep {
        if loop.isCurrent { visit() } else { scheduleVisit() }
      }
      return taken
    }
    fail(failure!)
    throw failure!
  }

  private func scheduleVisit() {
    let needsVisit = withShared { shared in
      defer { shared.visitIsScheduled = true }
      return !shared.visitIsScheduled
    }
    if needsVisit { loop.execute { self.visit() } }
  }

  private static func decode<M: IncomingMessage>(_ frame: MessageAssembler.Frame, _ encoding: ResponseEncoding, _ limits: MessageLimits)
    throws -> M
  {
    do {
      guard frame.isCompressed else { return try M(decoding: frame.bytes) }
      switch encoding {
      case .identity: throw RPCError.internal("a message is compressed, but no encoding was named")
      case .unknown(let name): throw RPCError.internal("a message is compressed in an unknown encoding, \(name)")
      case .compressed(let compression):
        let bytes = try MessageCompression.inflate(frame.bytes, compression, limits: limits)
        return try M(decoding: bytes)
      }
    } catch let error as DecodingError {
      throw RPCError.undecodable(error)
    }
  }

  func responseMetadata() async throws -> Metadata {
    while true {
      if let leading = withShared({ $0.leading }) { return leading }
      try await cancelling {
        await withUnsafeContinuation { continuation in
          let isReady = withShared { shared in
            if shared.leading != nil { return true }
            precondition(shared.leadingWaiter == nil, "two tasks wait for the metadata of one call")
            shared.leadingWaiter = continuation
            return false
          }
          if isReady { continuation.resume() }
        }
      }
    }
  }

  var compressesRequests: Bool {
    get { withShared { $0.compresses } }
    set { withShared { $0.compresses = newValue } }
  }

  var trailers: Metadata { withShared { $0.trailers } }

  var traffic: CallTraffic { withShared { $0.traffic } }

  func cancel() { cancel(.cancelled) }

  /// Waits; a task that is cancelled meanwhile cancels the call, which ends the wait.
  private nonisolated(nonsending) func cancelling(_ wait: nonisolated(nonsending) () async -> Void) async throws {
    await withTaskCancellationHandler {
      await wait()
    } onCancel: {
      cancel(outgoing.parent?.cancellationCode ?? .cancelled)
    }
  }
}

/// The writer that messages are encoded with on a loop, kept from call to call.
final class EncodingScratch {
  private var writer = MessageWriter(capacity: 4096)
  private static let place = LoopLocal<EncodingScratch>()
  /// A buffer that one large message made is not kept.
  private static let keptCapacity = 256 * 1024

  static func encoding<Result>(
    _ message: some Message, on loop: EventLoop, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    let scratch = loop.local(place) { EncodingScratch() }
    message.encode(into: &scratch.writer)
    defer { if scratch.writer.count > keptCapacity { scratch.writer = MessageWriter(capacity: 4096) } }
    return try scratch.writer.withBytes(body)
  }
}
