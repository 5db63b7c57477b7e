// An agent in Swift: an analyst that answers operators, to show the library. Run it beside a server:
//   swift run spanwire-example-analyst [HOST:PORT]
import SpanwireRPCOverHTTP2
import SpanwireRPC
import SpanwireSchema
import SpanwireWorker

let address = CommandLine.arguments.dropFirst().first ?? "127.0.0.1:7300"
guard let target = ChannelTarget(address) else { fatalError("\(address) is not HOST:PORT") }
let channel = try HTTP2Channel(target).intercepted(by: [CallCredentials.bearer("dev:worker:analyst:vienna:ops-analyst")])

let worker = Worker(
  id: "analyst-1",
  agents: [
    "ops-analyst": { task in
      try await task.progress("reading", percent: 50)
      let subject = task.work.task?.subjectID ?? ""
      guard !subject.isEmpty else { throw GiveUp("there is nothing to look at: name an incident, event, trace or session") }
      let text = "\(subject) was looked at by a worker of \(task.work.claim?.tenantID ?? "")."
      return WorkerAnswer(
        text: text, proposals: [Proposal(summary: "Look again in an hour", confidence: 0.3, kind: .explanation(Explanation(text: text)))])
    }
  ])
print("attaching to \(address)")
try await worker.run(over: channel)
