import Foundation
import SpanwireEventLoop
import SpanwireProtobuf
import SpanwireSchema

// A load of durable writes through real RPC: so many callers, each of whom opens sessions or takes steps of a journey, one call after
// the other. It keeps book of what was acknowledged, and can compare that with what the server holds.

for file in SpanwireSchemaFiles.all { DescriptorPool.generated.add(file) }
guard let options = LoadOptions(CommandLine.arguments.dropFirst()) else {
  FileHandle.standardError.write(Data(LoadOptions.usage.utf8))
  exit(64)
}
do {
  let load = try Load(options)
  try await load.prepare()
  // Whoever measures begins his count now, and says when to go on.
  say("ready")
  _ = readLine()
  try await load.run()
  if options.checks, try await !load.check() { exit(1) }
} catch {
  FileHandle.standardError.write(Data("storeload: \(error)\n".utf8))
  exit(1)
}
