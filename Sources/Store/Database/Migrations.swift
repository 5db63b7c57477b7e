/// A room's schema, as the steps that made it. A step that has shipped is never edited: its text is checked at every start.
public struct Migrations: Sendable {
  public let room: String
  public let steps: [Step]

  /// One step. Engines differ here and only here.
  public struct Step: Sendable {
    public let name: String
    public let sqlite: String

    public init(_ name: String, sqlite: String) {
      self.name = name
      self.sqlite = sqlite
    }

    /// FNV-1a of the text: it must tell an edit from none, not withstand an enemy.
    var checksum: Int64 {
      var hash: UInt64 = 0xcbf2_9ce4_8422_2325
      for byte in sqlite.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
      return Int64(bitPattern: hash)
    }
  }

  public init(_ room: String, _ steps: [Step]) {
    self.room = room
    self.steps = steps
  }
}

extension Migrations {
  /// What the store needs for itself: the history of migrations, and leases.
  static let own = Migrations(
    "database",
    [
      Step(
        "leases",
        sqlite: """
          CREATE TABLE lease (
            resource TEXT NOT NULL PRIMARY KEY,
            holder TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            expires_at INTEGER NOT NULL
          ) STRICT, WITHOUT ROWID;
          """)
    ])

  struct Applied {
    let number: Int
    let name: String
    let checksum: Int64
  }

  /// How many steps stand; throws when what is applied is not a beginning of these steps.
  func check(_ history: [Applied]) throws -> Int {
    for (index, applied) in history.enumerated() {
      guard index < steps.count else {
        throw DatabaseError.schema("\(room) has step \(applied.number) “\(applied.name)”, which this release does not know: it is older")
      }
      let step = steps[index]
      guard applied.number == index + 1, applied.name == step.name, applied.checksum == step.checksum else {
        throw DatabaseError.schema(
          "\(room) step \(index + 1) was “\(applied.name)” when applied, and is “\(step.name)” with another text now")
      }
    }
    return history.count
  }
}
