import Testing

@testable import SpanwireRPCOverHTTP2

@Suite struct ReadPaceTests {
  @Test("a client that fills its reads gets larger ones, one that strains the server the smallest again")
  func growth() {
    var pace = ReadPace(most: 32 * 1024)
    #expect(pace.bytes == 1024 && pace.reads == 1)
    pace.hasRead(100, isStrained: false)
    #expect(pace.bytes == 1024)
    for bytes in [2, 4, 8, 16, 32, 32] {
      pace.hasRead(pace.bytes, isStrained: false)
      #expect(pace.bytes == bytes * 1024)
    }
    #expect(pace.reads > 1)
    pace.hasRead(pace.bytes, isStrained: true)
    #expect(pace.bytes == 1024 && pace.reads == 1)
  }

  @Test("a server that we chose is read as fast as it sends")
  func always() {
    var pace = ReadPace(always: 32 * 1024)
    for isStrained in [false, true] {
      pace.hasRead(32 * 1024, isStrained: isStrained)
      #expect(pace.bytes == 32 * 1024 && pace.reads > 1)
    }
  }
}
