import ArgumentParser
import Foundation
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireTLS

/// Which server a client command talks to, and as whom.
struct ConnectionOptions: ParsableArguments {
  @Option(help: "HOST:PORT of the server (default: $SPANWIRE_SERVER, then 127.0.0.1:7300).") var server: String?
  @Option(help: "The credential sent as a bearer token (default: $SPANWIRE_TOKEN).") var token: String?
  @Flag(help: "Speak TLS, trusting the system's authorities.") var tls = false
  @Option(name: .customLong("tls-ca"), help: "Speak TLS, trusting the authorities in this PEM file (default: $SPANWIRE_TLS_CA).")
  var tlsAuthorities: String?

  private func setting(_ name: String) -> String? {
    ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
  }

  /// Where the server is.
  var address: String { server ?? setting("SPANWIRE_SERVER") ?? "127.0.0.1:7300" }

  /// A channel to the server that sends the credential with every call.
  func channel(defaultToken: String? = nil) async throws -> any Channel {
    guard let target = ChannelTarget(address) else { throw ValidationError("--server is HOST:PORT, not '\(address)'") }
    let authorities = tlsAuthorities ?? setting("SPANWIRE_TLS_CA")
    var security: TLSClientConfiguration?
    if let authorities {
      security = TLSClientConfiguration(trust: .authorities(.file(path: authorities)))
    } else if tls {
      security = TLSClientConfiguration()
    }
    let channel = try HTTP2Channel(target, tls: security)
    guard let token = token ?? setting("SPANWIRE_TOKEN") ?? defaultToken else { return channel }
    return channel.intercepted(by: [CallCredentials.bearer(token)])
  }
}
