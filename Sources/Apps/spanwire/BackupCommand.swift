import ArgumentParser
import Foundation
import SpanwireSchema
import SpanwireServiceKit

struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Copy a running server's data into a folder.",
    discussion: """
      The server goes on meanwhile. Each database is copied as it is at one moment, checked page by page by the server, and compared \
      with the server's copy here once it has arrived. To restore: spanwire serve --data FOLDER.

      It holds the data of all tenants, so it takes the role platform_admin or platform_sre in the tenant platform.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "The folder for the copy; made if it isn't there, and must be empty.") var to: String
  @Flag(help: "Print JSON, one file a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let folder = URL(fileURLWithPath: to)
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      guard try FileManager.default.contentsOfDirectory(atPath: to).isEmpty else { throw ValidationError("\(to) is not empty") }
      let operations = OperationsClient(try await connection.channel())
      var copy: FileCopy?
      do {
        for try await response in try await operations.backup(BackupRequest()) {
          switch response.item {
          case .file(let file): copy = try FileCopy(file, in: folder)
          case .bytes(let bytes): try copy?.take(bytes)
          case .end(let end):
            guard let complete = copy else { throw CheckFailed(message: "the server ended a file that it had not begun") }
            try complete.finish(end)
            copy = nil
            report(complete)
          case nil: break
          }
        }
        guard copy == nil else { throw CheckFailed(message: "the server stopped in the middle of a file") }
      } catch {
        // Half a backup would be taken for one.
        for name in (try? FileManager.default.contentsOfDirectory(atPath: to)) ?? [] {
          try? FileManager.default.removeItem(at: folder.appending(path: name))
        }
        throw error
      }
    }
  }

  private func report(_ copy: FileCopy) {
    if json {
      print("{\"file\": \"\(copy.name)\", \"size\": \(copy.size), \"sha256\": \"\(copy.hash)\"}")
    } else {
      print("\(copy.name)  \(copy.size) bytes  sha256:\(copy.hash)  verified")
    }
  }
}

/// A file as it arrives: under another name until it is whole.
private final class FileCopy {
  let name: String
  let size: UInt64
  private(set) var hash = ""
  private let place: URL
  private let file: FileHandle
  private var taken: UInt64 = 0
  private var running = SHA256()

  init(_ announced: BackupFile, in folder: URL) throws {
    // A name, not a path: it is the server's word, but our disk.
    guard announced.name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "." || $0 == "-" }), !announced.name.hasPrefix(".") else {
      throw CheckFailed(message: "the server named a file '\(announced.name)'")
    }
    name = announced.name
    size = announced.size
    place = folder.appending(path: announced.name)
    let partial = place.appendingPathExtension("part")
    guard FileManager.default.createFile(atPath: partial.path, contents: nil, attributes: [.posixPermissions: 0o600]) else {
      throw CheckFailed(message: "\(partial.path) cannot be written")
    }
    file = try FileHandle(forWritingTo: partial)
  }

  func take(_ bytes: [UInt8]) throws {
    try file.write(contentsOf: bytes)
    taken += UInt64(bytes.count)
    running.update(bytes)
  }

  func finish(_ end: BackupFileEnd) throws {
    let sum = running.finish()
    guard taken == size, sum == end.sha256 else {
      throw CheckFailed(message: "\(name) arrived with \(taken) of \(size) bytes, or with others than were sent")
    }
    hash = SHA256.hex(sum)
    try file.synchronize()
    try file.close()
    try FileManager.default.moveItem(at: place.appendingPathExtension("part"), to: place)
  }
}
