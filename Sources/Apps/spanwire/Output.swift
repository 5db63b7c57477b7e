import Foundation
import SpanwireProtobuf

/// Text from elsewhere, made safe for a terminal: control characters (escape sequences among them) become spaces.
func printable(_ text: String) -> String {
  guard text.unicodeScalars.contains(where: isControl) else { return text }
  return String(String.UnicodeScalarView(text.unicodeScalars.map { isControl($0) ? " " : $0 }))
}

private func isControl(_ scalar: Unicode.Scalar) -> Bool {
  scalar.value < 0x20 && scalar != "\n" || (0x7F...0x9F).contains(scalar.value)
    || (0x202A...0x202E).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
}

/// Prints one message as one line of JSON.
func printJSON(_ message: some Message) throws {
  print(try message.jsonString())
}

/// Prints rows in columns as wide as their widest cell.
func printTable(_ header: [String], _ rows: [[String]]) {
  let rows = rows.map { $0.map(printable) }
  var widths = header.map(\.count)
  for row in rows { for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.count) } }
  for row in [header] + rows {
    let line = row.enumerated().map { column, cell in
      column == row.count - 1 ? cell : cell.padding(toLength: widths[column], withPad: " ", startingAt: 0)
    }
    print(line.joined(separator: "  "))
  }
}

extension [UInt8] {
  /// Lower-case hex digits.
  var hex: String { map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }
}

/// Bytes from hex digits; nil when they aren't.
func bytes(hex: String) -> [UInt8]? {
  let digits = hex.compactMap(\.hexDigitValue)
  guard digits.count == hex.count, digits.count.isMultiple(of: 2) else { return nil }
  return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// Flushes standard output after every line, so that a pipe sees a live feed live.
func lineBuffered() {
  // Swift 6 does not let `stdout` be named, since C could change it; the symbol is the same one.
  guard let symbol = dlsym(nil, "stdout") else { return }
  setvbuf(symbol.assumingMemoryBound(to: UnsafeMutablePointer<FILE>.self).pointee, nil, _IOLBF, 0)
}
