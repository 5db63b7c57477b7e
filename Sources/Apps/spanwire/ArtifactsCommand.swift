import ArgumentParser
import Foundation
import SpanwireSchema

struct ArtifactsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "artifacts", abstract: "What executions leave behind: list it, read it, store more, archive and delete.",
    discussion: """
      An artifact is PENDING until it has content, then READY; what nobody needs any more is archived, then deleted: its content is gone, \
      what it was stays known. Content is kept once by its SHA-256 and checked whenever it is read. Parents say what it was made of.
      """,
    subcommands: [
      ArtifactsList.self, ArtifactsShow.self, ArtifactsRead.self, ArtifactsStore.self, ArtifactsArchive.self, ArtifactsDelete.self,
      ArtifactsFail.self,
    ], defaultSubcommand: ArtifactsList.self)
}

struct ArtifactsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List artifacts; those archived and deleted only where asked for.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var page: PageOptions
  @Option(help: "Only those of this type.") var type: String = ""
  @Option(help: "Only those of this session.") var session: String = ""
  @Option(help: "Only those of this execution.") var execution: String = ""
  @Option(help: "Only those in this state.") var state: ArtifactState?
  @Option(help: "Only those made of this one.") var parent: String = ""
  @Flag(help: "Those of sandboxed replays instead.") var sandbox = false

  func run() async throws {
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      var request = ListArtifactsRequest(
        artifactType: type, sessionID: session, executionID: execution, state: state ?? .unspecified, parentArtifact: parent,
        sandbox: sandbox)
      let (artifacts, next) = try await page.collect { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await executions.listArtifacts(request)
        return (page.artifacts, page.nextPageToken)
      }
      try page.show(artifacts, next: next, ["ARTIFACT", "TYPE", "STATE", "BYTES", "CREATED", "BY"]) { artifact in
        [
          artifact.artifactID, artifact.artifactType, artifact.lifecycleState.word,
          artifact.materializations.first.map { "\($0.sizeBytes)" } ?? "", timeOfDay(artifact.createdAt),
          artifact.producedBy?.executionID ?? "",
        ]
      }
    }
  }
}

private func printArtifact(_ artifact: Artifact, _ indent: String = "") {
  print(printable("\(indent)\(artifact.artifactID)  \(artifact.artifactType)  \(artifact.lifecycleState.word)  \(artifact.reason)"))
  for form in artifact.materializations {
    print(printable("\(indent)  \(form.format)  \(form.sizeBytes) bytes  sha256:\(form.sha256)"))
  }
}

struct ArtifactsShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show an artifact, and all it was made of.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The artifact's id, ART-….") var id: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      let resolved = try await executions.resolveArtifact(ResolveArtifactRequest(artifactID: id))
      if json { return try printJSON(resolved) }
      printArtifact(resolved.artifact ?? Artifact())
      if let descriptor = resolved.artifact?.semanticDescriptor { print(printable("  \((try? descriptor.jsonString()) ?? "")")) }
      if let by = resolved.artifact?.producedBy { print(printable("  made by \(by.intentType), \(by.executionID)")) }
      if !resolved.ancestors.isEmpty { print("made of") }
      for ancestor in resolved.ancestors { printArtifact(ancestor, "  ") }
    }
  }
}

struct ArtifactsRead: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "read", abstract: "Write an artifact's content to standard output, or a file.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The artifact's id, ART-….") var id: String
  @Option(help: "The form that is wanted, a media type; the first there is unless said.") var format: String = ""
  @Option(name: .shortAndLong, help: "The file to write.") var output: String?

  func run() async throws {
    try await reportingFailures {
      let executions = ExecutionsClient(try await connection.channel())
      var content = Data()
      for try await chunk in try await executions.readArtifact(ReadArtifactRequest(artifactID: id, format: format)) {
        content.append(contentsOf: chunk.data)
      }
      guard let output else { return FileHandle.standardOutput.write(content) }
      try content.write(to: URL(fileURLWithPath: output))
    }
  }
}

struct ArtifactsStore: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "store", abstract: "Register a file's content as an artifact.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The file; - for standard input.") var file: String
  @Option(help: "What kind of thing it is.") var type: String = "file"
  @Option(help: "Its media type.") var format: String = "application/octet-stream"
  @Option(help: "An artifact that it was made of; may be said several times.") var parent: [String] = []
  @Option(help: "The session it belongs to.") var session: String = ""
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let content = file == "-" ? FileHandle.standardInput.readDataToEndOfFile() : try Data(contentsOf: URL(fileURLWithPath: file))
      let executions = ExecutionsClient(try await connection.channel())
      let registered = try await executions.registerArtifact(
        RegisterArtifactRequest(
          idempotencyKey: newIdempotencyKey(), artifactType: type, parentArtifacts: parent, sessionID: session))
      /// Content goes out in pieces of this size.
      let pieceBytes = 256 << 10
      let artifact = try await executions.uploadArtifact { requests in
        try await requests.write(
          UploadArtifactRequest(part: .header(UploadHeader(artifactID: registered.artifactID, format: format))))
        for start in stride(from: 0, to: content.count, by: pieceBytes) {
          let end = min(start + pieceBytes, content.count)
          try await requests.write(UploadArtifactRequest(part: .chunk([UInt8](content[start..<end]))))
        }
      }
      if json { try printJSON(artifact) } else { printArtifact(artifact) }
    }
  }
}

/// What every change of an artifact takes.
struct ArtifactOptions: ParsableArguments {
  @Argument(help: "The artifact's id, ART-….") var id: String
  @Option(help: "Why, for the audit.") var reason: String
  @Flag(help: "Print JSON.") var json = false

  func set(_ state: ArtifactState, over connection: ConnectionOptions) async throws {
    try await reportingFailures {
      let artifact = try await ExecutionsClient(try await connection.channel()).setArtifactState(
        SetArtifactStateRequest(idempotencyKey: newIdempotencyKey(), artifactID: id, state: state, reason: reason))
      if json { try printJSON(artifact) } else { printArtifact(artifact) }
    }
  }
}

struct ArtifactsArchive: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "archive", abstract: "Put a ready artifact away: lists leave it out.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: ArtifactOptions

  func run() async throws { try await options.set(.archived, over: connection) }
}

struct ArtifactsDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "delete", abstract: "Delete the content of an archived artifact, for good.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: ArtifactOptions

  func run() async throws { try await options.set(.deleted, over: connection) }
}

struct ArtifactsFail: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "fail", abstract: "Say that a pending artifact's content will not come.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: ArtifactOptions

  func run() async throws { try await options.set(.failed, over: connection) }
}
