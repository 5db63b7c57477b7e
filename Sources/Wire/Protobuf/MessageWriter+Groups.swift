// Groups, proto2's submessages between a start and an end tag.

extension MessageWriter {
  /// A group that is there.
  @inlinable
  public mutating func group(_ number: UInt32, always value: some Message) {
    tag(number, 4)
    value.write(to: &self)
    tag(number, 3)
  }

  /// A group, if it is there.
  @inlinable
  public mutating func group<M: Message>(_ number: UInt32, optional value: M?) { if let value { group(number, always: value) } }

  /// Groups, one after the other.
  @inlinable
  public mutating func group(_ number: UInt32, repeated values: [some Message]) {
    backward(values) { $0.group(number, always: $1.value) }
  }
}
