/// Splits an `opening_hours` value into tokens.
struct OpeningHoursLexer {
  enum Token: Hashable {
    case number(Int)
    case time(Int)  // minutes
    case word(String)  // lower case
    case comment(String)
    case symbol(Character)  // ; , - + : / [ ] ( )
    case fallback  // ||
  }

  struct Lexeme {
    var token: Token
    var text: Substring
    var offset: Int
    var spaceBefore: Bool
  }

  static func lexemes(_ text: String) throws(OpeningHoursError) -> [Lexeme] {
    var lexemes: [Lexeme] = []
    var index = text.startIndex
    var spaced = false
    func offset(_ at: String.Index) -> Int { text.utf8.distance(from: text.startIndex, to: at) }
    func run(_ from: String.Index, _ member: (Character) -> Bool) -> String.Index {
      text[from...].firstIndex { !member($0) } ?? text.endIndex
    }
    func isDigit(_ c: Character) -> Bool { c.isASCII && c.isNumber }

    while index < text.endIndex {
      let c = text[index]
      if c.isWhitespace {
        spaced = true
        index = text.index(after: index)
        continue
      }
      let start = index
      let token: Token
      if isDigit(c) {
        index = run(index, isDigit)
        let digits = text[start..<index]
        guard digits.count <= 4, let number = Int(digits) else { throw .outOfRange(String(digits), offset: offset(start)) }
        // A colon and two digits make it a time; a colon alone ends a date selector (`Jul-Aug: 10:00`).
        if index < text.endIndex, text[index] == ":" {
          let afterColon = text.index(after: index)
          let end = run(afterColon, isDigit)
          if text.distance(from: afterColon, to: end) == 2, let minutes = Int(text[afterColon..<end]) {
            guard minutes < 60, number * 60 + minutes <= 2880 else {
              throw .outOfRange(String(text[start..<end]), offset: offset(start))
            }
            index = end
            lexemes.append(.init(token: .time(number * 60 + minutes), text: text[start..<end], offset: offset(start), spaceBefore: spaced))
            spaced = false
            continue
          }
        }
        token = .number(number)
      } else if c.isLetter {
        index = run(index) { $0.isLetter || $0 == "_" }
        token = .word(text[start..<index].lowercased())
      } else if c == "\"" {
        let begin = text.index(after: index)
        guard let end = text[begin...].firstIndex(of: "\"") else { throw .unexpected("\"", offset: offset(start)) }
        token = .comment(String(text[begin..<end]))
        index = text.index(after: end)
      } else if text[index...].hasPrefix("||") {
        token = .fallback
        index = text.index(index, offsetBy: 2)
      } else if c == "–" || c == "—" {  // mappers' keyboards turn hyphens into dashes
        token = .symbol("-")
        index = text.index(after: index)
      } else if ";,-+:/[]()".contains(c) {
        token = .symbol(c)
        index = text.index(after: index)
      } else {
        throw .unexpected(String(c), offset: offset(start))
      }
      lexemes.append(.init(token: token, text: text[start..<index], offset: offset(start), spaceBefore: spaced))
      spaced = false
    }
    return lexemes
  }
}
