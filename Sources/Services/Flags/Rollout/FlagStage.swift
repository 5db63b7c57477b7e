import SpanwireSchema

/// How far a flag's rollout has come.
///
/// draft → internal → pilot → full by promotion; internal, pilot and full can be paused, and resume where they were; internal, pilot, full
/// and paused can be rolled back, and what was rolled back begins again as a draft.
public enum FlagStage: String, Sendable, Hashable, CaseIterable {
  case draft, `internal`, pilot, full, paused
  case rolledBack = "rolled_back"

  /// Where a definition begins.
  init(_ definition: RolloutStage) {
    switch definition {
    case .internal: self = .internal
    case .pilot: self = .pilot
    case .full: self = .full
    case .paused: self = .paused
    case .rolledBack: self = .rolledBack
    case .draft, .unspecified, .unrecognized: self = .draft
    }
  }
}

/// A stage, and for a flag that is paused where it resumes.
struct FlagPosition: Sendable, Hashable {
  var stage: FlagStage
  var pausedStage: FlagStage?

  /// Where a move leads; nil where it isn't possible.
  func after(_ move: FlagMove) -> FlagPosition? {
    switch (move, stage) {
    case (.promote, .draft): FlagPosition(stage: .internal)
    case (.promote, .internal): FlagPosition(stage: .pilot)
    case (.promote, .pilot): FlagPosition(stage: .full)
    case (.pause, .internal), (.pause, .pilot), (.pause, .full): FlagPosition(stage: .paused, pausedStage: stage)
    // A definition that begins paused was nowhere before.
    case (.resume, .paused): FlagPosition(stage: pausedStage ?? .draft)
    case (.resume, .rolledBack): FlagPosition(stage: .draft)
    case (.rollBack, .internal), (.rollBack, .pilot), (.rollBack, .full), (.rollBack, .paused): FlagPosition(stage: .rolledBack)
    default: nil
    }
  }

  /// What can be done from here, for who tried something else.
  var moves: [FlagMove] { [.promote, .pause, .resume, .rollBack].filter { after($0) != nil } }
}

extension FlagMove {
  var word: String {
    switch self {
    case .promote: "promote"
    case .pause: "pause"
    case .resume: "resume"
    case .rollBack: "roll back"
    case .unspecified, .unrecognized: "unknown"
    }
  }
}

/// A flag as it is: its definition, and how far its rollout has come. Transitions move it; as long as there was none, it is where its
/// definition begins.
struct FlagRollout: Sendable {
  var definition: FlagDefinition
  var position: FlagPosition
  /// What it was brought here under; empty if it needs none, or has none.
  var approvalID = ""
  var transitions: UInt64 = 0

  init(_ definition: FlagDefinition, moved: FlagStageRow? = nil) {
    self.definition = definition
    position = moved?.position ?? FlagPosition(stage: FlagStage(definition.rolloutStage))
    approvalID = moved?.approvalID ?? ""
    transitions = moved?.transitions ?? 0
  }

  var needsApprovalToMove: Bool { definition.sensitiveFlag || definition.requiresApproval }
  /// Whether it serves nothing but its default because nobody has approved it.
  var lacksApproval: Bool { definition.requiresApproval && approvalID.isEmpty }

  var contract: FlagStatus {
    FlagStatus(
      definition: definition, stage: position.stage.rawValue, pausedStage: position.pausedStage?.rawValue ?? "", approvalID: approvalID,
      transitions: transitions)
  }
}
