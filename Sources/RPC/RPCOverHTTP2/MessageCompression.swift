import CZlib
import SpanwireRPC

/// gzip and deflate of single messages, as `grpc-encoding` names them. The only place that knows zlib.
///
/// Each message is a stream of its own: nothing of one is needed to read the next. What a message inflates to is bounded while it is
/// inflated, so that a bomb takes no more memory than an honest message.
package enum MessageCompression {
  /// What we accept, in the form of `grpc-accept-encoding`.
  package static let accepted = "identity,gzip,deflate"

  /// Smaller messages only grow.
  package static let worthwhileBytes = 256

  /// Output grows by this much at a time, until the limit.
  private static let step = 16 * 1024
  private static let maxStep = 1 << 30

  private static func windowBits(_ compression: Compression) -> Int32 {
    // 15 is the largest window; 16 more asks zlib for gzip's wrapping. gRPC's deflate is zlib's own wrapping, not the bare stream.
    compression == .gzip ? 15 + 16 : 15
  }

  /// The bytes of a compressed message.
  ///
  /// Throws RESOURCE_EXHAUSTED beyond the limit and INTERNAL for bytes that are corrupt, cut short, or followed by others.
  package static func inflate(_ bytes: UnsafeRawBufferPointer, _ compression: Compression, limits: MessageLimits) throws(RPCError)
    -> [UInt8]
  {
    var stream = z_stream()
    guard spanwire_inflate_init(&stream, windowBits(compression)) == Z_OK else { throw .internal("no memory to inflate a message") }
    defer { inflateEnd(&stream) }
    stream.next_in = UnsafeMutablePointer(mutating: bytes.assumingMemoryBound(to: UInt8.self).baseAddress)
    stream.avail_in = UInt32(bytes.count)
    var output: [UInt8] = []
    while true {
      let filled = output.count
      // One byte beyond the limit is enough to know; zlib counts in 32 bits.
      let room = min(max(step, filled), min(limits.maxReceivedBytes, .max - 1) - filled + 1, maxStep)
      var result: Int32 = Z_OK
      output.append(contentsOf: repeatElement(0, count: room))
      output.withUnsafeMutableBufferPointer { buffer in
        stream.next_out = buffer.baseAddress! + filled
        stream.avail_out = UInt32(room)
        result = CZlib.inflate(&stream, Z_NO_FLUSH)
      }
      let produced = room - Int(stream.avail_out)
      output.removeLast(room - produced)
      if output.count > limits.maxReceivedBytes {
        throw .resourceExhausted("a compressed message is longer than \(limits.maxReceivedBytes) bytes")
      }
      switch result {
      case Z_STREAM_END:
        guard stream.avail_in == 0 else { throw .internal("bytes follow a compressed message") }
        return output
      case Z_OK where produced > 0 || stream.avail_in > 0: continue
      default: throw .internal("a compressed message is corrupt")
      }
    }
  }

  /// A message compressed.
  package static func deflate(_ bytes: UnsafeRawBufferPointer, _ compression: Compression) -> [UInt8] {
    var stream = z_stream()
    let result = spanwire_deflate_init(&stream, Z_DEFAULT_COMPRESSION, windowBits(compression))
    precondition(result == Z_OK, "no memory to compress a message")
    defer { deflateEnd(&stream) }
    stream.next_in = UnsafeMutablePointer(mutating: bytes.assumingMemoryBound(to: UInt8.self).baseAddress)
    stream.avail_in = UInt32(bytes.count)
    let bound = Int(deflateBound(&stream, UInt(bytes.count)))
    return [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
      stream.next_out = buffer.baseAddress
      stream.avail_out = UInt32(bound)
      let result = CZlib.deflate(&stream, Z_FINISH)
      precondition(result == Z_STREAM_END, "deflateBound promised room")
      count = bound - Int(stream.avail_out)
    }
  }
}
