// The program that the public protobuf conformance runner asks: messages in, the same messages out in another form. It uses what a foreign
// package would: the product SpanwireProtobuf, and code that tools/generate made of the suite's own protos.

import Glibc
import Messages
import SpanwireProtobuf

typealias Request = Conformance_ConformanceRequest
typealias Answer = Conformance_ConformanceResponse.Result

func read(_ count: Int) -> [UInt8]? {
  var bytes = [UInt8](repeating: 0, count: count)
  var filled = 0
  while filled < count {
    let more = bytes.withUnsafeMutableBytes { Glibc.read(0, $0.baseAddress! + filled, count - filled) }
    if more <= 0 { return nil }
    filled += more
  }
  return bytes
}

func write(_ bytes: [UInt8]) {
  var sent = 0
  while sent < bytes.count {
    let more = bytes.withUnsafeBytes { Glibc.write(1, $0.baseAddress! + sent, bytes.count - sent) }
    if more <= 0 { exit(1) }
    sent += more
  }
}

func convert<M: Message>(_ type: M.Type, _ request: Request) -> Answer {
  let message: M
  do {
    switch request.payload {
    case .protobufPayload(let bytes)?: message = try M(decoding: bytes)
    case .jsonPayload(let text)?:
      let options = JSONDecodingOptions(ignoresUnknown: request.testCategory == .jsonIgnoreUnknownParsingTest)
      message = try M(jsonString: text, options: options)
    default: return .skipped("neither binary nor JSON")
    }
  } catch {
    return .parseError("\(error)")
  }
  do {
    switch request.requestedOutputFormat {
    case .protobuf: return .protobufPayload(message.encoded())
    case .json: return .jsonPayload(try message.jsonString())
    default: return .skipped("neither binary nor JSON")
    }
  } catch {
    return .serializeError("\(error)")
  }
}

func answer(_ request: Request) -> Answer {
  switch request.messageType {
  case ProtobufTestMessages_Proto3_TestAllTypesProto3.protoTypeName: convert(ProtobufTestMessages_Proto3_TestAllTypesProto3.self, request)
  case ProtobufTestMessages_Proto2_TestAllTypesProto2.protoTypeName: convert(ProtobufTestMessages_Proto2_TestAllTypesProto2.self, request)
  case Conformance_FailureSet.protoTypeName: convert(Conformance_FailureSet.self, request)
  default: .skipped("the type \(request.messageType)")
  }
}

while let length = read(4), let bytes = read(length.reversed().reduce(0) { $0 << 8 | Int($1) }) {
  let result: Answer
  do {
    result = answer(try Request(decoding: bytes))
  } catch {
    result = .runtimeError("\(error)")
  }
  let out = Conformance_ConformanceResponse(result: result).encoded()
  write((0..<4).map { UInt8(truncatingIfNeeded: out.count >> (8 * $0)) } + out)
}
