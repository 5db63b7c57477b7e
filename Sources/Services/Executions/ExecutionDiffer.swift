import SpanwireSchema
import SpanwireWellKnown

/// What is different between two executions. Pure.
enum ExecutionDiffer {
  static func diff(_ a: Execution, _ b: Execution) -> ExecutionDiff {
    var input: [FieldDifference] = []
    compare(Google_Protobuf_Value(names(of: a)), Google_Protobuf_Value(names(of: b)), "intent", &input)
    input += differences(a.intent?.parameters, b.intent?.parameters, "parameters")
    return ExecutionDiff(
      a: a, b: b, input: input, steps: steps(a.steps, b.steps), output: differences(a.output, b.output, "output"),
      durationUsA: duration(a.startedAt, a.endedAt), durationUsB: duration(b.startedAt, b.endedAt))
  }

  private static func names(of execution: Execution) -> Google_Protobuf_Struct {
    var names = Google_Protobuf_Struct()
    names["intent_type"] = Google_Protobuf_Value(execution.intent?.intentType ?? "")
    names["session_id"] = Google_Protobuf_Value(execution.intent?.sessionID ?? "")
    names["solution_id"] = Google_Protobuf_Value(execution.intent?.solutionID ?? "")
    return names
  }

  /// Steps by their ids, in the order of the first that has them.
  private static func steps(_ a: [ExecutionStep], _ b: [ExecutionStep]) -> [StepDifference] {
    let right = Dictionary(b.map { ($0.stepID, $0) }) { first, _ in first }
    let left = Set(a.map(\.stepID))
    return a.map { difference($0, right[$0.stepID]) } + b.filter { !left.contains($0.stepID) }.map { difference(nil, $0) }
  }

  private static func difference(_ a: ExecutionStep?, _ b: ExecutionStep?) -> StepDifference {
    var difference = StepDifference(stepID: a?.stepID ?? b?.stepID ?? "", onlyA: b == nil, onlyB: a == nil)
    if let a, let b {
      difference.sameInput = a.inputHash == b.inputHash
      difference.output = differences(a.output, b.output, "output")
    }
    difference.durationUsA = duration(a?.begunAt, a?.endedAt)
    difference.durationUsB = duration(b?.begunAt, b?.endedAt)
    (difference.attemptsA, difference.attemptsB) = (a?.attempts ?? 0, b?.attempts ?? 0)
    return difference
  }

  private static func duration(_ from: Google_Protobuf_Timestamp?, _ to: Google_Protobuf_Timestamp?) -> Int64 {
    guard let from, let to else { return 0 }
    return (to.nanosecondsSinceEpoch - from.nanosecondsSinceEpoch) / 1_000
  }

  /// Where two objects differ, as far down as both have a value: `parameters.stops[2].name`.
  static func differences(_ a: Google_Protobuf_Struct?, _ b: Google_Protobuf_Struct?, _ path: String) -> [FieldDifference] {
    var found: [FieldDifference] = []
    compare(a.map { Google_Protobuf_Value($0) }, b.map { Google_Protobuf_Value($0) }, path, &found)
    return found
  }

  private static func compare(
    _ a: Google_Protobuf_Value?, _ b: Google_Protobuf_Value?, _ path: String, _ found: inout [FieldDifference]
  ) {
    guard found.count < ExecutionsLimits.differences else { return }
    if let left = a?.object, let right = b?.object {
      for key in Set(left.fields.keys + right.fields.keys).sorted() { compare(left[key], right[key], "\(path).\(key)", &found) }
    } else if let left = a?.list, let right = b?.list {
      for index in 0..<max(left.count, right.count) {
        compare(
          index < left.count ? left[index] : nil, index < right.count ? right[index] : nil, "\(path)[\(index)]", &found)
      }
    } else if json(a) != json(b) {
      found.append(FieldDifference(path: path, a: json(a), b: json(b)))
    }
  }

  private static func json(_ value: Google_Protobuf_Value?) -> String { (try? value?.canonicalJSON()) ?? "" }
}
