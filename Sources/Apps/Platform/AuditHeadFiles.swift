import Foundation
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTLS

/// The files of a folder in which signed heads of the audit are kept: `audit-heads-2026-05-19.jsonl`, a line of JSON for each.
public struct AuditHeadFiles: Sendable {
  private static let prefix = "audit-heads-"
  private static let suffix = ".jsonl"

  /// The folder, which should be on another machine's disk, or at least out of reach of whoever can write the data folder.
  public let folder: String

  public init(folder: String) { self.folder = folder }

  /// Appends a signed head to its day's file; it is on the disk when this returns.
  func append(_ head: AuditHead) throws {
    let day = RFC3339.format(head.exportedAt?.nanosecondsSinceEpoch ?? 0).prefix(10)
    let path = "\(folder)/\(Self.prefix)\(day)\(Self.suffix)"
    if !FileManager.default.fileExists(atPath: path) {
      guard FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o644]) else {
        throw PlatformError("\(path) cannot be made")
      }
    }
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    defer { try? file.close() }
    try file.seekToEnd()
    try file.write(contentsOf: Data((try head.jsonString() + "\n").utf8))
    try file.synchronize()
  }

  /// The head that was written last of those that these keys have signed; nil where there is none.
  func newest(trusting keys: [VerifyingKey]) throws -> AuditHead? {
    for name in try names().reversed() {
      let text = try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
      for line in text.split(separator: "\n").reversed() {
        if let head = try? AuditHead(jsonString: String(line)), let key = keys.first(where: { $0.auditID == head.keyID }),
          key.verifies(head.signature, of: head.signedBytes)
        {
          return head
        }
      }
    }
    return nil
  }

  /// The files, the oldest first.
  private func names() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix(Self.prefix) && $0.hasSuffix(Self.suffix) }.sorted()
  }

  /// Every head whose signature holds, and what is wrong with the others, a sentence each.
  public func read(trusting keys: [VerifyingKey]) throws -> (heads: [AuditHead], findings: [String]) {
    let keys = Dictionary(keys.map { ($0.auditID, $0) }) { first, _ in first }
    var heads: [AuditHead] = []
    var findings: [String] = []
    for name in try names() {
      let text = try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
      for (index, line) in lines.enumerated() where !line.isEmpty {
        let place = "\(name) line \(index + 1)"
        guard let head = try? AuditHead(jsonString: String(line)) else {
          // A power cut in the middle of a line leaves it at the file's end, without its line break.
          if index < lines.count - 1 { findings.append("\(place) is no head") }
          continue
        }
        guard let key = keys[head.keyID] else {
          findings.append("\(place) is signed by key \(head.keyID), which was not given")
          continue
        }
        if key.verifies(head.signature, of: head.signedBytes) {
          heads.append(head)
        } else {
          findings.append("\(place) has a false signature")
        }
      }
    }
    return (heads, findings)
  }
}

extension VerifyingKey {
  /// By which heads name the key that signed them.
  public var auditID: String { String(SHA256.hex(SHA256.hash(bytes)).prefix(16)) }
}
