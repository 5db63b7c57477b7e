import Glibc
import Testing

@testable import SpanwireEventLoop

@Suite struct TerminationTests {
  @Test("SIGTERM ends the wait for the end of the process, and not the process")
  func termination() async {
    let loop = EventLoopGroup.shared.loops[0]
    await loop.run {
      // The wait begins in the round of the first closure, the signal comes in the one after it.
      loop.execute { loop.execute { kill(getpid(), SIGTERM) } }
      await terminationRequest()
    }.value
  }
}
