import SpanwireServiceKit
import Testing

@Suite("Hosts that a tool may reach")
struct HostPatternTests {
  private func admits(_ pattern: String, _ url: String, suffixes: Set<String> = ["com", "org", "co.uk"]) -> Bool {
    guard let pattern = try? HostPattern(pattern), let host = try? RequestedHost(url: url) else { return false }
    return pattern.admits(host, suffixes: suffixes)
  }

  @Test(
    "a pattern admits what it names",
    arguments: [
      ("github.com", "https://github.com/a/b?c#d"), ("github.com", "HTTPS://GitHub.COM"), ("GitHub.com", "https://github.com."),
      ("github.com", "https://github.com:443/"), ("github.com", "http://github.com:80/"), ("*.github.com", "https://api.github.com/"),
      ("docs.*", "https://docs.com"), ("docs.*", "https://docs.org/x"), ("docs.*", "https://docs.co.uk/x"),
      ("docs.python.*", "https://docs.python.org"), ("xn--mnchen-3ya.de", "https://xn--mnchen-3ya.de/"), ("localhost", "http://localhost/"),
      ("a_b.example.com", "https://a_b.example.com"),
    ])
  func admitted(pattern: String, url: String) { #expect(admits(pattern, url)) }

  @Test(
    "a pattern admits nothing that only looks like it",
    arguments: [
      ("docs.*", "https://docs.attacker.com"), ("docs.*", "https://docs.com.attacker.org"), ("docs.*", "https://docs.uk"),
      ("docs.*", "https://evil.docs.com"), ("docs.*", "https://docs.co.uk.com"), ("docs.*", "https://docs"),
      ("github.com", "https://github.com.attacker.org"), ("github.com", "https://notgithub.com"), ("github.com", "https://api.github.com"),
      ("*.github.com", "https://github.com"), ("*.github.com", "https://a.b.github.com"),
      ("*.github.com", "https://xn--80ak6aa.github.com"),
      ("github.com", "https://github.com@attacker.org"), ("github.com", "https://user:pass@github.com"),
      ("github.com", "https://attacker.org/github.com"), ("github.com", "https://attacker.org#github.com"),
      ("github.com", "https://attacker.org?github.com"), ("github.com", "https://attacker.org\\@github.com"),
      ("github.com", "https://github.com:8443/"), ("github.com", "https://github.com:/"), ("github.com", "https://github.com:80/"),
      ("github.com", "ftp://github.com"), ("github.com", "github.com"), ("github.com", "//github.com"), ("github.com", "https:github.com"),
      ("github.com", "https://github.com.."), ("github.com", "https://.github.com"), ("github.com", "https://github%2ecom"),
      ("github.com", "https://gith\u{443}b.com"), ("github.com", "https://git hub.com"), ("github.com", "https://github.com\t"),
      ("github.com", "javascript://github.com"), ("github.com", "https://"), ("github.com", ""),
    ])
  func refused(pattern: String, url: String) { #expect(!admits(pattern, url)) }

  @Test(
    "an address is no host, however it is spelled",
    arguments: [
      "http://127.0.0.1", "http://127.1", "http://2130706433", "http://0x7f000001", "http://0177.0.0.1", "http://169.254.169.254./latest",
      "http://[::1]/", "http://[::ffff:127.0.0.1]", "http://1.2.3.4.5",
    ])
  func addresses(url: String) { #expect(throws: RequestedHost.Fault.self) { try RequestedHost(url: url) } }

  @Test(
    "what is no pattern is refused when it is written",
    arguments: [
      "", "*", "*.*", "*.com", "docs.*.com", "a..b", ".com", "127.0.0.1", "ex ample.com", "-a.com", "https://a.com", "do*s.com",
      "a.com:443",
    ])
  func malformed(pattern: String) { #expect(throws: HostPattern.Fault.self) { try HostPattern(pattern) } }
}
