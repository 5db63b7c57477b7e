import Foundation
import SpanwireFuzz
import Testing

/// What the fuzzer kept and what it found (`Tests/Fuzz/Inputs/<target>/{corpus,finds}`), given to its target once more.
@Suite("Fuzz inputs")
struct ReplayTests {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Inputs")

  @Test("Every input that was kept is survived", arguments: FuzzTarget.allCases)
  func replay(_ target: FuzzTarget) throws {
    for kind in ["corpus", "finds"] {
      let inputs = Self.folder.appending(path: "\(target.rawValue)/\(kind)")
      for name in (try? FileManager.default.contentsOfDirectory(atPath: inputs.path))?.sorted() ?? [] {
        let bytes = try [UInt8](Data(contentsOf: inputs.appending(path: name)))
        for count in [bytes.count, bytes.count / 2] { bytes.prefix(count).withUnsafeBytes { target.run($0) } }
      }
    }
  }

  @Test("Every target has inputs", arguments: FuzzTarget.allCases)
  func corpus(_ target: FuzzTarget) throws {
    let kept = try FileManager.default.contentsOfDirectory(atPath: Self.folder.appending(path: "\(target.rawValue)/corpus").path)
    #expect(kept.count >= 3)
  }
}
