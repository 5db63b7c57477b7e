import Foundation

@testable import SpanwireProtobuf

/// The codec's test types, compiled by protoc when the tests start.
enum TestTypes {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent()

  static let descriptorSet: [UInt8] = {
    let protos = folder.appending(path: "Protos").path
    let output = FileManager.default.temporaryDirectory.appending(path: "codec-\(UUID().uuidString).bin")
    defer { try? FileManager.default.removeItem(at: output) }
    let arguments = ["protoc", "-I", protos, "--include_imports", "--descriptor_set_out=\(output.path)", "codec.proto", "proto2.proto"]
    let result = run(arguments, input: "")
    guard result.status == 0, let data = try? Data(contentsOf: output) else { fatalError("protoc failed: \(result.output)") }
    return Array(data)
  }()

  static let pool: DescriptorPool = {
    let pool = DescriptorPool()
    do {
      for file in try WireField.all(in: descriptorSet[...]) { try pool.add(fileDescriptor: Array(file.bytes)) }
    } catch {
      fatalError("the pool refuses what protoc wrote: \(error)")
    }
    return pool
  }()

  static let everything = pool.message("spanwire.codectest.v1.Everything")!
  static let whole = pool.message("spanwire.codectest.v2.Whole")!
  static let inner = pool.message("spanwire.codectest.v1.Inner")!
}

/// Runs a command to its end; input and output go through files, so that neither side waits for the other. The status of one that died of a
/// signal is that signal, negative.
func run(_ arguments: [String], input: String) -> (status: Int32, output: String) {
  let files = FileManager.default.temporaryDirectory.appending(path: "codec-\(UUID().uuidString)")
  try! FileManager.default.createDirectory(at: files, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: files) }
  let (inputFile, outputFile) = (files.appending(path: "in"), files.appending(path: "out"))
  try! Data(input.utf8).write(to: inputFile)
  _ = FileManager.default.createFile(atPath: outputFile.path, contents: nil)
  let process = Process()
  process.executableURL = URL(filePath: "/usr/bin/env")
  process.arguments = arguments
  process.standardInput = try! FileHandle(forReadingFrom: inputFile)
  process.standardOutput = try! FileHandle(forWritingTo: outputFile)
  try! process.run()
  process.waitUntilExit()
  let status = process.terminationReason == .uncaughtSignal ? -process.terminationStatus : process.terminationStatus
  return (status, String(decoding: try! Data(contentsOf: outputFile), as: UTF8.self))
}

/// PyPI protobuf, asked about many inputs at once.
enum Oracle {
  struct Answer {
    /// Nil if it refuses the input.
    var bytes: [UInt8]?
    var json: String?
    var reason = ""
    /// False where the judge died of the input: such are faults of its own.
    var isVerdict = true
  }

  /// The Python that tools/test names, which has the package; else the system's, if it has it.
  private static let python = ProcessInfo.processInfo.environment["SPANWIRE_PYTHON"] ?? "python3"
  static let isAvailable = run([python, "-c", "import google.protobuf"], input: "").status == 0

  static func wire(_ inputs: [[UInt8]], as schema: MessageSchema = TestTypes.everything) -> [Answer] {
    ask(inputs.map { "wire " + hex($0) }, schema)
  }

  static func json(_ inputs: [String], as schema: MessageSchema = TestTypes.everything) -> [Answer] {
    ask(inputs.map { "json " + $0 }, schema)
  }

  private static func ask(_ requests: [String], _ schema: MessageSchema) -> [Answer] {
    let set = FileManager.default.temporaryDirectory.appending(path: "codec-\(UUID().uuidString).bin")
    defer { try? FileManager.default.removeItem(at: set) }
    try! Data(TestTypes.descriptorSet).write(to: set)
    let script = TestTypes.folder.appending(path: "oracle.py").path
    var answers: [Answer] = []
    while answers.count < requests.count {
      let result = run(
        [python, script, set.path, schema.fullName], input: requests[answers.count...].map { $0 + "\n" }.joined())
      answers += result.output.split(separator: "\n").map { line in
        let parts = line.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        if parts[0] == "refused" { return Answer(bytes: nil, json: nil, reason: parts[1]) }
        return Answer(bytes: unhex(parts[0]), json: parts[1] == "-" ? nil : parts[1])
      }
      guard result.status < 0, answers.count < requests.count else { break }
      answers.append(Answer(bytes: nil, json: nil, reason: "the judge died", isVerdict: false))
    }
    return answers
  }
}

func hex(_ bytes: [UInt8]) -> String {
  bytes.map { (($0 < 16 ? "0" : "") + String($0, radix: 16)) }.joined()
}

/// Bytes from hexadecimal digits; spaces are for the reader.
func unhex(_ text: String) -> [UInt8] {
  let digits = text.utf8.filter { $0 != 0x20 }.map { UInt8(Character(Unicode.Scalar($0)).hexDigitValue!) }
  return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// SplitMix64: the same sequence for the same seed, on every machine.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

/// Messages with a bit of everything, for a schema.
struct RandomMessages {
  var generator: SeededGenerator
  /// Types whose fields have no free values (a Timestamp's range, an Any's type): left out below.
  static let constrained: Set<String> = Set(
    ["Timestamp", "Duration", "Any", "FieldMask", "Value", "Struct", "ListValue"].map { "google.protobuf.\($0)" })

  mutating func message(_ schema: MessageSchema, depth: Int = 3) -> DynamicMessage {
    var message = DynamicMessage(schema)
    var taken = Set<Int>()
    for field in schema.fields where generator.next() % 3 == 0 || field.isRequired {
      if let oneof = field.oneofIndex, !taken.insert(oneof).inserted { continue }
      if let type = field.messageType, !field.isMap, Self.constrained.contains(type.fullName) || depth == 0 { continue }
      if field.isMap {
        if depth == 0 { continue }
        let (key, item) = (field.messageType!.field(number: 1)!, field.messageType!.field(number: 2)!)
        let pairs = (0...generator.next() % 4).map { _ in (key: value(key, depth), value: value(item, depth)) }
        message.fields[field.number] = .map(ProtoMap(pairs: pairs))
      } else if field.isRepeated {
        message.fields[field.number] = .list((0...generator.next() % 9).map { _ in value(field, depth) })
      } else {
        let value = value(field, depth)
        if field.hasPresence || value != field.type.defaultValue { message.fields[field.number] = value }
      }
    }
    return message
  }

  private mutating func bits() -> UInt64 {
    let bits = generator.next()
    // Every length of varint, and the edges.
    switch bits % 8 {
    case 0: return 0
    case 1: return .max
    case 2: return 1 << 63
    default: return bits >> (bits % 64)
    }
  }

  private mutating func value(_ field: FieldSchema, _ depth: Int) -> DynamicValue {
    let bits = bits()
    let signed = Int64(bitPattern: bits)
    switch field.type {
    case .int32, .sint32, .sfixed32: return .int32(Int32(truncatingIfNeeded: signed))
    case .int64, .sint64, .sfixed64: return .int64(signed)
    case .uint32, .fixed32: return .uint32(UInt32(truncatingIfNeeded: bits))
    case .uint64, .fixed64: return .uint64(bits)
    case .bool: return .bool(bits & 1 == 1)
    case .float: return .float([0.1, -0.0, .infinity, 3.4e38, Float.leastNonzeroMagnitude, Float(signed % 1000) / 7][Int(bits % 6)])
    case .double: return .double([0.1, -0.0, -.infinity, 1.7e308, Double.leastNonzeroMagnitude, Double(signed) / 7][Int(bits % 6)])
    case .string: return .string(["", "a", "héllo", "日本 \u{1f375}", "q\"\\\n\u{1}", String(repeating: "long ", count: 40)][Int(bits % 6)])
    case .bytes: return .bytes((0..<bits % 20).map { UInt8(truncatingIfNeeded: bits >> $0) })
    case .enumeration:
      if field.enumType?.fullName == "google.protobuf.NullValue" { return .enumeration(0) }
      if let type = field.enumType, type.isClosed { return .enumeration(type.values[Int(bits % UInt64(type.values.count))].number) }
      return .enumeration([0, 1, -3, 1, 77][Int(bits % 5)])
    case .message, .group: return .message(message(field.messageType!, depth: depth - 1))
    }
  }
}
