/// Every bound of what goes out, with its reason.
enum OutboundLimits {
  /// Connections to one host under HTTP/1.1, where a stream that is read occupies one: as many as agents run at a time.
  static let connections = 256
  /// Bytes of a reply that its reader has not taken yet: past it the exchange is given up, since the session does not wait for readers.
  static let unread = 8 << 20
  /// Letters of a foreign error's text: a line that people read.
  static let errorLetters = 200
  /// How often the clock is looked at while an exchange goes on, of its shortest time: so late its end may be noticed.
  static let looks = 8
}
