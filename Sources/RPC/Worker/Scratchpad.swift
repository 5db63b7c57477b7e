import SpanwireWellKnown
import Synchronization

/// Notes of one step of one execution: in memory alone, gone when the run is over.
public final class Scratchpad: Sendable {
  /// Notes of a step; more are refused. A step that needs more has state to keep.
  public static let maxNotes = 256

  private let notes = Mutex<[String: Google_Protobuf_Value]>([:])

  init() {}

  /// What was noted under a key.
  public func get(_ key: String) -> Google_Protobuf_Value? { notes.withLock { $0[key] } }

  /// Notes something, or with nil forgets it. Throws when there is no room for another note.
  public func set(_ key: String, _ value: Google_Protobuf_Value?) throws {
    try notes.withLock { notes in
      if value != nil, notes[key] == nil, notes.count >= Self.maxNotes { throw ScratchpadFull() }
      notes[key] = value
    }
  }
}

/// A step has noted as much as it may.
public struct ScratchpadFull: Error, CustomStringConvertible {
  /// Says how much that is.
  public var description: String { "a scratchpad holds \(Scratchpad.maxNotes) notes" }
}

/// The scratchpads of a run, by step. It lives as long as the run does.
final class ScratchpadRegistry: Sendable {
  private let pads = Mutex<[String: Scratchpad]>([:])

  /// The scratchpad of a step; an attempt of it that comes after another finds what that one noted.
  func pad(of stepID: String) -> Scratchpad {
    pads.withLock { pads in
      if let pad = pads[stepID] { return pad }
      let pad = Scratchpad()
      pads[stepID] = pad
      return pad
    }
  }
}
