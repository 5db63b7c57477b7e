/// A database in a file of this machine, which can be copied and looked over while it is in use.
public protocol FileDatabase: Database {
  /// Writes a copy as the database is at one moment, to a path where nothing is, and checks every page of it.
  ///
  /// What comes out is a single file; a server that is given it in a data folder goes on from there. Throws `DatabaseError` and leaves
  /// nothing behind when it cannot be written or does not pass.
  func backup(to path: String) async throws

  /// Reads every page and index; what is wrong, a sentence each.
  func examine() async throws -> [String]
}
