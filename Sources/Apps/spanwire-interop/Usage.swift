/// The flags of both verbs, named as the public description names them where it does, and the help made of them.
extension Interop {
  private static let certificates = InteropFlags.Flag(
    "test_certificates", "FOLDER", "ca.pem, server1.pem and server1.key; .build/interop/certificates, made by tools/interop")

  static let serverFlags: [InteropFlags.Flag] = [
    .init("port", "PORT", "where to listen; 0 lets the system choose"),
    .init("host", "ADDRESS", "the address to listen on, in digits; 0.0.0.0"),
    .init("use_tls", "BOOL", "serve TLS; false"),
    .init("tls_cert_file", "FILE", "the server's certificate chain, with its key; those of the test certificates"),
    .init("tls_key_file", "FILE", "that key"),
    certificates,
  ]

  private static let accounts = "taken, and of no use: the cases that need accounts are not here"

  static let clientFlags: [InteropFlags.Flag] = [
    .init("server_host", "HOST", "the server; localhost"),
    .init("server_port", "PORT", "its port"),
    .init("server_host_override", "HOST", "the name to call it by, in :authority and its certificate"),
    .init("test_case", "NAME", "the case to run, or all"),
    .init("use_tls", "BOOL", "connect with TLS; false"),
    .init("use_test_ca", "BOOL", "trust ca.pem of the test certificates instead of the system's roots; false"),
    .init("ca_file", "FILE", "trust the authorities in this file"),
    certificates,
    .init("service_config_json", "JSON", "how calls are retried, hedged and balanced"),
    .init("additional_metadata", "NAME:VALUE;…", "metadata to send with every call"),
    .init("concurrent_calls", "NUMBER", "calls of concurrent_large_unary; 1000"),
    .init("soak_iterations", "NUMBER", "calls of a soak; 10"),
    .init("soak_max_failures", "NUMBER", "calls of a soak that may fail; 0"),
    .init("soak_per_iteration_max_acceptable_latency_ms", "NUMBER", "a call that takes longer has failed; 1000"),
    .init("soak_overall_timeout_seconds", "NUMBER", "all calls must be made by then; as long as they may take together"),
    .init("soak_min_time_ms_between_rpcs", "NUMBER", "from start to start; 0"),
    .init("soak_request_size", "BYTES", "payload of a request; 271828"),
    .init("soak_response_size", "BYTES", "payload of a response; 314159"),
    .init("soak_num_threads", "NUMBER", "so many make the calls of a soak at a time; 1"),
    .init("default_service_account", "EMAIL", accounts),
    .init("oauth_scope", "SCOPE", accounts),
    .init("service_account_key_file", "FILE", accounts),
  ]

  static let loadFlags: [InteropFlags.Flag] = [
    .init("workers", "NUMBER", "how many make calls, each one after the other; 8"),
    .init("seconds", "NUMBER", "for how long; 10"),
    .init("seed", "NUMBER", "what the calls are drawn from; 1"),
  ]

  static var usage: String {
    func table(_ flags: [InteropFlags.Flag]) -> String {
      flags.map { "  --\($0.name)=\($0.value)\n      \($0.meaning)" }.joined(separator: "\n")
    }
    return """
      spanwire-interop server --port=PORT [flags]
      spanwire-interop client --server_port=PORT --test_case=NAME [flags]

      spanwire-interop load --server_port=PORT [flags of the client] [flags]

      The server and the client of gRPC's public interoperability tests. Exits with 0 if the case went as it should, with 1 if not.

      server
      \(table(serverFlags))
      client
      \(table(clientFlags))
      load
      \(table(loadFlags))
      cases
        \(InteropCase.all.map(\.name).joined(separator: "\n  "))
      """
  }
}
