// What generated code calls. For the message
//
//     message Place {
//       string place_id = 1;  LatLng position = 2;  repeated string tags = 3;  map<string, Part> parts = 4;  PlaceKind kind = 5;
//       optional int32 floor = 6;  oneof target { Area area = 7; string name = 8; }  repeated sint64 deltas = 9;
//       repeated Place near = 10;  repeated PlaceKind kinds = 11;  bool open = 12;  Place parent = 13;
//     }
//
// the generator writes
//
//     public struct Place: Message {
//       public static let protoTypeName = "spanwire.city.v1.Place"
//       public static let table = MessageTable(
//         typeName: protoTypeName, descriptor: spanwire__city__v1__place__table(), strings: [1, 3, 8]
//       ) {
//         [.message(2, LatLng.table), .map(4, strings: [1], value: Part.table), .message(7, Area.table), .message(10, Place.table)]
//       }                                                // every message and map field; oneof members too; order is free
//       public static var file: GeneratedFile { cityFile }
//
//       public init(cStruct: UnsafeRawPointer) {
//         let c = cStruct.assumingMemoryBound(to: Spanwire__City__V1__Place.self)     // read through `c.pointee`, don't copy the struct
//         placeID = CField.string(c.pointee.place_id)
//         position = CField.message(c.pointee.position)                               // Optional from a pointer
//         tags = CField.strings(c.pointee.n_tags, c.pointee.tags)
//         parts = CField.map(c.pointee.n_parts, c.pointee.parts) { (CField.string($0.pointee.key), CField.message($0.pointee.value) ?? Part()) }
//         kind = CField.enumeration(c.pointee.kind)
//         floor = c.pointee.floor_case == … ? c.pointee.floor : nil
//         deltas = CField.scalars(c.pointee.n_deltas, c.pointee.deltas)               // any number type
//         near = CField.messages(c.pointee.n_near, c.pointee.near)
//         kinds = CField.enumerations(c.pointee.n_kinds, c.pointee.kinds)
//         open = c.pointee.open != 0                                                  // repeated: CField.bools; bytes: CField.bytes,
//         parentBox = CField.indirect(c.pointee.parent)                               //   repeated CField.byteArrays
//         unknownFields = CField.unknownFields(cStruct)
//       }
//
//       public func write(to writer: inout MessageWriter) {                           // highest number first
//         writer.unknown(unknownFields)
//         writer.message(13, optional: parentBox?.value)
//         writer.bool(12, open)
//         writer.enumeration(11, packed: kinds)
//         writer.message(10, repeated: near)
//         writer.sint64(9, packed: deltas)
//         switch target {                                // where the members' numbers are not contiguous, each stands in its place:
//         case .name(let value)?: writer.string(8, always: value)     // `if case .name(let value)? = target { … }`
//         case .area(let value)?: writer.message(7, always: value)
//         case nil: break
//         }
//         writer.int32(6, optional: floor)
//         writer.enumeration(5, kind)
//         writer.map(4, parts) { $0.message(2, always: $2); $0.string(1, always: $1) }
//         writer.string(3, repeated: tags)
//         writer.message(2, optional: position)
//         writer.string(1, placeID)
//       }
//     }
//
// Scalars have the shapes (number, value) = skip the default, `always:`, `optional:`, `packed:`, `repeated:`, under their proto
// names: int32 int64 uint32 uint64 sint32 sint64 fixed32 fixed64 sfixed32 sfixed64 float double bool enumeration; string and bytes have all
// but `packed:`; message has `always:`, `optional:`, `repeated:`.

import CProtobufC

/// Readers of C structs that our decoder filled: strings there are UTF-8, pointers in arrays are never null.
public enum CField {
  /// A string; empty when it is not there.
  @inlinable @inline(__always)
  public static func string(_ value: ProtobufCBinaryData) -> String {
    value.len == 0 ? "" : String(decoding: UnsafeBufferPointer(start: value.data, count: value.len), as: UTF8.self)
  }

  /// A copy of bytes; empty when they are not there.
  @inlinable @inline(__always)
  public static func bytes(_ value: ProtobufCBinaryData) -> [UInt8] {
    value.len == 0 ? [] : Array(UnsafeBufferPointer(start: value.data, count: value.len))
  }

  /// C enums come as Int32 or UInt32, as their values demand.
  @inlinable @inline(__always)
  public static func enumeration<C: RawRepresentable, E: MessageEnum>(_ value: C) -> E where C.RawValue: FixedWidthInteger {
    E(rawValue: Int32(truncatingIfNeeded: value.rawValue))
  }

  /// A submessage; nil when the pointer is.
  @inlinable @inline(__always)
  public static func message<M: Message>(_ pointer: UnsafeRawPointer?) -> M? {
    guard let pointer else { return nil }
    return M(cStruct: pointer)
  }

  /// As `message`, for a field by which a message holds its own type.
  @inlinable
  public static func indirect<M: Message>(_ pointer: UnsafeRawPointer?) -> Indirect<M>? {
    guard let pointer else { return nil }
    return Indirect(M(cStruct: pointer))
  }

  /// Numbers, whose C array is copied as it lies.
  @inlinable
  public static func scalars<T: BitwiseCopyable>(_ count: Int, _ values: UnsafePointer<T>?) -> [T] {
    count == 0 ? [] : Array(UnsafeBufferPointer(start: values, count: count))
  }

  /// Bools, which are 32 bits each in C.
  @inlinable
  public static func bools(_ count: Int, _ values: UnsafePointer<Int32>?) -> [Bool] {
    count == 0 ? [] : UnsafeBufferPointer(start: values, count: count).map { $0 != 0 }
  }

  /// Enum values, which are 32 bits each in C.
  @inlinable
  public static func enumerations<E: MessageEnum>(_ count: Int, _ values: UnsafeRawPointer?) -> [E] {
    guard count > 0, let values else { return [] }
    return UnsafeBufferPointer(start: values.assumingMemoryBound(to: Int32.self), count: count).map { E(rawValue: $0) }
  }

  /// Strings, in order.
  @inlinable
  public static func strings(_ count: Int, _ values: UnsafePointer<ProtobufCBinaryData>?) -> [String] {
    count == 0 ? [] : UnsafeBufferPointer(start: values, count: count).map { string($0) }
  }

  /// Byte strings, in order.
  @inlinable
  public static func byteArrays(_ count: Int, _ values: UnsafePointer<ProtobufCBinaryData>?) -> [[UInt8]] {
    count == 0 ? [] : UnsafeBufferPointer(start: values, count: count).map { bytes($0) }
  }

  /// - Parameter values: an array of pointers to structs.
  @inlinable
  public static func messages<M: Message>(_ count: Int, _ values: UnsafeRawPointer?) -> [M] {
    guard count > 0, let values else { return [] }
    let pointers = UnsafeBufferPointer(start: values.assumingMemoryBound(to: UnsafeRawPointer.self), count: count)
    return Array(unsafeUninitializedCapacity: count) { buffer, initialized in
      let elements = buffer.baseAddress.unsafelyUnwrapped
      for index in 0..<count { (elements + index).initialize(to: M(cStruct: pointers[index])) }
      initialized = count
    }
  }

  /// A map's entries, in order of arrival; a later entry of the same key wins.
  @inlinable
  public static func map<Entry, Key, Value>(
    _ count: Int, _ entries: UnsafeMutablePointer<UnsafeMutablePointer<Entry>?>?,
    _ pair: (UnsafeMutablePointer<Entry>) -> (Key, Value)
  ) -> ProtoMap<Key, Value> {
    guard count > 0, let entries else { return ProtoMap() }
    var pairs: [ProtoMap<Key, Value>.Element] = []
    pairs.reserveCapacity(count)
    for index in 0..<count {
      let (key, value) = pair(entries[index].unsafelyUnwrapped)
      pairs.append((key, value))
    }
    return ProtoMap(pairs: pairs)
  }

  /// What the decoder met and the type does not know, as it stood on the wire.
  @inlinable @inline(__always)
  public static func unknownFields(_ cStruct: UnsafeRawPointer) -> UnknownFields {
    let base = cStruct.assumingMemoryBound(to: ProtobufCMessage.self)
    return base.pointee.n_unknown_fields == 0 ? UnknownFields() : copyUnknownFields(base)
  }

  @inline(never) @usableFromInline
  static func copyUnknownFields(_ base: UnsafePointer<ProtobufCMessage>) -> UnknownFields {
    var writer = MessageWriter(capacity: 64)
    writer.unknownFields(of: base)
    return UnknownFields(bytes: writer.bytes())
  }
}
