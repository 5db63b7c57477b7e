import CNghttp2

/// Remembers what the fields of the blocks before were, so that those which come again are not looked at again.
///
/// Whoever calls over a connection sends the same fields with every call, most of them as references to a table that both ends keep
/// (RFC 7541), and nghttp2 gives the same two objects for the same entry of its table. So a field is known by their addresses: those of what
/// is remembered are held, and nothing else can be there. What comes for the second time in the same place of its block is remembered, until
/// something else comes there.
struct FieldMemo {
  /// A field that may stand in a message. The bytes are valid while nghttp2 gives the field, or while it is remembered.
  struct Field {
    let name: UnsafeRawBufferPointer
    /// Without the blanks at its ends.
    let value: UnsafeRawBufferPointer
    let rule: FieldRule
  }

  private struct Entry {
    var name: OpaquePointer?
    var value: OpaquePointer?
    /// Both are held.
    var isKnown = false
  }

  /// Places that are remembered: more than most requests have fields.
  private static let places = 16
  /// Where trailers begin, which are few.
  static let trailers = 12
  /// The longest field that is remembered: with the places, it bounds what a peer can make a connection hold to 8 KiB.
  private static let longest = 512

  // Made when the first field comes: connections that serve nothing need neither.
  private var entries: UnsafeMutablePointer<Entry>?
  /// One more than there are places: for the field at hand when it is not remembered.
  private var fields: UnsafeMutablePointer<Field>?
  private let kind: MessageRules.Kind

  /// Of the messages of one kind, which all belong to one session.
  init(_ kind: MessageRules.Kind) { self.kind = kind }

  /// Lets everything go. Its session does that before it lets its memory go.
  mutating func release() {
    guard let entries else { return }
    for place in 0..<Self.places { forget(entries + place) }
    entries.deallocate()
    fields?.deallocate()
    self.entries = nil
    fields = nil
  }

  /// What stands in a place of a block; nil if it may not stand anywhere. Valid until the next question.
  @inline(__always)
  mutating func field(at place: Int, _ name: OpaquePointer, _ value: OpaquePointer) -> UnsafePointer<Field>? {
    if let entries, let fields, place < Self.places {
      let entry = entries + place
      if entry.pointee.name == name, entry.pointee.value == value, entry.pointee.isKnown { return UnsafePointer(fields + place) }
    }
    return look(place, name, value)
  }

  @inline(never)
  private mutating func look(_ place: Int, _ name: OpaquePointer, _ value: OpaquePointer) -> UnsafePointer<Field>? {
    let nameText = Self.text(name), text = Self.text(value)
    guard let rule = FieldRule(nameText, text, in: kind) else { return nil }
    let (entries, fields) = made()
    var home = fields + Self.places
    if place < Self.places, nameText.count + text.count <= Self.longest {
      let entry = entries + place
      if entry.pointee.name == name, entry.pointee.value == value {
        nghttp2_rcbuf_incref(name)
        nghttp2_rcbuf_incref(value)
        entry.pointee.isKnown = true
        home = fields + place
      } else {
        forget(entry)
        entry.initialize(to: Entry(name: name, value: value))
      }
    }
    // gRPC's libraries send blanks around a value, in messages and metadata, where RFC 9113 has none.
    home.initialize(to: Field(name: nameText, value: text.withoutBlanks, rule: rule))
    return UnsafePointer(home)
  }

  private mutating func made() -> (UnsafeMutablePointer<Entry>, UnsafeMutablePointer<Field>) {
    if let entries, let fields { return (entries, fields) }
    let (entries, fields) = (
      UnsafeMutablePointer<Entry>.allocate(capacity: Self.places), UnsafeMutablePointer<Field>.allocate(capacity: Self.places + 1)
    )
    entries.initialize(repeating: Entry(), count: Self.places)
    self.entries = entries
    self.fields = fields
    return (entries, fields)
  }

  private func forget(_ entry: UnsafeMutablePointer<Entry>) {
    guard entry.pointee.isKnown else { return }
    entry.pointee.isKnown = false
    nghttp2_rcbuf_decref(entry.pointee.name)
    nghttp2_rcbuf_decref(entry.pointee.value)
  }

  @inline(__always)
  private static func text(_ object: OpaquePointer) -> UnsafeRawBufferPointer {
    let bytes = nghttp2_rcbuf_get_buf(object)
    return UnsafeRawBufferPointer(start: bytes.base, count: bytes.len)
  }
}
