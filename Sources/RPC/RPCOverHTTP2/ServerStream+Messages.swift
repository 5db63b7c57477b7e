import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireProtobuf
import SpanwireRPC

/// Messages in and out of a call, with gRPC's five bytes before each.
extension ServerStream {
  var context: ServerContext {
    guard let currentContext else { preconditionFailure("a call that is over was used again") }
    return currentContext
  }

  var traffic: CallTraffic { counts }

  // MARK: Requests

  func takeRequest<M: IncomingMessage>(_ type: M.Type) throws -> M {
    guard loop.isCurrent, let frame = assembler.first else { throw RPCError.internal("a handler took its one request twice") }
    defer { dropFirst() }
    return try decode(type, frame, assembler.limits)
  }

  func receive<M: IncomingMessage>(_ type: M.Type) async throws -> M? {
    guard loop.isCurrent else {
      return try await withTaskExecutorPreference(loop) { try await self.receive(type) }
    }
    while true {
      if let message = try take(type) { return message }
      if let requestError { throw requestError }
      if let code = currentContext?.cancellationCode { throw RPCError(code) }
      if hasReceivedEnd { return nil }
      if closeCode != nil { throw RPCError.cancelled() }
      precondition(receiver == nil, "two tasks receive from one call")
      await withTaskCancellationHandler {
        await withUnsafeContinuation { receiver = $0 }
      } onCancel: {
        loop.execute { self.wakeReceiver() }
      }
      try Task.checkCancellation()
    }
  }

  /// The next complete message.
  private func take<M: IncomingMessage>(_ type: M.Type) throws -> M? {
    guard let frame = assembler.first else { return nil }
    defer { dropFirst() }
    return try decode(type, frame, assembler.limits)
  }

  /// The first message is dealt with; the peer may send as many bytes more.
  private func dropFirst() {
    counts.messagesReceived += 1
    consume(assembler.dropFirst())
    do throws(RPCError) { try assembler.checkNext() } catch { failRequests(error) }
  }

  private func decode<M: IncomingMessage>(_ type: M.Type, _ frame: MessageAssembler.Frame, _ limits: MessageLimits) throws -> M {
    do {
      guard frame.isCompressed else {
        counts.bytesReceived += frame.bytes.count
        return try M(decoding: frame.bytes)
      }
      guard case .compressed(let compression) = requestEncoding else {
        throw RPCError.internal("a message is compressed without grpc-encoding")
      }
      let bytes = try MessageCompression.inflate(frame.bytes, compression, limits: limits)
      counts.bytesReceived += bytes.count
      counts.compressedReceived += 1
      return try M(decoding: bytes)
    } catch let error as DecodingError {
      throw RPCError.undecodable(error)
    }
  }

  // MARK: Responses

  func send<M: Message>(_ message: M) throws -> Bool {
    guard loop.isCurrent else { return try sendFromElsewhere(message.encoded()) }
    try checkOpen()
    message.encode(into: &home.writer.pointee)
    return try home.writer.pointee.withBytes { try queue($0) }
  }

  func send(encoded message: [UInt8]) throws -> Bool {
    guard loop.isCurrent else { return try sendFromElsewhere(message) }
    try checkOpen()
    return try message.withUnsafeBytes { try queue($0) }
  }

  private func checkOpen() throws(RPCError) {
    if isOpen, !isFinished { return }
    throw RPCError(currentContext?.cancellationCode ?? .cancelled, "the call is over")
  }

  private func queue(_ bytes: UnsafeRawBufferPointer, compresses: Bool? = nil) throws(RPCError) -> Bool {
    if let refusal = assembler.limits.refusal(sending: bytes.count) { throw refusal }
    counts.messagesSent += 1
    counts.bytesSent += bytes.count
    if let responseCompression, compresses ?? context.compressesResponses, bytes.count >= MessageCompression.worthwhileBytes {
      counts.compressedSent += 1
      MessageCompression.deflate(bytes, responseCompression).withUnsafeBytes { frame($0, isCompressed: true) }
    } else {
      frame(bytes, isCompressed: false)
    }
    if !hasSentHeaders { sendLeadingHeaders() }
    outputChanged()
    return output.count < ServerConfiguration.highWater
  }

  private func frame(_ bytes: UnsafeRawBufferPointer, isCompressed: Bool) {
    let place = output.reserve(MessageAssembler.prefix + bytes.count)
    MessageAssembler.writePrefix(to: place, count: bytes.count, isCompressed: isCompressed)
    if let source = bytes.baseAddress { (place + MessageAssembler.prefix).copyMemory(from: source, byteCount: bytes.count) }
    output.commit(MessageAssembler.prefix + bytes.count)
  }

  /// A task that does not run on the loop writes through it; what is on its way there counts as queued.
  private func sendFromElsewhere(_ message: [UInt8]) throws -> Bool {
    if let code = currentContext?.cancellationCode { throw RPCError(code) }
    let queued = underway.wrappingAdd(message.count, ordering: .relaxed).newValue
    let compresses = currentContext?.compressesResponses
    loop.execute {
      self.underway.wrappingSubtract(message.count, ordering: .relaxed)
      guard self.isOpen, !self.isFinished else { return }
      _ = try? message.withUnsafeBytes { try self.queue($0, compresses: compresses) }
    }
    return queued < ServerConfiguration.highWater
  }

  func drained() async throws {
    guard loop.isCurrent else {
      return try await withTaskExecutorPreference(loop) { try await self.drained() }
    }
    while output.count > ServerConfiguration.lowWater {
      try checkOpen()
      precondition(sender == nil, "two tasks write to one call")
      drainMark = ServerConfiguration.lowWater
      await withTaskCancellationHandler {
        await withUnsafeContinuation { sender = $0 }
      } onCancel: {
        loop.execute { self.wakeSender() }
      }
      try Task.checkCancellation()
    }
    try checkOpen()
  }

  func sendResponseMetadata() {
    guard loop.isCurrent else { return loop.execute { self.sendResponseMetadata() } }
    if isOpen, !isFinished { sendLeadingHeaders() }
  }
}
