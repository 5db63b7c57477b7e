import Glibc
import SpanwireFuzz

// libFuzzer brings the main function; SPANWIRE_FUZZ_TARGET says what it shall drive.

private let target: FuzzTarget = {
  guard let name = getenv("SPANWIRE_FUZZ_TARGET"), let target = FuzzTarget(rawValue: String(cString: name)) else {
    print("SPANWIRE_FUZZ_TARGET is one of: \(FuzzTarget.allCases.map(\.rawValue).joined(separator: " "))")
    exit(2)
  }
  return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  target.run(UnsafeRawBufferPointer(start: start, count: count))
  return 0
}
