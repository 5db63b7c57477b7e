@_exported import SpanwireRawWire
import SpanwireEventLoop

/// So many connections that have exchanged settings and do nothing else; opened where blocking does no harm.
package func connections(_ count: Int, to port: UInt16) async throws -> [RawConnection] {
  try await offload { try (0..<count).map { _ in try RawConnection(greeting: port) } }
}
