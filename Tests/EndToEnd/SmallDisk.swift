import Foundation

/// A small file system, real and its own, in a mount namespace that ends with it: a tmpfs, or an ext4 on a loop device whose image lies on
/// one, so that what the kernel accepted cannot be written back.
///
/// Needs root, or a system that lets everybody have namespaces.
final class SmallDisk {
  enum Kind { case memory, loop }

  /// Where a data folder may be made; seen through `enter` only.
  let folder: URL
  private let place: URL
  private let holder = Process()
  private let hold = Pipe()

  private static let isRoot = getuid() == 0
  /// What is missing, if something is; nil when the test can run.
  static func obstacle(_ kind: Kind) -> String? {
    if kind == .loop, !isRoot { return "mounting a loop device takes root" }
    do {
      _ = try SmallDisk(kind, megabytes: 1)
      return nil
    } catch {
      return "no file system can be mounted here: \(error)"
    }
  }

  init(_ kind: Kind, megabytes: Int) throws {
    place = FileManager.default.temporaryDirectory.appending(path: "small-\(UUID().uuidString)")
    folder = kind == .memory ? place.appending(path: "data") : place.appending(path: "mount/data")
    try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
    var script = "mount -t tmpfs -o size=\(megabytes)m none \(place.path) && cd \(place.path)"
    if kind == .loop {
      // No journal: it would give up at the first block that cannot be written, and the file system with it.
      script += " && truncate -s 256m image && mkfs.ext4 -q -O ^has_journal image && mkdir mount && mount -o loop image mount"
    }
    // `cat` ends with this process, whatever becomes of it, and the namespace with `cat`.
    script += " && mkdir \(folder.path) && echo mounted && exec cat >/dev/null"
    let output = Pipe()
    holder.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    holder.arguments = ["unshare", "--mount"] + (Self.isRoot ? [] : ["--map-root-user"]) + ["sh", "-c", script]
    holder.standardInput = hold
    holder.standardOutput = output
    holder.standardError = output
    try holder.run()
    let said = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
    guard said.hasSuffix("mounted\n") else {
      try? hold.fileHandleForWriting.close()
      throw ProcessFailed(message: said)
    }
  }

  deinit {
    try? hold.fileHandleForWriting.close()
    holder.waitUntilExit()
    try? FileManager.default.removeItem(at: place)
  }

  /// What goes before a command that is to see the file system.
  var enter: [String] {
    ["nsenter", "--target", "\(holder.processIdentifier)", "--mount"] + (Self.isRoot ? [] : ["--user", "--preserve-credentials"])
  }

  @discardableResult
  func shell(_ script: String) throws -> String {
    let outcome = try run(enter[0], Array(enter.dropFirst()) + ["sh", "-c", script])
    guard outcome.code == 0 else { throw ProcessFailed(message: "\(script): \(outcome.output)") }
    return outcome.output
  }

  /// Takes all room but so much.
  func fill(leaving kilobytes: Int) throws {
    try shell("cd \(place.path) && { dd if=/dev/zero of=filler bs=4k 2>/dev/null || true; } && truncate -s -\(kilobytes)k filler")
  }

  func free() throws { try shell("rm \(place.path)/filler") }

  func remount(_ options: String) throws { try shell("mount -o remount,\(options) \(place.path)") }
}
