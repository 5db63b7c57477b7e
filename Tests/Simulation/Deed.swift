import SpanwireRPC

/// One wish of somebody's: a request with its key, which may be sent any number of times.
final class Deed: @unchecked Sendable {
  // Sendable: the simulation's thread alone touches it.

  let name: String
  let principal: Principal
  /// For how long the same key must give the same answer.
  let memory: Duration
  /// Sends it; what comes back is what every answer to it must be.
  let send: @Sendable (any Channel) async throws -> String
  /// What is learned from the first answer.
  let learned: (String) -> Void

  /// The first answer, and when it came.
  private(set) var answer: (text: String, at: Int64)?
  private(set) var attempts = 0

  init(
    _ name: String, as principal: Principal, memory: Duration = .seconds(23 * 3_600),
    send: @escaping @Sendable (any Channel) async throws -> String, learned: @escaping (String) -> Void = { _ in }
  ) {
    self.name = name
    self.principal = principal
    self.memory = memory
    self.send = send
    self.learned = learned
  }

  func began() { attempts += 1 }

  /// Takes an answer in; a verdict or an unknown outcome is none.
  func ended(_ result: Result<String, any Error>) throws {
    switch result {
    case .success(let text):
      guard let answer else {
        self.answer = (text, VirtualTime.now)
        return learned(text)
      }
      if VirtualTime.now - answer.at < memory.wholeNanoseconds, text != answer.text {
        throw Violation("answer", "\(name) was answered with \(answer.text), then with \(text)")
      }
    case .failure(let error):
      let error = RPCError.outcome(of: error, in: nil)
      if error.code == .internal || error.code == .unknown || error.code == .dataLoss {
        throw Violation("answer", "\(name) ended with \(error.code): \(error.message)")
      }
      if error.code == .alreadyExists { throw Violation("answer", "\(name), sent as before, is \(error.message)") }
    }
  }
}
