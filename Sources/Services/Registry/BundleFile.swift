import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Files in the registry's YAML, read outside of the registry: by who wants to try what a bundle says before it is applied.
public enum BundleFile {
  /// The definitions of a bundle that was judged whole, as a first Apply of it would be.
  ///
  /// Throws INVALID_ARGUMENT with everything that is wrong.
  ///
  /// - Parameter shared: what tenant `platform` would share with its tenant.
  public static func definitions(
    yaml: String, over shared: [Definition.Value] = [], checks: BundleChecks
  ) throws -> [Definition.Value] {
    let bundle = BundleReader.read(yaml: yaml)
    var content = RegistryContent()
    for definition in shared { content.shared[definition.key] = definition }
    var validator = BundleValidator(bundle: bundle, content: content, checks: checks)
    validator.validate()
    var fields = Validation()
    for problem in validator.problems { fields.add(problem.path, problem.description) }
    try fields.finish()
    return bundle.definitions.map(\.value)
  }

  /// A message whose JSON form the YAML is, under the same bounds and with the same plain numbers.
  ///
  /// Throws INVALID_ARGUMENT for what has no such form.
  public static func message<M: Message>(_ type: M.Type, yaml: String) throws -> M {
    var fields = Validation()
    do {
      return try M(jsonString: try YAMLDocument(parsing: yaml).root.json())
    } catch let error as YAMLDocument.Refusal {
      fields.add("yaml", error.line.map { "line \($0): \(error.text)" } ?? error.text)
    } catch let error as YAMLProblem {
      fields.add("yaml", error.line.map { "line \($0): \(error.text)" } ?? error.text)
    } catch let error as JSONError {
      fields.add(error.path.isEmpty ? "yaml" : error.path, error.problem)
    }
    try fields.finish()
    throw RPCError.invalidField("yaml", "cannot be read")
  }
}
