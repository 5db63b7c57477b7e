import Foundation
import Testing

/// Rows can be rebuilt from the log, so that whatever differs is found: planted by somebody with SQL, on a stopped server's folder.
@Suite(.serialized)
final class VerifyTests {
  /// What is planted, as a statement; in blobs, one text is put in another's place. And the check that must find it.
  static let plants: [(name: String, script: String, check: String)] = [
    ("a session that is gone", "DELETE FROM prg_sessions", "sessions.rows agree with the log"),
    (
      "a session on another product", "BLOB prg_sessions session PRD-VIEN-COFFEE-PASS PRD-WIEN-COFFEE-PASS",
      "sessions.rows agree with the log"
    ),
    ("a session listed as another state", "UPDATE prg_sessions SET state = 4", "sessions.rows agree with the log"),
    ("a journey that is gone", "DELETE FROM tjm_journeys", "journeys.rows agree with the log"),
    ("a journey at another node", "BLOB tjm_journeys journey plan plam", "journeys.rows agree with the log"),
    ("a journey listed as another state", "UPDATE tjm_journeys SET state = 2", "journeys.rows agree with the log"),
    ("a posting of one more", "UPDATE trutta_ledger SET quantity = quantity + 1 WHERE line = 1", "trutta"),
    (
      "a coffee given back on both sides",
      "UPDATE trutta_ledger SET quantity = quantity + CASE WHEN account LIKE 'holder:%' THEN 1 ELSE -1 END WHERE cause LIKE '%edee%'",
      "trutta"
    ),
    ("an entitlement that holds more", "UPDATE trutta_entitlements SET remaining = remaining + 1", "trutta"),
    ("an event that is gone", "DELETE FROM event_log WHERE position = 7", "log.positions are dense"),
    ("an event of another type", "UPDATE event_log SET type = 'journey.failed' WHERE position = 7", "log.envelopes agree"),
    ("an event of another session", "UPDATE event_log SET session_id = 'PRS-0' WHERE position = 7", "log.envelopes agree"),
  ]

  private static let planter = """
    import sqlite3, sys
    database, script = sqlite3.connect(sys.argv[1]), sys.argv[2]
    if script.startswith("BLOB "):
        _, table, column, old, new = script.split()
        count = 0
        for key, blob in database.execute(f"SELECT rowid, {column} FROM {table}").fetchall():
            changed = bytes(blob).replace(old.encode(), new.encode())
            count += changed != bytes(blob)
            database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, key))
    else:
        count = database.execute(script).rowcount
    database.commit()
    assert count > 0, "nothing was planted"
    """

  @Test("every planted difference between rows and log is found by its check, and a folder without one is sound")
  func planted() throws {
    let server = try ServerProcess()
    try server.start()
    let day = try spanwire([
      "demo", "--server", server.address, "--home", Checkout.home.path, "--python", Checkout.python, "--run", "planted",
    ])
    #expect(day.code == 0, "\(day.output)")
    #expect(server.terminate() == 0)
    for plant in [("nothing", "", "")] + Self.plants {
      let copy = try ServerProcess()
      try FileManager.default.removeItem(at: copy.data)
      try FileManager.default.copyItem(at: server.data, to: copy.data)
      if !plant.1.isEmpty {
        let planting = try run(Checkout.python, ["-c", Self.planter, copy.data.appending(path: "spanwire.db").path, plant.1])
        #expect(planting.code == 0, "\(plant.0): \(planting.output)")
      }
      try copy.start()
      let verdict = try spanwire(["verify", "--server", copy.address])
      let failed = verdict.output.split(separator: "\n").filter { $0.hasPrefix("FAIL") }
      #expect(verdict.code == (plant.1.isEmpty ? 0 : 1), "\(plant.0): \(verdict.output)")
      #expect(plant.1.isEmpty || failed.contains { $0.contains(plant.2) }, "\(plant.0): \(verdict.output)")
      copy.kill()
    }
  }
}
