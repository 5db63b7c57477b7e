import SpanwireProtobuf
import SpanwireRPC

/// What reflection can tell, whichever version of it is asked: services by name, files by name, symbol or extension.
struct ReflectionIndex: Sendable {
  let pool: DescriptorPool
  let services: [String]

  enum Question {
    case file(name: String)
    case symbol(String)
    case `extension`(type: String, number: Int32)
    case extensionNumbers(type: String)
    case services
    case nothing
  }

  enum Answer {
    /// FileDescriptorProtos: the file asked for, then those it needs that this stream has not been sent.
    case files([[UInt8]])
    case extensionNumbers(type: String, [Int32])
    case services([String])
    case error(RPCError)
  }

  /// `sent` holds the names of the files that went out on the stream before.
  func answer(_ question: Question, sent: inout Set<String>) -> Answer {
    switch question {
    case .file(let name):
      return files(pool.file(named: name), "file \(name)", &sent)
    case .symbol(let symbol):
      return files(pool.file(containing: symbol), "symbol \(symbol)", &sent)
    case .extension(let type, let number):
      return files(UInt32(exactly: number).flatMap { pool.file(extending: type, number: $0) }, "extension \(number) of \(type)", &sent)
    case .extensionNumbers(let type):
      guard pool.message(type) != nil else { return .error(.notFound("type \(type) is unknown")) }
      return .extensionNumbers(type: type, pool.extensionNumbers(of: type).map { Int32(bitPattern: $0) })
    case .services: return .services(services)
    case .nothing: return .error(RPCError(.invalidArgument, "the request asks nothing"))
    }
  }

  private func files(_ file: FileSchema?, _ what: String, _ sent: inout Set<String>) -> Answer {
    guard let file else { return .error(.notFound("\(what) is unknown")) }
    var answer = [file.bytes]
    sent.insert(file.name)
    var open = file.dependencies
    while let name = open.popLast() {
      guard sent.insert(name).inserted, let next = pool.file(named: name) else { continue }
      answer.append(next.bytes)
      open += next.dependencies
    }
    return .files(answer)
  }
}
