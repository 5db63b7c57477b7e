/// How much is read of a connection before the others of its loop have their turn.
///
/// A client begins with little and gets more as it fills what it has. One that strains the server is back at little: frames that cost work
/// and move nothing are small, so many of them in one read would keep everybody else waiting for as long as they take.
struct ReadPace {
  /// Bytes of one read.
  private(set) var bytes: Int
  private let least: Int
  private let most: Int
  /// Reads in a turn.
  var reads: Int { bytes == most ? Self.mostReads : 1 }

  /// Some thirty calls of the smallest kind that are reset at once, or as many of the largest fields that a byte can name: a quarter of a
  /// millisecond's work.
  private static let firstBytes = 1024
  /// Reads in a turn of a connection that has shown that it moves data.
  private static let mostReads = 8

  /// A client's to begin with.
  init(most: Int) {
    self.most = most
    least = min(Self.firstBytes, most)
    bytes = least
  }

  /// For a peer that we chose ourselves.
  init(always bytes: Int) {
    least = bytes
    most = bytes
    self.bytes = bytes
  }

  /// What a read came to.
  mutating func hasRead(_ count: Int, isStrained: Bool) {
    if isStrained { bytes = least } else if count == bytes, bytes < most { bytes = min(2 * bytes, most) }
  }
}
