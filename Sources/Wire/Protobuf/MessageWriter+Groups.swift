// Groups, proto2's submessages between a start and an end tag.

extension MessageWriter {
  @inlinable
  public mutating func group(_ number: UInt32, always value: some Message) {
    tag(number, 4)
    value.write(to: &self)
    tag(number, 3)
  }

  @inlinable
  public mutating func group<M: Message>(_ number: UInt32, optional value: M?) { if let value { group(number, always: value) } }

  @inlinable
  public mutating func group(_ number: UInt32, repeated values: [some Message]) {
    backward(values) { $0.group(number, always: $1.value) }
  }
}
