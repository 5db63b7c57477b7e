import Glibc
import SpanwireDatabase
import SpanwireEventLoop
import Testing

@Suite(.timeLimit(.minutes(15))) struct TransactionTests {
  @Test("values come back as they went in")
  func values() async throws {
    let folder = TemporaryFolder()
    let database = try await SQLiteDatabase.open(
      path: folder.file, durability: .off,
      migrations: [Migrations("test", [.init("t", sqlite: "CREATE TABLE t (a INTEGER, b REAL, c TEXT, d BLOB, e INTEGER) STRICT")])])
    let text = "Kaffee ☕️ und Öl"
    let row = try await database.transaction("values") { transaction in
      try transaction.execute("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5)", Int64.min, 0.25, text, [UInt8]([0, 255]), true)
      try transaction.execute("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5)", Int64?.none, Double?.none, "", [UInt8](), UInt64.max)
      return try transaction.query("SELECT a, b, c, d, e FROM t") { row in
        let e: UInt64 = row[4]
        return
          "\(row.get(0, as: Int64?.self) ?? 1) \(row.get(1, as: Double?.self) ?? 2) \(row.get(2, as: String.self)) \(row.get(3, as: [UInt8].self)) \(e)"
      }
    }.value
    #expect(row == ["\(Int64.min) 0.25 \(text) [0, 255] 1", "1 2.0  [] \(UInt64.max)"])
    await #expect(throws: DatabaseError.textHoldsNUL) {
      _ = try await database.transaction("nul") { try $0.execute("INSERT INTO t (c) VALUES (?1)", "a\0b") }
    }
    await database.close()
  }

  @Test("many callers share commits, and each of them is counted")
  func groupCommit() async throws {
    let folder = TemporaryFolder()
    let database = try await counterDatabase(folder)
    await withTaskGroup(of: Void.self) { group in
      for caller in 0..<200 {
        group.addTask { for _ in 0..<5 { try? await database.add(1, to: "c\(caller % 7)") } }
      }
    }
    let total = try await database.read { try $0.first("SELECT sum(value) FROM counter") { $0.get(0, as: Int64.self) } }
    #expect(total == 1000)
    let commits = database.commits
    #expect(commits.transactions >= 1000)
    #expect(commits.groups < 1000)
    await database.close()
  }

  @Test("a closure that throws loses its own writes and nobody else's")
  func refusals() async throws {
    let folder = TemporaryFolder()
    let database = try await counterDatabase(folder)
    let refused = await withTaskGroup(of: Bool.self) { group in
      for caller in 0..<300 {
        group.addTask {
          do {
            _ = try await database.transaction("refuse") { transaction in
              try transaction.execute("INSERT INTO counter (id, value) VALUES (?1, 1)", "k\(caller)")
              if caller % 3 == 0 { throw Refused() }
            }
            return false
          } catch { return error is Refused }
        }
      }
      return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
    let count = try await database.read { try $0.first("SELECT count(*) FROM counter") { $0.get(0, as: Int.self) } }
    #expect(count == 200)
    #expect(refused == 100)
    await database.close()
  }

  @Test("a write that touches another number of rows than expected is refused")
  func expectations() async throws {
    let folder = TemporaryFolder()
    let database = try await counterDatabase(folder)
    try await database.add(1, to: "a")
    await #expect(throws: DatabaseError.self) {
      _ = try await database.transaction("miss") { transaction in
        try transaction.execute("UPDATE counter SET value = 9")
        try transaction.execute("UPDATE counter SET value = 5 WHERE id = ?1 AND value = ?2", "a", 77, expecting: .rows(1))
      }
    }
    #expect(try await database.value("a") == 1)
    await #expect(throws: DatabaseError.self) {
      _ = try await database.transaction("duplicate") { try $0.execute("INSERT INTO counter (id, value) VALUES ('a', 1)") }
    }
    await database.close()
  }

  @Test("a statement may be used while it is in use")
  func nestedStatements() async throws {
    let folder = TemporaryFolder()
    let database = try await counterDatabase(folder)
    for id in ["a", "b", "c"] { try await database.add(1, to: id) }
    @Sendable func count(_ depth: Int, _ transaction: borrowing Transaction) throws -> Int {
      if depth == 0 { return 1 }
      var sum = 0
      for _ in try transaction.query(
        "SELECT id FROM counter", row: { try count(depth - 1, transaction) + $0.get(0, as: String.self).count })
      { sum += 1 }
      return sum
    }
    #expect(try await database.transaction("nested") { try count(3, $0) }.value == 3)
    await database.close()
  }

  @Test("a full queue refuses at once, and says its bound")
  func busy() async throws {
    let folder = TemporaryFolder()
    let database = try await counterDatabase(folder, queueLimit: 4)
    let entered = DispatchGate()
    let gate = DispatchGate()
    let first = Task {
      try await database.transaction("hold") { _ in
        entered.open()
        gate.wait()
      }
    }
    await Task.detached { entered.wait() }.value
    let outcomes = await withTaskGroup(of: Bool.self) { group in
      for _ in 0..<12 {
        group.addTask {
          do {
            try await database.add(1, to: "x")
            return true
          } catch DatabaseError.busy(limit: 4) {
            // The first refusal proves that the queue was full: now it may go on.
            gate.open()
            return false
          } catch { return false }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    _ = try await first.value
    #expect(outcomes.contains(true) && outcomes.contains(false))
    #expect(try await database.value("x") == Int64(outcomes.count { $0 }))
    await database.close()
    await #expect(throws: DatabaseError.closed) { try await database.add(1, to: "x") }
  }

  @Test("on a loop, a read sees every commit that was answered before it")
  func readYourWrites() async throws {
    let folder = TemporaryFolder()
    let database = try await counterDatabase(folder)
    let loops = EventLoopGroup(loops: 2)
    await withTaskGroup(of: Void.self) { group in
      for task in 0..<20 {
        let loop = loops.loops[task % 2]
        group.addTask(executorPreference: loop) {
          for round in 1...30 {
            do {
              try await database.add(1, to: "t\(task)")
              #expect(EventLoop.current === loop)
              let value = try await database.value("t\(task)")
              #expect(value == Int64(round))
            } catch { Issue.record(error) }
          }
        }
      }
    }
    await database.close()
    loops.stop()
  }
}

/// Lets a thread wait for a test's word.
final class DispatchGate: @unchecked Sendable {
  // Sendable: a POSIX semaphore is made for it.
  private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
  init() { sem_init(semaphore, 0, 0) }
  deinit { semaphore.deallocate() }
  func open() { sem_post(semaphore) }
  func wait() { while sem_wait(semaphore) != 0 {} }
}
