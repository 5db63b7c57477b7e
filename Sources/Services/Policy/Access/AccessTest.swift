import SpanwireSchema
import SpanwireServiceKit

/// Runs a table of cases against an access model: which of them come out otherwise, and what in the model decided none of them.
public struct AccessTest: Sendable {
  private let evaluator: AccessEvaluator
  private var rules: Set<String> = []
  private var denials: Set<String> = []
  private var rows: Set<String> = []
  private var failures: [FailedCase] = []

  /// Throws INVALID_ARGUMENT for cases that can't be asked, with the place of everything that is wrong with the first of them.
  ///
  /// - Parameter now: the moment of cases that pin none.
  public static func run(_ table: AccessCases, against model: AccessModel, now: Int64) throws -> AccessTestReport {
    var test = AccessTest(evaluator: AccessEvaluator(model: model))
    let defaults = table.defaults?.encoded() ?? []
    for (index, one) in table.cases.enumerated() {
      try test.run(one, defaults: defaults, at: "cases[\(index)]", now: now)
    }
    let deciders = model.deciders
    return AccessTestReport(
      cases: UInt32(table.cases.count), failures: test.failures, undecidedRules: deciders.rules.filter { !test.rules.contains($0) },
      undecidedDenials: deciders.denials.filter { !test.denials.contains($0) },
      undecidedRows: deciders.rows.filter { !test.rows.contains($0) })
  }

  private init(evaluator: AccessEvaluator) { self.evaluator = evaluator }

  private mutating func run(_ one: AccessCase, defaults: [UInt8], at path: String, now: Int64) throws {
    // Of a field that stands in both, the later bytes hold: the case's.
    let context = try AccessContext(decoding: defaults + (one.context?.encoded() ?? []))
    let expected = one.expect ?? ExpectedDecision()
    var fields = Validation()
    fields.check(
      AccessEvaluator.Effect(rawValue: expected.decision) != nil, "\(path).expect.decision", "must be allow, mask or deny")
    for (number, approval) in one.approvals.enumerated() where !approval.expiresAt.isEmpty {
      fields.check(
        RFC3339.parse(approval.expiresAt) != nil, "\(path).approvals[\(number)].expires_at", "must be an instant of RFC 3339")
    }
    try fields.finish()
    var question = try AccessQuestion(context, at: "\(path).context", now: now)
    let (actor, category) = (question.request.actorUserID, question.request.category)
    question.request.approvals = one.approvals.map { given in
      AccessEvaluator.Request.Approval(
        reference: "", approverRole: given.approverRole, approverUserID: given.approverUserID,
        requestedBy: given.requestedBy.isEmpty ? actor : given.requestedBy, category: category,
        expiresAt: given.expiresAt.isEmpty ? nil : RFC3339.parse(given.expiresAt))
    }
    let outcome = evaluator.evaluate(question.request, asSensitive: one.sensitive, now: question.now)
    cover(outcome)
    let differences = Self.differences(expected, outcome)
    if !differences.isEmpty {
      failures.append(FailedCase(name: one.name, path: path, differences: differences, trace: outcome.trace))
    }
  }

  private mutating func cover(_ outcome: AccessEvaluator.Outcome) {
    guard let reason = outcome.reasons.first else { return }
    rules.insert(reason.ruleRef)
    let conditions = evaluator.model.rules
    let decided = conditions.firstIndex { $0.id == reason.ruleRef } ?? conditions.count
    if decided < conditions.count, conditions[decided].condition == .explicitDeny { denials.insert(reason.id) }
    // A row had its say if the rule about approvals was asked.
    let asked = conditions.firstIndex { $0.condition == .approvalMissing } ?? conditions.count
    if let row = outcome.approvalRow, decided >= asked { rows.insert(row) }
  }

  private static func differences(_ expected: ExpectedDecision, _ outcome: AccessEvaluator.Outcome) -> [Difference] {
    let reason = outcome.reasons.first
    var pairs = [
      ("decision", expected.decision, outcome.effect.rawValue), ("rule", expected.rule, reason?.ruleRef ?? ""),
      ("reason", expected.reason, reason?.id ?? ""), ("approval_matrix_row", expected.approvalMatrixRow, outcome.approvalRow ?? ""),
      ("required_approvers", expected.requiredApprovers.joined(separator: ", "), outcome.requiredApprovers.joined(separator: ", ")),
      ("tenant_relation", expected.tenantRelation, outcome.tenantRelation.rawValue),
    ]
    if let selfView = expected.selfView { pairs.append(("self_view", "\(selfView)", "\(outcome.isSelfView)")) }
    return pairs.filter { !$0.1.isEmpty && $0.1 != $0.2 }.map { Difference(field: $0.0, expected: $0.1, actual: $0.2) }
  }
}
