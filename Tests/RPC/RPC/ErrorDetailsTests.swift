import SpanwireProtobuf
import SpanwireRPC
import SpanwireWellKnown
import Testing

@Suite struct ErrorDetailsTests {
  @Test("details survive the status message, and are found by type")
  func roundTrip() throws {
    let error = RPCError.failedPrecondition("closed").reason("SESSION_CLOSED", domain: "spanwire", metadata: ["session_id": "s1"])
      .retry(after: .milliseconds(1500))
    let bytes = try #require(error.encodedDetails)
    let read = try #require(RPCError(status: try Google_Rpc_Status(decoding: bytes)))
    #expect(read == error)
    #expect(read.errorInfo?.reason == "SESSION_CLOSED" && read.errorInfo?.metadata["session_id"] == "s1")
    #expect(read.retryDelay == .milliseconds(1500))
    #expect(read.fieldViolations.isEmpty && read.detail(Google_Rpc_Help.self) == nil)
  }

  @Test("a wrong value names its field")
  func badRequest() {
    let error = RPCError.invalidArgument("must not be empty", field: "session_id")
    #expect(error.code == .invalidArgument && error.message == "session_id: must not be empty")
    #expect(error.fieldViolations.map(\.field) == ["session_id"])
    let two = RPCError.invalidArgument([("a", "x"), ("b", "y")])
    #expect(two.message == "a: x, and 1 more" && two.fieldViolations.count == 2)
  }

  @Test("OK is no error, an unknown code is UNKNOWN, and details of another code are not believed")
  func codes() {
    #expect(RPCError(status: Google_Rpc_Status(code: 0)) == nil)
    for code in [17, -1, 300] as [Int32] { #expect(RPCError(status: Google_Rpc_Status(code: code))?.code == .unknown) }
    for code in [10, 9] as [Int32] {
      var trailers = Metadata()
      let status = Google_Rpc_Status(code: code, details: [Google_Protobuf_Any(packing: Google_Rpc_Help())])
      trailers.addDetails(status.encoded())
      var error = RPCError(.aborted, "x", trailers: trailers)
      error.takeDetails()
      #expect(error.details.count == (code == 10 ? 1 : 0) && error.trailers.isEmpty)
    }
  }

  @Test("an error without details needs no trailer")
  func none() { #expect(RPCError(.aborted, "x").encodedDetails == nil) }
}
