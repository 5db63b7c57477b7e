/// Fields that this build has no declaration for, as they came: tag and value, one after the other.
public struct UnknownFields: Hashable, Sendable {
  /// Wire bytes, in wire order; an empty array costs nothing.
  public var bytes: [UInt8]

  /// Fields as they stand on the wire.
  public init(bytes: [UInt8] = []) { self.bytes = bytes }
  /// Whether there are none.
  public var isEmpty: Bool { bytes.isEmpty }
}

/// A submessage behind a reference, so that a message type may contain itself. Copies are independent.
public struct Indirect<Value: Hashable & Sendable>: Hashable, Sendable {
  private final class Box: Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
  }

  private var box: Box

  /// Boxes a value.
  public init(_ value: Value) { box = Box(value) }

  /// What is in the box; boxes that share a value part when one is changed.
  public var value: Value {
    get { box.value }
    set { box = Box(newValue) }
  }

  /// Equal when what is in the boxes is.
  public static func == (left: Self, right: Self) -> Bool { left.box === right.box || left.value == right.value }
  /// Hashes what is in the box.
  public func hash(into hasher: inout Hasher) { hasher.combine(value) }
}

/// A map field: pairs in the order they came, one for each key.
///
/// Maps on the wire are small; an array of pairs is built at a quarter of a Dictionary's price. A lookup walks the pairs, so
/// whoever looks up often in a large map makes a Dictionary of it: `Dictionary(uniqueKeysWithValues: map.pairs)`.
public struct ProtoMap<Key: Hashable & Sendable, Value: Hashable & Sendable>: Sendable {
  /// An entry.
  public typealias Element = (key: Key, value: Value)

  @usableFromInline var storage: [Element]

  /// The pairs; keys are unique.
  @inlinable
  public var pairs: [Element] { storage }

  /// No entries.
  @inlinable
  public init() { storage = [] }

  /// Takes pairs as the wire gives them: of several with one key, the last counts.
  @inlinable
  public init(pairs: [Element]) {
    storage = pairs
    removeDuplicates()
  }

  /// The entries of a dictionary, in its order.
  public init(_ dictionary: [Key: Value]) { storage = dictionary.map { ($0.key, $0.value) } }

  /// The keys, in order.
  public var keys: [Key] { pairs.map(\.key) }
  /// The values, in order.
  public var values: [Value] { pairs.map(\.value) }
  /// The entries as a dictionary.
  public var dictionary: [Key: Value] { Dictionary(uniqueKeysWithValues: pairs.map { ($0.key, $0.value) }) }

  /// The value of a key; nil when it has none. Setting nil removes it. Looks through all entries.
  public subscript(key: Key) -> Value? {
    get { pairs.first { $0.key == key }?.value }
    set {
      if let index = pairs.firstIndex(where: { $0.key == key }) {
        if let newValue { storage[index].value = newValue } else { storage.remove(at: index) }
      } else if let newValue {
        storage.append((key, newValue))
      }
    }
  }

  /// The value of a key, or the fallback when it has none.
  public subscript(key: Key, default fallback: @autoclosure () -> Value) -> Value {
    get { self[key] ?? fallback() }
    set { self[key] = newValue }
  }

  @inlinable
  mutating func removeDuplicates() {
    guard pairs.count > 1 else { return }
    // Comparing every pair with every other is cheapest for a handful and a weapon for the sender of many.
    if pairs.count <= 8 {
      for index in pairs.indices.dropFirst() {
        for earlier in 0..<index where pairs[earlier].key == pairs[index].key { return dropOverwritten() }
      }
      return
    }
    if Set(pairs.lazy.map(\.key)).count < pairs.count { dropOverwritten() }
  }

  @usableFromInline
  mutating func dropOverwritten() {
    var positions: [Key: Int] = [:]
    var kept: [Element] = []
    for pair in pairs {
      if let position = positions[pair.key] {
        kept[position].value = pair.value
      } else {
        positions[pair.key] = kept.count
        kept.append(pair)
      }
    }
    storage = kept
  }
}

extension ProtoMap: RandomAccessCollection {
  /// The first entry's place.
  public var startIndex: Int { 0 }
  /// The place behind the last entry.
  public var endIndex: Int { pairs.count }
  /// The entry at a place.
  public subscript(position: Int) -> Element { pairs[position] }
}

extension ProtoMap: ExpressibleByDictionaryLiteral {
  /// The entries of a literal; a later entry of the same key wins.
  public init(dictionaryLiteral elements: (Key, Value)...) { self.init(pairs: elements.map { ($0.0, $0.1) }) }
}

extension ProtoMap: Hashable {
  /// Equal when the same keys have the same values, in whatever order.
  public static func == (left: Self, right: Self) -> Bool {
    guard left.count == right.count else { return false }
    if left.count <= 8 { return left.pairs.allSatisfy { right[$0.key] == $0.value } }
    return left.dictionary == right.dictionary
  }

  /// The order of the pairs does not count.
  public func hash(into hasher: inout Hasher) {
    var sum = 0
    for pair in pairs {
      var one = Hasher()
      one.combine(pair.key)
      one.combine(pair.value)
      sum &+= one.finalize()
    }
    hasher.combine(pairs.count)
    hasher.combine(sum)
  }
}
