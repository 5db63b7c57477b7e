import ArgumentParser
import Foundation
import SpanwirePlatform
import SpanwirePolicy
import SpanwireRegistry
import SpanwireSchema
import SpanwireServiceKit

struct PolicyTest: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "test", abstract: "Run a table of cases against an access policy, and tell what in it decided none of them.",
    discussion: """
      The cases are a YAML file like Samples/access-cases.yaml: each asks as `policy access` does, and says what must come of it. They \
      are decided by what is in force for the caller's tenant on the server, or with --bundle by files that nobody has applied yet; \
      no server is needed then. Approvals that a case names are taken for given.

      The exit code is 1 if a case comes out otherwise, or with --require-coverage if a rule, a denial or a row of the approval matrix \
      decides none.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The file of cases.") var file: String
  @Option(help: "Judge by this bundle instead of the server's registry; given again, a tenant's over what the first shares.")
  var bundle: [String] = []
  @Flag(help: "Fail if something in the model decides no case.") var requireCoverage = false
  @Flag(help: "Print the report as JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let cases = try BundleFile.message(AccessCases.self, yaml: try Self.text(of: file))
      guard !cases.cases.isEmpty else { throw CheckFailed(message: "\(file) has no cases") }
      let model = bundle.isEmpty ? try await modelInForce() : try modelOfBundles()
      let report = try AccessTest.run(cases, against: model, now: SystemClock().now)
      if json { try printJSON(report) } else { tell(report) }
      let isUncovered = !(report.undecidedRules + report.undecidedDenials + report.undecidedRows).isEmpty
      if !report.failures.isEmpty || requireCoverage && isUncovered { throw ExitCode(1) }
    }
  }

  private func modelOfBundles() throws -> AccessModel {
    var shared: [Definition.Value] = []
    var access = AccessDefinitions([])
    for path in bundle {
      let definitions = try BundleFile.definitions(yaml: try Self.text(of: path), over: shared, checks: .platform)
      access.override(with: AccessDefinitions(definitions))
      shared += definitions
    }
    return access.model
  }

  private func modelInForce() async throws -> AccessModel {
    let registry = RegistryClient(try await connection.channel())
    var access = AccessDefinitions([])
    for shared in [true, false] {
      var found: [Definition.Value] = []
      for kind in AccessDefinitions.kinds {
        let (page, _) = try await gather(upTo: .max) { size, token in
          let page = try await registry.listDefinitions(
            ListDefinitionsRequest(kind: kind, pageSize: size, pageToken: token, shared: shared))
          return (page.definitions, page.nextPageToken)
        }
        found += page.compactMap(\.value)
      }
      access.override(with: AccessDefinitions(found))
    }
    return access.model
  }

  private static func text(of path: String) throws -> String {
    do {
      return try String(contentsOfFile: path, encoding: .utf8)
    } catch {
      throw CheckFailed(message: "\(path) can't be read as text")
    }
  }

  private func tell(_ report: AccessTestReport) {
    for failure in report.failures {
      print("FAILED \(printable(failure.path)): \(printable(failure.name))")
      for difference in failure.differences {
        print("  \(difference.field)\n    - \(printable(difference.expected))\n    + \(printable(difference.actual))")
      }
      for line in failure.trace { print("  | \(printable(line))") }
    }
    for (what, names) in [
      ("rules", report.undecidedRules), ("denials", report.undecidedDenials), ("rows of the approval matrix", report.undecidedRows),
    ] where !names.isEmpty {
      print("\(what) that decided no case: \(printable(names.joined(separator: ", ")))")
    }
    print("\(Int(report.cases) - report.failures.count) of \(report.cases) cases as expected")
  }
}
