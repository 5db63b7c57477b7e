import Foundation
import Testing

/// One testable point of the gRPC wire: what implementations most often get wrong, and at which ends of it.
struct Row: Sendable {
  let number: Int
  let text: String
  let sides: Set<Side>

  init(_ number: Int, _ text: String, _ sides: Side...) {
    self.number = number
    self.text = text
    self.sides = Set(sides)
  }
}

/// Which of ours is under test.
enum Side: String, Sendable, CaseIterable {
  case server, client
  /// No connection at all.
  case codec
}

/// The checklist. 39, the Connect protocol, is not ours.
enum Checklist {
  static let rows: [Row] = [
    Row(1, "content-type: 415 for what is no gRPC, sub-codecs and parameters", .server, .client),
    Row(2, "only POST", .server, .client),
    Row(3, "te, user-agent, pseudo-headers first", .client),
    Row(4, "connection-specific headers, several authorities", .server, .client),
    Row(5, "grpc-timeout", .server, .client),
    Row(6, "paths are case-sensitive; unknown service or method", .server, .client),
    Row(7, "header names, reserved names, the order of duplicates", .server, .client),
    Row(8, "-bin values", .server, .client),
    Row(9, "values that are legal HTTP but not ASCII", .server, .client),
    Row(10, "header list size, and the HPACK state after a refusal", .server, .client),
    Row(11, "boundaries of DATA frames mean nothing", .server, .client),
    Row(12, "compressed flag without an encoding, unknown encodings", .server, .client),
    Row(13, "compression by negotiation, message by message", .server, .client),
    Row(14, "the limit is on the uncompressed size", .server, .client),
    Row(15, "corrupt compressed bytes, lengths beyond the limit", .server, .client),
    Row(16, "an end without data, an end inside a message", .server, .client),
    Row(17, "trailers-only", .server, .client),
    Row(18, "grpc-status, sent always and never guessed to be OK", .server, .client),
    Row(19, "grpc-message", .server, .client),
    Row(20, "grpc-status-details-bin", .server, .client),
    Row(21, "HTTP statuses without a gRPC status", .client),
    Row(22, "cardinality", .server, .client),
    Row(23, "codes that the library never makes, errors that tell nothing", .server, .client),
    Row(24, "what a reset means", .server, .client),
    Row(25, "a server that is done before its client", .server, .client),
    Row(26, "cancellation and deadlines end the call at both ends", .server, .client),
    Row(27, "what a handler knows, and what its calls inherit", .server, .client),
    Row(28, "GOAWAY and graceful shutdown", .server, .client),
    Row(29, "pings, keepalive, age", .server, .client),
    Row(30, "MAX_CONCURRENT_STREAMS", .server, .client),
    Row(31, "windows follow consumption", .server, .client),
    Row(32, "a slow reader suspends the writer", .server, .client),
    Row(33, "abuse", .server),
    Row(34, "retries, hedging, wait-for-ready", .client),
    Row(35, "resolvers, balancing, reconnecting", .client),
    Row(36, "health", .server),
    Row(37, "reflection", .server),
    Row(38, "channelz", .server),
    Row(40, "proto3 JSON", .codec),
  ]

  /// Every case, by the checklist's sections.
  static let cases: [Case] =
    requestHeaders + metadataOnTheWire + messages + compression + statusAndTrailers + outcomes + streams + connections + flowControl
    + abuse + retriesAndBalancing + healthReflectionAdmin + json

  /// Those of one row alone, if `CONFORMANCE_ROW` says which.
  static let chosen: [Case] = {
    guard let row = ProcessInfo.processInfo.environment["CONFORMANCE_ROW"].flatMap({ Int($0) }) else { return cases }
    return cases.filter { $0.row == row }
  }()

  /// What we do otherwise than the checklist says, case by case, and why.
  static let deviations: [Deviation] = []
}

/// One thing to try, and what must come of it.
struct Case: Sendable, CustomTestStringConvertible {
  let row: Int
  let side: Side
  let name: String
  /// Records issues.
  let run: @Sendable () async throws -> Void

  var testDescription: String { "\(row) \(side.rawValue): \(name)" }
}

/// A case that fails, known and accepted.
struct Deviation: Sendable {
  let row: Int
  let side: Side
  let name: String
  let reason: String
}
