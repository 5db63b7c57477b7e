import Glibc
import SpanwireDatabase
import Synchronization
import SpanwireEventLoop
import Testing

@Suite(.timeLimit(.minutes(15))) struct DurabilityTests {
  @Test(
    "killed before its commit a transaction never was; killed after it, it is there",
    arguments: [
      ("before-commit:3", 0), ("after-commit-before-reply:3", 1),
    ])
  func killed(place: String, survives: Int64) async throws {
    let folder = TemporaryFolder()
    let file = folder.file
    // Opening commits three times (two migrations, leases among them, and their checks); the fourth and later are the test's own.
    await #expect(processExitsWith: .signal(SIGKILL)) { [file = file as String, place = place as String] in
      let database = try await SQLiteDatabase.open(path: file, migrations: [counters])
      try await database.add(1, to: "a")
      try await database.add(1, to: "a")
      Failpoint.arm(place)
      for _ in 0..<5 { try await database.add(1, to: "a") }
    }
    let database = try await SQLiteDatabase.open(path: file, migrations: [counters])
    #expect(try await database.value("a") == 4 + survives)
    await database.close()
  }

  @Test("a disk that fills up refuses what does not fit, each on its own, and goes on")
  func full() async throws {
    let folder = TemporaryFolder()
    let file = folder.file
    await #expect(processExitsWith: .success) { [file = file as String] in
      let database = try await SQLiteDatabase.open(path: file, migrations: [counters])
      guard try await fillsUp(database) else { exit(1) }
      await database.close()
    }
    let database = try await SQLiteDatabase.open(path: file, migrations: [counters])
    #expect(try await database.read { try $0.first("SELECT count(*) FROM counter") { $0.get(0, as: Int.self) } }! > 0)
    await database.close()
  }

  @Test("a database in use is refused to others")
  func lock() async throws {
    let folder = TemporaryFolder()
    let database = try await counterDatabase(folder)
    #expect(throws: DatabaseError.locked(path: folder.file + ".lock")) { try SQLiteDatabase(path: folder.file) }
    await database.close()
  }

  @Test("a database that is closed holds nothing of its file, whoever still holds the object")
  func closed() async throws {
    let folder = TemporaryFolder()
    let loops = EventLoopGroup(loops: 1)
    let loop = loops.loops[0]
    let database = try await counterDatabase(folder)
    let read = Task(executorPreference: loop) { try await database.value("a") }
    _ = try await read.value
    #expect(!folder.openFiles.isEmpty)
    await database.close()
    // The loop comes to this after what closing told it.
    await withUnsafeContinuation { continuation in loop.execute { continuation.resume() } }
    #expect(folder.openFiles == [])
    let again = try await counterDatabase(folder)
    await again.close()
    let late = Task(executorPreference: loop) { try await database.value("a") }
    await #expect(throws: DatabaseError.closed) { try await late.value }
    loops.stop()
  }

  @Test("a damaged file is refused when it opens")
  func damage() async throws {
    let folder = TemporaryFolder()
    do {
      let database = try await counterDatabase(folder)
      for id in 0..<2_000 { try await database.add(1, to: "some-counter-with-a-name-\(id)") }
      await database.close()
    }
    let descriptor = open(folder.file, O_RDWR)
    let noise = [UInt8](repeating: 0xA5, count: 4096)
    for page in 5..<12 { pwrite(descriptor, noise, 4096, page * 4096) }
    close(descriptor)
    #expect(throws: DatabaseError.self) { try SQLiteDatabase(path: folder.file) }
  }

  static let steps: [Migrations.Step] = [
    .init("one", sqlite: "CREATE TABLE one (id INTEGER) STRICT"),
    .init("two", sqlite: "CREATE TABLE two (id INTEGER) STRICT; CREATE TABLE three (id INTEGER) STRICT"),
  ]

  @Test(
    "migrations run once, in order; an edited or a newer history is refused",
    arguments: [
      ([0], true), ([0, 1], true), ([], false), ([1, 0], false), ([2], false),
    ])
  func migrations(next: [Int], fits: Bool) async throws {
    let folder = TemporaryFolder()
    let edited = Migrations.Step("one", sqlite: "CREATE TABLE one (id TEXT) STRICT")
    let database = try await SQLiteDatabase.open(path: folder.file, durability: .off, migrations: [Migrations("room", [Self.steps[0]])])
    let release = Migrations("room", next.map { (Self.steps + [edited])[$0] })
    if fits {
      for _ in 0..<2 { try await database.migrate(release) }
      let tables = try await database.read {
        try $0.query("SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('one', 'two', 'three') ORDER BY name") {
          $0.get(0, as: String.self)
        }
      }
      #expect(tables == (next.count == 1 ? ["one"] : ["one", "three", "two"]))
    } else {
      await #expect(throws: DatabaseError.self) { try await database.migrate(release) }
    }
    await database.close()
  }

  @Test("a file with the tables of a room that nobody knows is refused, and so is one that has gone further; nothing is changed by that")
  func newerHistory() async throws {
    let folder = TemporaryFolder()
    let two = Migrations("two", Self.steps)
    await (try SQLiteDatabase.open(path: folder.file, durability: .off, migrations: [counters, two])).close()
    let before = try bytes(of: folder.file)
    for rooms in [[counters], [counters, Migrations("two", [Self.steps[0]])]] {
      let more = Migrations("afresh", [.init("afresh", sqlite: "CREATE TABLE afresh (id INTEGER) STRICT")])
      do {
        let opened = try await SQLiteDatabase.open(path: folder.file, durability: .off, migrations: [more] + rooms)
        await opened.close()
        Issue.record("it was opened")
      } catch DatabaseError.schema(let message) { #expect(message.contains("older")) }
    }
    #expect(try bytes(of: folder.file) == before)
  }

  @Test("a copy made while it is written to is whole: of one moment, sound, and a database of its own")
  func backup() async throws {
    let folder = TemporaryFolder()
    let database = try await counterDatabase(folder)
    // Two counters that only ever change together.
    let stop = Atomic<Bool>(false)
    async let writing: Int64 = {
      var count: Int64 = 0
      while !stop.load(ordering: .relaxed) {
        _ = try await database.transaction("both") { transaction in
          for id in ["left", "right"] {
            try transaction.execute(
              """
              INSERT INTO counter (id, value) VALUES (?1, 1)
              ON CONFLICT (id) DO UPDATE SET value = counter.value + 1, note = zeroblob(counter.value % 30000)
              """, id)
          }
        }
        count += 1
      }
      return count
    }()
    for _ in 0..<20 { try await database.add(1, to: "left-\(Int.random(in: 0..<1_000))") }
    let copy = folder.path + "/copy.db"
    do {
      defer { stop.store(true, ordering: .relaxed) }
      try await database.backup(to: copy)
      await #expect(throws: DatabaseError.self) { try await database.backup(to: copy) }
      #expect(try await database.examine() == [])
    }
    let written = try await writing
    await database.close()

    let restored = try await SQLiteDatabase.open(path: copy, durability: .off, migrations: [counters])
    let (left, right) = (try await restored.value("left"), try await restored.value("right"))
    #expect(left == right && (left ?? 0) <= written)
    try await restored.add(1, to: "left")
    await restored.close()
  }

  private func bytes(of path: String) throws -> [UInt8] {
    let descriptor = open(path, O_RDONLY)
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = try #require([read(descriptor, &bytes, bytes.count)].first { $0 > 0 })
    return Array(bytes[..<count])
  }

  @Test("a lease has one holder at a time, and its epoch grows with each new one")
  func leases() async throws {
    let folder = TemporaryFolder()
    let database = try await counterDatabase(folder)
    @Sendable func acquire(_ holder: String, _ now: Int64) async throws -> Int64? {
      try await database.transaction("lease") { try $0.acquireLease("r", holder: holder, now: now, until: now + 10)?.epoch }.value
    }
    #expect(try await acquire("a", 0) == 1)
    #expect(try await acquire("b", 5) == nil)
    #expect(try await acquire("a", 6) == 1)
    #expect(try await acquire("b", 16) == 2)
    #expect(try await acquire("a", 17) == nil)
    let old = Lease(resource: "r", holder: "a", epoch: 1, expiresAt: 16)
    #expect(try await database.transaction("renew") { try $0.renewLease(old, until: 99) }.value == false)
    let held = Lease(resource: "r", holder: "b", epoch: 2, expiresAt: 26)
    _ = try await database.transaction("release") { try $0.releaseLease(held) }
    #expect(try await acquire("a", 18) == 3)
    // Its own lease, expired, begins anew: somebody may have acted in between.
    #expect(try await acquire("a", 40) == 4)
    #expect(try await database.read { try $0.leaseEpoch("r") } == 4)
    await database.close()
  }

  @Test("a row of a queue goes to one worker")
  func claims() async throws {
    let folder = TemporaryFolder()
    let database = try await counterDatabase(folder)
    for id in 0..<100 { try await database.add(0, to: "w\(id)") }
    let queue = WorkQueue(
      sqlite: "UPDATE counter SET value = ?2 WHERE id IN (SELECT id FROM counter WHERE value <= ?1 ORDER BY id LIMIT ?3) RETURNING id")
    let claimed = try await withThrowingTaskGroup(of: [String].self) { group in
      for _ in 0..<10 {
        group.addTask { try await database.transaction("claim") { try $0.claim(queue, limit: 13, now: 5, until: 50) { $0[0] } }.value }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    #expect(claimed.count == 100)
    #expect(Set(claimed).count == 100)
    await database.close()
  }

  @Test("observers learn of what committed, in order, and of nothing else")
  func observers() async throws {
    final class Number: CommitItem {
      let value: Int
      init(_ value: Int) { self.value = value }
    }
    final class Log: CommitObserver {
      let seen = Mutex<[Int]>([])
      func committed(_ items: [any CommitItem]) { seen.withLock { $0 += items.map { ($0 as! Number).value } } }
      func recovered(_ snapshot: borrowing Snapshot) {}
    }
    let folder = TemporaryFolder()
    let database = try await counterDatabase(folder)
    let log = Log()
    database.observe(log)
    await withTaskGroup(of: Void.self) { group in
      for caller in 0..<200 {
        group.addTask {
          _ = try? await database.transaction("publish") { transaction in
            let next = try transaction.first(
              "INSERT INTO counter (id, value) VALUES ('n', 1) ON CONFLICT (id) DO UPDATE SET value = counter.value + 1 RETURNING value"
            ) { $0.get(0, as: Int.self) }!
            transaction.publish(Number(next))
            transaction.reached(position: Int64(next))
            if caller % 4 == 0 { throw Refused() }
          }
        }
      }
    }
    await database.close()
    #expect(log.seen.withLock { $0 } == Array(1...150))
  }
}

/// Fills a disk that has no more than a mebibyte; true when what was answered and what is stored agree.
private func fillsUp(_ database: SQLiteDatabase) async throws -> Bool {
  // Writes past this size fail as on a full disk, in this process alone.
  signal(SIGXFSZ, SIG_IGN)
  var limit = rlimit(rlim_cur: 1 << 20, rlim_max: 1 << 20)
  setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
  let outcomes = await withTaskGroup(of: [Bool].self) { group in
    for caller in 0..<64 {
      group.addTask {
        var outcomes: [Bool] = []
        for round in 0..<8 {
          do {
            _ = try await database.transaction("fill") {
              try $0.execute(
                "INSERT INTO counter (id, value, note) VALUES (?1, 1, ?2)", "c\(caller)-\(round)", [UInt8](repeating: 7, count: 20_000))
            }
            outcomes.append(true)
          } catch { outcomes.append(false) }
        }
        return outcomes
      }
    }
    return await group.reduce(into: []) { $0 += $1 }
  }
  let stored = outcomes.count { $0 }
  let found = try await database.read { try $0.first("SELECT count(*) FROM counter") { $0.get(0, as: Int.self) } } ?? -1
  print("stored \(stored) of \(outcomes.count), found \(found)")
  return stored > 0 && stored < 512 && outcomes.count == 512 && found >= stored
}
