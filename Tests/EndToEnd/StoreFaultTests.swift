import Foundation
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireSchema
import SpanwireWellKnown
import Testing

/// What a disk does to a server: it fills up, cannot be written, loses what it had accepted, gives back other bytes. Each time the server
/// says so, nothing is half done, and it goes on when the cause is gone.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct StoreFaultTests {
  private static let noMemoryDisk = SmallDisk.obstacle(.memory)
  private static let noLoopDisk = SmallDisk.obstacle(.loop)

  @Test(
    "A full disk refuses what has no room, answers what only reads, and takes everything again once there is room",
    .enabled(if: noMemoryDisk == nil, "\(noMemoryDisk ?? "")"))
  func fullDisk() async throws {
    let disk = try SmallDisk(.memory, megabytes: 24)
    let server = ServerProcess(on: disk)
    try server.start()
    try applySample(to: server)
    let travellers = Travellers(server)
    #expect(try await travellers.open(1..<9).acknowledged.count == 8)
    try disk.fill(leaving: 300)
    var outcomes = Travellers.Outcomes()
    var number = 100
    while outcomes.refused.count < 24, number < 5_000 {
      outcomes.add(try await travellers.open(number..<(number + 16)))
      number += 16
    }
    #expect(outcomes.refused.count >= 24, "the disk never filled up")
    #expect(outcomes.errors.allSatisfy { $0.code == .resourceExhausted && $0.message.contains("no room") }, "\(outcomes.errors)")
    let listed = try await travellers.listed()
    #expect(listed.count == 8 + outcomes.acknowledged.count, "who was refused has no session")

    try disk.free()
    let again = try await travellers.open(keys: outcomes.refused)
    #expect(again.refused.isEmpty, "\(again.errors)")
    #expect(try await travellers.listed().count == listed.count + again.acknowledged.count)
    try expectSound(server)
    #expect(server.terminate() == 0)
    try server.start()
    #expect(try await travellers.listed().count == listed.count + again.acknowledged.count)
    try expectSound(server)
  }

  @Test(
    "A disk that loses what it had accepted leaves callers with an outcome that is unknown, and whoever repeats the call does it once",
    .enabled(if: noLoopDisk == nil, "\(noLoopDisk ?? "")"))
  func failingSync() async throws {
    let disk = try SmallDisk(.loop, megabytes: 64)
    let server = ServerProcess(on: disk)
    try server.start()
    try applySample(to: server)
    let travellers = Travellers(server)
    var acknowledged = try await travellers.open(1..<9).acknowledged
    try disk.fill(leaving: 64)
    var outcomes = Travellers.Outcomes()
    var number = 100
    while outcomes.unknown.isEmpty, number < 5_000 {
      outcomes.add(try await travellers.open(number..<(number + 16)))
      number += 16
    }
    #expect(!outcomes.unknown.isEmpty, "no commit failed")
    acknowledged.merge(outcomes.acknowledged) { $1 }

    try disk.free()
    // The file system may have dropped what it could not write: a power cut could do no more.
    server.kill()
    try server.start()
    let again = try await travellers.open(keys: outcomes.unknown + outcomes.refused)
    #expect(again.acknowledged.count == outcomes.unknown.count + outcomes.refused.count, "\(again.errors)")
    acknowledged.merge(again.acknowledged) { $1 }
    #expect(try await travellers.listed() == Set(acknowledged.values))
    try expectSound(server)
  }

  @Test(
    "A folder that may not be written is refused in words, and served once it may",
    .enabled(if: noMemoryDisk == nil, "\(noMemoryDisk ?? "")"))
  func readOnlyFolder() throws {
    let disk = try SmallDisk(.memory, megabytes: 24)
    let server = ServerProcess(on: disk)
    try server.start()
    #expect(server.terminate() == 0)
    try disk.remount("ro")
    let refused = try run(disk.enter[0], Array(disk.enter.dropFirst()) + serve(server.data))
    #expect(refused.code == 70 && refused.output.contains("may not be written"), "\(refused.output)")
    try disk.remount("rw")
    try server.start()
    #expect(server.terminate() == 0)
  }

  @Test("A second server on a folder is refused, and leaves the first alone")
  func lockedFolder() throws {
    let server = try ServerProcess()
    try server.start()
    let refused = try run("env", serve(server.data))
    #expect(refused.code == 70 && refused.output.contains("in use by another server"), "\(refused.output)")
    try expectSound(server)
  }

  @Test("A damaged page is told of at the start; the backup that was made under load is sound, whole, and goes on in its place")
  func damagedPage() async throws {
    let server = try ServerProcess()
    try server.start()
    try applySample(to: server)
    let travellers = Travellers(server)
    let before = try await travellers.open(1..<33).acknowledged
    let copy = FileManager.default.temporaryDirectory.appending(path: "backup-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: copy) }

    let denied = try spanwire(["backup", "--server", server.address, "--to", copy.path])
    #expect(denied.code == 77 && denied.output.contains("platform_admin"), "\(denied.output)")
    let load = Task { try await travellers.open(1_000..<1_200) }
    let made = try spanwire(["backup", "--server", server.address, "--to", copy.path], token: "dev:ops:OPS-0009:platform:platform_admin")
    #expect(made.code == 0 && made.output.contains("spanwire.db") && made.output.contains("verified"), "\(made.output)")
    let during = try await load.value
    #expect(during.refused.isEmpty && during.unknown.isEmpty, "the load had not to suffer: \(during.errors)")
    #expect(server.terminate() == 0)

    let file = try FileHandle(forWritingTo: server.data.appending(path: "spanwire.db"))
    try file.seek(toOffset: 12 * 4_096)
    try file.write(contentsOf: Data(repeating: 0xA5, count: 8 * 4_096))
    try file.close()
    let refused = try run("env", serve(server.data))
    #expect(refused.code == 70 && refused.output.contains("damaged"), "\(refused.output)")

    try FileManager.default.removeItem(at: server.data)
    try FileManager.default.copyItem(at: copy, to: server.data)
    try server.start()
    let restored = try await travellers.listed()
    #expect(restored.isSuperset(of: before.values), "what was acknowledged before the backup is in it")
    #expect(restored.isSubset(of: Set(before.values).union(during.acknowledged.values)))
    try expectSound(server)
  }

  @Test("A folder that a newer release has written to is refused")
  func newerSchema() throws {
    let server = try ServerProcess()
    try server.start()
    #expect(server.terminate() == 0)
    let newer = """
      import sqlite3, sys
      database = sqlite3.connect(sys.argv[1])
      database.execute("INSERT INTO migration VALUES ('gateway', 99, 'what is to come', 1)")
      database.commit()
      """
    #expect(try run(Checkout.python, ["-c", newer, server.data.appending(path: "spanwire.db").path]).code == 0)
    let refused = try run("env", serve(server.data))
    #expect(refused.code == 70 && refused.output.contains("it is older"), "\(refused.output)")
  }

  private func serve(_ data: URL) -> [String] {
    [Checkout.spanwire.path, "serve", "--dev", "--data", data.path, "--listen", "127.0.0.1:0"]
  }

  private func applySample(to server: ServerProcess) throws {
    let sample = Checkout.home.appending(path: "Samples/vienna-coffee-pass.yaml").path
    let applied = try spanwire(["registry", "apply", sample, "--server", server.address])
    #expect(applied.code == 0, "\(applied.output)")
  }

  private func expectSound(_ server: ServerProcess) throws {
    let verify = try spanwire(["verify", "--server", server.address])
    #expect(verify.code == 0, "\(verify.output)")
  }
}

/// Callers who open sessions at the same time, and remember what they were told.
private struct Travellers {
  struct Outcomes {
    /// Sessions by key.
    var acknowledged: [String: String] = [:]
    var refused: [String] = []
    var unknown: [String] = []
    var errors: [RPCError] = []

    mutating func add(_ other: Outcomes) {
      acknowledged.merge(other.acknowledged) { $1 }
      refused += other.refused
      unknown += other.unknown
      errors += other.errors
    }
  }

  let server: ServerProcess

  init(_ server: ServerProcess) { self.server = server }

  func open(_ numbers: Range<Int>) async throws -> Outcomes { try await open(keys: numbers.map { "key-\($0)" }) }

  func open(keys: [String]) async throws -> Outcomes {
    let channel = try channel()
    let gateway = ProductRuntimeGatewayClient(channel.intercepted(by: [CallCredentials.bearer("dev:user:USR-0001:vienna:traveller")]))
    let outcomes = await withTaskGroup(of: Outcomes.self) { group in
      for key in keys {
        group.addTask {
          var outcome = Outcomes()
          do {
            let request = OpenSessionRequest(
              idempotencyKey: key, productID: "PRD-VIEN-COFFEE-PASS", marketCode: "AT-VIE", segments: ["tourist"])
            let options = CallOptions(timeout: .seconds(60), waitForReady: true)
            outcome.acknowledged[key] = try await gateway.openSession(request, options: options).productRuntimeSessionID
          } catch let error as RPCError {
            outcome.errors.append(error)
            if error.code == .unavailable { outcome.unknown.append(key) } else { outcome.refused.append(key) }
          } catch { Issue.record(error) }
          return outcome
        }
      }
      return await group.reduce(into: Outcomes()) { $0.add($1) }
    }
    await channel.close()
    return outcomes
  }

  func listed() async throws -> Set<String> {
    let channel = try channel()
    let gateway = ProductRuntimeGatewayClient(channel.intercepted(by: [CallCredentials.bearer("dev:ops:OPS-0001:vienna:ops_lead")]))
    var found: Set<String> = []
    var request = ListSessionsRequest(pageSize: 500)
    repeat {
      let page = try await gateway.listSessions(request, options: CallOptions(timeout: .seconds(60), waitForReady: true))
      found.formUnion(page.sessions.map(\.productRuntimeSessionID))
      request.pageToken = page.nextPageToken
    } while !request.pageToken.isEmpty
    await channel.close()
    return found
  }

  private func channel() throws -> HTTP2Channel { try HTTP2Channel(#require(ChannelTarget(server.address))) }
}
