import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import SpanwireWorker

/// `ingest_file`: keeps a file's content under its hash, described so that it is found again.
///
/// Parameters: `name`; `content`, its text, or `content_base64`; `format`, a media type (text/plain unless said); `parents`, artifacts that it
/// was made of. Output: `artifact_id`, `sha256`, `size_bytes`, `lines`.
enum IngestFile {
  static let run: IntentHandler = { run in
    let parameters = run.parameters
    guard let name = parameters["name"]?.text, Identifier.isValid(name) else {
      throw RPCError.invalidField("parameters.name", "must match [A-Za-z0-9._-]{1,128}")
    }
    let content = try content(of: parameters)
    let format = parameters["format"]?.text ?? "text/plain"

    let examined = try await run.step("examine", input: ["content": Google_Protobuf_Value(SHA256.hex(SHA256.hash(content)))]) { _ in
      [
        "sha256": Google_Protobuf_Value(SHA256.hex(SHA256.hash(content))), "size_bytes": Google_Protobuf_Value(Double(content.count)),
        "lines": Google_Protobuf_Value(Double(content.count { $0 == 10 })),
      ]
    }
    let stored = try await run.step("store", input: examined) { _ in
      let artifact = try await run.artifacts.store(
        "file", type: "file", format: format, content: content,
        describedBy: ["name": Google_Protobuf_Value(name), "format": Google_Protobuf_Value(format)],
        parents: (parameters["parents"]?.list ?? []).compactMap(\.text))
      return ["artifact_id": Google_Protobuf_Value(artifact.artifactID)]
    }
    try await run.append("file.ingested", ["name": Google_Protobuf_Value(name), "sha256": examined["sha256"] ?? ""], key: "ingested")
    var output = examined
    output["artifact_id"] = stored["artifact_id"]
    return HandlerResult(output: output, artifactIds: [stored["artifact_id"]?.text ?? ""])
  }

  private static func content(of parameters: Google_Protobuf_Struct) throws -> [UInt8] {
    if let text = parameters["content"]?.text { return Array(text.utf8) }
    guard let text = parameters["content_base64"]?.text,
      let bytes = Base64URL.decode(text.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: ""))
    else { throw RPCError.invalidField("parameters.content", "or content_base64 must be given") }
    return bytes
  }
}
