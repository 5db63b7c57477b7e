import SpanwireDatabase

/// What a full page of the log holds, in a few hundred bytes: a Bloom filter over what events can be found by. A reader that looks for
/// little passes over the pages that cannot have it, without an index that every commit would have to keep.
struct PageSummary: Sendable, Hashable {
  /// Bits for each entry, and how many of them it sets: one page in two thousand is read in vain.
  private static let bitsPerEntry = 16
  private static let probes = 8

  let bytes: [UInt8]

  init(bytes: [UInt8]) { self.bytes = bytes }

  init(_ headers: [EventHeader]) {
    var entries: Set<UInt64> = []
    entries.reserveCapacity(headers.count * 4)
    var types: Set<String> = []
    var previous: EventHeader?
    for header in headers {
      Self.entries(of: header, after: previous, isNewType: types.insert(header.type).inserted) { entries.insert($0) }
      previous = header
    }
    // The length is the number of entries, give or take a byte, and is not stored beside them.
    var bytes = [UInt8](repeating: 0, count: max(8, entries.count * Self.bitsPerEntry / 8))
    for entry in entries {
      Self.bits(of: entry, among: bytes.count * 8) {
        bytes[$0 >> 3] |= 1 << UInt8($0 & 7)
        return true
      }
    }
    self.bytes = bytes
  }

  /// False only when no event of the page matches.
  func mayHold(_ wanted: Wanted) -> Bool {
    wanted.all.allSatisfy(has) && (wanted.types.isEmpty || wanted.types.contains(where: has))
      && (wanted.lanes.isEmpty || wanted.lanes.contains(where: has))
  }

  private func has(_ entry: UInt64) -> Bool {
    var isThere = true
    Self.bits(of: entry, among: bytes.count * 8) {
      isThere = bytes[$0 >> 3] & 1 << UInt8($0 & 7) != 0
      return isThere
    }
    return isThere
  }

  /// A filter's question to a summary.
  struct Wanted: Sendable {
    fileprivate var all: [UInt64] = []
    /// One of these; empty for any.
    fileprivate var types: [UInt64] = []
    fileprivate var lanes: [UInt64] = []

    /// Nil when the filter admits so much that asking is not worth it.
    init?(_ filter: LogFilter) {
      if !filter.session.isEmpty { all.append(PageSummary.hash(.session, filter.session)) }
      if !filter.journey.isEmpty { all.append(PageSummary.hash(.journey, filter.journey)) }
      if !filter.trace.isEmpty { all.append(PageSummary.hash(.trace, filter.trace)) }
      let prefixes = filter.types.map { $0.literalPrefix }
      if !prefixes.contains("") { types = prefixes.map { PageSummary.hash(.type, $0) } }
      if all.isEmpty && types.isEmpty && filter.lanes.isEmpty { return nil }
      lanes = filter.lanes.map { PageSummary.hash(.lane, [UInt8(truncatingIfNeeded: $0.rawValue)]) }
      if let tenant = filter.tenant { all.append(PageSummary.hash(.tenant, tenant)) }
    }
  }

  // MARK: Entries

  private enum Kind: UInt8 {
    case tenant, session, journey, trace, type, lane
  }

  /// Neighbours are mostly of one transaction and say much the same, which need not be hashed again.
  private static func entries(of header: EventHeader, after previous: EventHeader?, isNewType: Bool, _ take: (UInt64) -> Void) {
    if header.tenant != previous?.tenant { take(hash(.tenant, header.tenant)) }
    if !header.session.isEmpty, header.session != previous?.session { take(hash(.session, header.session)) }
    if !header.journey.isEmpty, header.journey != previous?.journey { take(hash(.journey, header.journey)) }
    if !header.trace.isEmpty, header.trace != previous?.trace { take(hash(.trace, header.trace)) }
    if header.lane != previous?.lane { take(hash(.lane, [UInt8(truncatingIfNeeded: header.lane.rawValue)])) }
    guard isNewType else { return }
    // The name and every part of it that ends in a dot, for globs such as `journey.*`.
    take(hash(.type, header.type))
    var prefix = ""
    for part in header.type.split(separator: ".").dropLast() {
      prefix += part + "."
      take(hash(.type, prefix))
    }
  }

  private static func hash(_ kind: Kind, _ text: String) -> UInt64 {
    var text = text
    return text.withUTF8 { hash(kind, $0) }
  }

  /// FNV-1a, and a last stir so that both halves depend on every byte. Stored: it may not change.
  private static func hash(_ kind: Kind, _ bytes: some Sequence<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    hash = (hash ^ UInt64(kind.rawValue)) &* 0x100_0000_01b3
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    hash = (hash ^ (hash >> 31)) &* 0x94D0_49BB_1331_11EB
    return hash ^ (hash >> 29)
  }

  /// Calls `visit` with the bits of an entry until it returns false.
  private static func bits(of entry: UInt64, among count: Int, _ visit: (Int) -> Bool) {
    var place = entry & 0xFFFF_FFFF
    let step = entry >> 32 | 1
    for _ in 0..<probes {
      if !visit(Int(place % UInt64(count))) { return }
      place &+= step
    }
  }
}

extension TypeGlob {
  /// What every name that matches is known by in a summary: the whole name, or its part up to the last dot before the first star; empty
  /// when there is none.
  var literalPrefix: String {
    guard let star = text.firstIndex(of: "*") else { return text }
    guard let dot = text[..<star].lastIndex(of: ".") else { return "" }
    return String(text[...dot])
  }
}

/// The rows of pages: written when a page is full, changed by compaction alone.
extension LogStore {
  struct Page {
    let number: Int64
    /// Events that are left on it.
    let kept: Int64
    let summary: PageSummary
  }

  /// The first full page from `number` on that may hold what is wanted, and how far summaries were read: less than `end` when there are
  /// more than are read at a time.
  static func firstPage(
    _ reader: borrowing some Reader & ~Copyable, from number: Int64, before end: Int64, _ wanted: PageSummary.Wanted
  ) throws -> (found: Int64?, through: Int64) {
    var next = number
    // What is dense is found at once; what is rare is looked for in long strides.
    var stride: Int64 = 4
    while next < end, next < number + EventLogLimits.summariesPerRead {
      let batch = min(end, next + stride)
      stride = min(stride * 8, EventLogLimits.summaries)
      let found = try reader.query(
        "SELECT number, summary FROM event_page WHERE number >= ?1 AND number < ?2 ORDER BY number", next, batch
      ) { row in PageSummary(bytes: row[1]).mayHold(wanted) ? row.get(0, as: Int64.self) : -1 }
      if let page = found.first(where: { $0 >= 0 }) { return (page, page) }
      next = batch
    }
    return (nil, next)
  }

  static func pages(_ reader: borrowing some Reader & ~Copyable, from first: Int64, before end: Int64) throws -> [Page] {
    try reader.query("SELECT number, kept, summary FROM event_page WHERE number >= ?1 AND number < ?2 ORDER BY number", first, end) {
      Page(number: $0[0], kept: $0[1], summary: PageSummary(bytes: $0[2]))
    }
  }
}

extension Transaction {
  /// A page has become full.
  ///
  /// - Parameter known: the headers of all of its events; nil when they have to be read.
  func sealPage(endingAt position: Int64, _ lastAt: Int64, _ known: [EventHeader]?) throws {
    let headers =
      try known
      ?? query(
        """
        SELECT type, lane, tenant_id, session_id, journey_instance_id, trace_id FROM event_log WHERE position > ?1 AND position <= ?2
        """, position - EventLogLimits.page, position
      ) { EventHeader(type: $0[0], tenant: $0[2], session: $0[3], journey: $0[4], trace: $0[5], lane: $0[1], producer: "") }
    try execute(
      "INSERT INTO event_page (number, kept, last_at, compacted, summary) VALUES (?1, ?2, ?3, 0, ?4)",
      position / EventLogLimits.page - 1, headers.count, lastAt, PageSummary(headers).bytes, expecting: .rows(1))
  }
}
