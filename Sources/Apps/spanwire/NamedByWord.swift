import ArgumentParser
import SpanwireProtobuf
import SpanwireSchema

/// An enum of a contract that a command line names by its words: `post_journey`, `forced_open`.
public protocol NamedByWord: MessageEnum, CaseIterable, ExpressibleByArgument {}

extension NamedByWord {
  /// As events and bundles call it.
  var word: String { snakeCase("\(self)") }

  public init?(argument: String) {
    guard let value = Self.allCases.first(where: { $0.rawValue != 0 && $0.word == argument.lowercased() }) else { return nil }
    self = value
  }

  public static var allValueStrings: [String] { allCases.filter { $0.rawValue != 0 }.map(\.word) }
}

extension SessionState: NamedByWord {}
extension DefinitionKind: NamedByWord {}
extension AgentTaskState: NamedByWord {}
extension WorkerState: NamedByWord {}
extension TurnState: NamedByWord {}
extension TurnOutcome: NamedByWord {}
extension DeadLetter.Resolution: NamedByWord {}
extension BreakerState: NamedByWord {}
extension BreakerMode: NamedByWord {}
extension ApprovalState: NamedByWord {}
extension BudgetReservationState: NamedByWord {}
extension ProposalState: NamedByWord {}
extension ExecutionStatus: NamedByWord {}
extension StepState: NamedByWord {}
extension ArtifactState: NamedByWord {}

/// `productVersion` as `product_version`.
func snakeCase(_ name: String) -> String {
  name.reduce(into: "") { text, letter in
    if letter.isUppercase { text += "_" }
    text += letter.lowercased()
  }
}
