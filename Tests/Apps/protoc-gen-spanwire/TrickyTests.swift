import Foundation
import SpanwireProtobuf
import SpanwireWellKnown
import Testing

/// The generated code of Protos/tricky compiles, keeps every value, and says on the wire what PyPI protobuf understands.
@Suite struct TrickyTests {
  /// Made anew for whoever asks: LeakSanitizer does not see objects of a static whose cases stand in the spare bits of their pointers.
  static var kinds: [Choices.OneOf_Target?] {
    [
      nil, .message(Choices_Target(name: "m")), .kind(.default), .kind(.unrecognized(99)), .text(""), .data([0, 255]),
      .again(Choices(target: .flag(false), other: .init_p(-0.0))), .json(Google_Protobuf_Value(kind: .nullValue(.nullValue))),
      .long(.min), .flag(true), .nothing(Tricky_V1_Empty()),
    ]
  }

  @Test("Words of Swift and C are usable as fields")
  func words() throws {
    let words = Tricky_V1_Words(
      description: "a", hashValue_p: -1, self_p: "b", type: "c", init_p: 2, default: "d", in: true, class: ["e", ""], base: 3,
      unknownFields_p: [1], table: "f", file: "g", protoTypeName: "h", writer: 4, value: 5, c: 6, cStruct: 7, operator: "", func: 8.5,
      rawValue: 9, any: "i", protocol: "j", descriptor: "k", errno: 10, true: true, encoded: "l", some: 11, none: 12, linux: false,
      string: "m")
    try check(words)
  }

  @Test("Names that fall together stay apart")
  func collisions() throws {
    try check(
      Tricky_V1_Collisions(
        items: ["x"], nItems: 1, size: 0, hasSize: true, fooBar: 2, fooBar1: 3, kind: .b("y"), kindCase: 4, hasSize_1: .hasSizeCase(5),
        otherValue: ""))
    var cases = Tricky_V1_Cases()
    cases.case = "1"
    cases.fooBar = 2
    cases.kind = .a(3)
    try check(cases)
  }

  @Test("A oneof keeps which member it holds, defaults included", arguments: kinds)
  func oneofs(_ target: Choices.OneOf_Target?) throws {
    try check(Choices(target: target, second: .kind2, other: .self_p(1)))
  }

  @Test("Optional fields tell a default from nothing")
  func presence() throws {
    try check(Tricky_V1_Presence())
    try check(
      Tricky_V1_Presence(
        a: 0, b: 0, c: 0, d: 0, e: 0, f: 0, g: 0, h: 0, i: 0, j: 0, k: 0, l: 0, m: false, n: "", o: [], p: .unspecified,
        q: Tricky_V1_Empty(), r: Tricky_V1_Empty(), s: Tricky_V1_Presence(n: "deep")))
  }

  @Test("Maps of every key")
  func maps() throws {
    try check(
      Tricky_V1_Maps(
        a: [.min: .max], b: [.min: .max], c: [.max: 0], d: [.max: 0], e: [-1: -2], f: [-1: .min], g: [7: -0.0], h: [8: .infinity],
        i: [-9: [1, 2]], j: [.min: "j"], k: [false: true], l: ["": Tricky_V1_Maps(a: [1: 2])], m: ["m": .a],
        n: ["t": Google_Protobuf_Timestamp(seconds: 1, nanos: 2)],
        default: ["d": Tricky_V1_Common_Shared(id: "1", url: "2", idURLHTTPHTTPS: "3", httpserver: "4")]))
  }

  @Test("Lists, packed or not, up to the highest field number")
  func lists() throws {
    try check(
      Tricky_V1_Lists(
        a: [0, -1, .max], b: [0, -1, .min], c: [.a, .default, .unrecognized(77)], d: [.a, .default], e: [true, false], f: [-0.0, 1],
        g: [[], [0]], h: ["", "h"], i: [Tricky_V1_Lists(a: [1]), Tricky_V1_Lists()], j: [Google_Protobuf_Any(packing: Tricky_V1_Empty())],
        k: [.max]))
  }

  @Test("Messages that hold each other are values all the same")
  func recursion() throws {
    var chicken = Tricky_V1_Chicken(egg: Tricky_V1_Egg(twin: Tricky_V1_Egg()), from: .laid(Tricky_V1_Egg(chicken: Tricky_V1_Chicken())))
    let before = chicken
    chicken.egg?.twin?.chicken = Tricky_V1_Chicken(from: .bought("market"))
    #expect(before.egg?.twin?.chicken == nil)
    try check(chicken)
    try check(before)
    try check(
      Tricky_V1_Deep(deeper: .init(deepest: .init(type: .one, back: Tricky_V1_Deep()))))
  }

  @Test("Types may be called as Swift's are")
  func typeNames() throws {
    try check(
      Tricky_V1_Message(message: Tricky_V1_String(string: "s", inner: .init(int32: 1)), optional: .some))
    #expect(Tricky_V1_Aliases.null == .zero)
    #expect(Tricky_V1_Aliases.uno.rawValue == 1)
    #expect(Tricky_V1_Aliases.allCases == [.zero, .one])
  }

  @Test("proto2 keeps presence, and extensions as they came")
  func proto2() throws {
    var old = Tricky_V1_Old(
      id: 1, name: "", mood: .neutral, loose: [1, 2], tight: [3, 4], data: [], yes: false, far: 0, moods: ["m": .sad])
    old.parent = Tricky_V1_Old(id: 2, choice: .text("t"))
    old.unknownFields = UnknownFields(bytes: [0xa2, 0x06, 0x01, 0x78])
    try check(old)
  }

  @Test("proto2's defaults stand for what is absent, and for nothing else")
  func defaults() throws {
    let absent = Tricky_V1_Old()
    #expect(absent.nameOrDefault_2 == "nobody \\ \"x\"" && absent.linesOrDefault == "a\nb\u{1}" && absent.dataOrDefault == [1, 120])
    #expect(absent.moodOrDefault == .sad && absent.yesOrDefault && absent.farOrDefault == .infinity && absent.nearOrDefault == -1e-5)
    #expect(absent.nameOrDefault == nil && absent.nameOrDefaultOrDefault == .max && absent.numberOrDefault == -5)
    #expect(absent.encoded().isEmpty)
    let other = Tricky_V1_Old(id: 1, name: "", mood: .neutral, choice: .text("t"), data: [], yes: false, far: 0, near: 1, lines: "l")
    #expect(other.nameOrDefault_2 == "" && other.linesOrDefault == "l" && other.dataOrDefault == [])
    #expect(other.moodOrDefault == .neutral && !other.yesOrDefault && other.farOrDefault == 0 && other.nearOrDefault == 1)
    #expect(other.numberOrDefault == -5 && Tricky_V1_Old(choice: .number(7)).numberOrDefault == 7)
  }

  @Test("A view reads the same fields, submessages and lists as views of their own")
  func views() throws {
    let words = Tricky_V1_Words(description: "a", self_p: "b", class: ["e", ""], operator: "", any: "i")
    let wordsView = try words.encoded().withUnsafeBytes { try Tricky_V1_Words.View(decoding: $0) }
    #expect(wordsView.value() == words)
    #expect(wordsView.self_p == "b" && wordsView.class == ["e", ""] && wordsView.operator == "" && wordsView.linux == nil)

    let chicken = Tricky_V1_Chicken(egg: Tricky_V1_Egg(twin: Tricky_V1_Egg()), from: .bought("market"))
    // The submessage's view outlives that of the whole.
    let egg = try chicken.encoded().withUnsafeBytes { try Tricky_V1_Chicken.View(decoding: $0).egg }
    #expect(egg?.value() == chicken.egg)
    #expect(egg?.chicken == nil && egg?.twin?.value() == Tricky_V1_Egg())

    let lists = Tricky_V1_Lists(c: [.a], i: [Tricky_V1_Lists(h: ["x"]), Tricky_V1_Lists()])
    let listsView = try lists.encoded().withUnsafeBytes { try Tricky_V1_Lists.View(decoding: $0) }
    #expect(listsView.c == [.a] && listsView.i.map(\.h) == [["x"], []] && listsView.j.isEmpty)

    let choices = Choices(target: .again(Choices(target: .long(3))), second: .self_p)
    let choicesView = try choices.encoded().withUnsafeBytes { try Choices.View(decoding: $0) }
    #expect(choicesView.target == choices.target && choicesView.second == .self_p && choicesView.unknownFields.isEmpty)
  }

  typealias Choices = Tricky_V1_Choices
  typealias Choices_Target = Tricky_V1_Choices.Target
}

/// Our own way there and back, then PyPI protobuf's, from the descriptor that is embedded in the generated code.
private func check<M: Message>(_ message: M) throws {
  let bytes = message.encoded()
  #expect(try M(decoding: bytes) == message)
  let judged = try Judge.rewrite(bytes, as: M.self)
  #expect(try M(decoding: judged) == message, "PyPI protobuf reads something else from \(message)")
}

/// Tests/Wire/Protobuf/oracle.py, asked about one message.
private enum Judge {
  struct Refusal: Error { let answer: String }

  static func rewrite<M: Message>(_ bytes: [UInt8], as type: M.Type) throws -> [UInt8] {
    let folder = FileManager.default.temporaryDirectory.appending(path: "tricky-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let (set, input, output) = (folder.appending(path: "set"), folder.appending(path: "in"), folder.appending(path: "out"))
    try Data(descriptorSet(M.file)).write(to: set)
    try Data("wire \(bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined())\n".utf8).write(to: input)
    try Data().write(to: output)
    let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Wire/Protobuf/oracle.py").path
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = [python, script, set.path, M.protoTypeName]
    process.standardInput = try FileHandle(forReadingFrom: input)
    process.standardOutput = try FileHandle(forWritingTo: output)
    try process.run()
    process.waitUntilExit()
    let answer = String(decoding: try Data(contentsOf: output), as: UTF8.self)
    guard process.terminationStatus == 0, !answer.hasPrefix("refused"),
      let digits = answer.split(separator: "\t", omittingEmptySubsequences: false).first
    else {
      throw Refusal(answer: answer)
    }
    let nibbles = digits.compactMap(\.hexDigitValue)
    return stride(from: 0, to: nibbles.count, by: 2).map { UInt8(nibbles[$0] << 4 | nibbles[$0 + 1]) }
  }

  /// What the environment names, what tools/setup has made, or the system's.
  private static let python: String = {
    if let named = ProcessInfo.processInfo.environment["SPANWIRE_PYTHON"] { return named }
    let made = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../.build/python/bin/python3").path
    return FileManager.default.isExecutableFile(atPath: made) ? made : "python3"
  }()

  private static func descriptorSet(_ file: GeneratedFile) -> [UInt8] {
    var names: Set<String> = []
    var set = Google_Protobuf_FileDescriptorSet()
    func add(_ file: GeneratedFile) {
      guard names.insert(file.name).inserted else { return }
      for each in file.dependencies { add(each) }
      set.file.append(try! Google_Protobuf_FileDescriptorProto(decoding: file.descriptorBytes))
    }
    add(file)
    return set.encoded()
  }
}
