import SpanwireRPC
import Testing

@testable import SpanwireRPCOverHTTP2

@Suite struct ServiceConfigTests {
  static let retry =
    #"{"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", 10]}"#

  @Test("reads every field of gRPC's JSON that has a meaning here")
  func whole() throws {
    let config = try ServiceConfig(
      json: """
        {"loadBalancingConfig": [{"grpclb": {}}, {"round_robin": {}}, {"pick_first": {}}],
         "methodConfig": [
          {"name": [{"service": "a.B", "method": "C"}, {"service": "a.D"}], "waitForReady": true, "timeout": "1.5s",
           "maxRequestMessageBytes": 100, "maxResponseMessageBytes": "200", "retryPolicy": \(Self.retry), "future": 1},
          {"name": [{"service": "a.B"}], "hedgingPolicy": {"maxAttempts": 9, "hedgingDelay": ".5s", "nonFatalStatusCodes": ["unknown"]}},
          {"name": [{}], "timeout": "3s", "waitForReady": null}],
         "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.12349},
         "healthCheckConfig": {"serviceName": "a.B"}}
        """)
    #expect(config.balancing == .roundRobin)
    #expect(config.healthService == "a.B")
    #expect(config.throttling == .init(maxTokens: 10, tokenRatio: 0.123))
    let method = { config.method(MethodDescriptor(service: $0, name: $1, kind: .unary, inputType: "", outputType: "")) }
    let retry = RetryPolicy(
      maxAttempts: 4, initialBackoff: .milliseconds(100), maxBackoff: .seconds(1), backoffMultiplier: 2,
      retryableCodes: [.unavailable, .aborted])
    let full = ServiceConfig.Method(
      waitForReady: true, timeout: .milliseconds(1500), maxRequestBytes: 100, maxResponseBytes: 200, repetition: .retry(retry))
    #expect(method("a.B", "C") == full)
    #expect(method("a.D", "Anything") == full)
    #expect(
      method("a.B", "Other")?.repetition
        == .hedge(HedgingPolicy(maxAttempts: 5, hedgingDelay: .milliseconds(500), nonFatalCodes: [.unknown])))
    #expect(method("x.Y", "Z") == ServiceConfig.Method(timeout: .seconds(3)))
  }

  @Test("the caller's options and the service's join: the stricter counts, and the caller decides on waiting")
  func joined() {
    let method = ServiceConfig.Method(waitForReady: true, timeout: .seconds(2), maxRequestBytes: 10, maxResponseBytes: 20)
    let plain = method.applied(to: CallOptions())
    #expect(plain.waitForReady == true && plain.timeout == .seconds(2) && plain.maxRequestBytes == 10 && plain.maxResponseBytes == 20)
    let own = method.applied(to: CallOptions(timeout: .seconds(1), waitForReady: false, maxResponseBytes: 30))
    #expect(own.waitForReady == false && own.timeout == .seconds(1) && own.maxResponseBytes == 20)
  }

  @Test(
    "the balancing policies that have names",
    arguments: [
      (#"{"loadBalancingPolicy": "ROUND_ROBIN"}"#, .roundRobin), (#"{"loadBalancingConfig": [{"pick_first": {}}]}"#, .pickFirst),
      (#"{"loadBalancingConfig": [{"least_request_experimental": {"choiceCount": 3}}]}"#, .leastRequest(choices: 3)),
      (#"{"loadBalancingConfig": [{"least_request": {}}]}"#, .leastRequest(choices: 2)), ("{}", nil),
    ] as [(String, LoadBalancing?)])
  func balancing(json: String, policy: LoadBalancing?) throws {
    #expect(try ServiceConfig(json: json).balancing == policy)
  }

  static func method(_ body: String) -> String { #"{"methodConfig": [{"name": [{"service": "a.B"}], \#(body)}]}"# }
  static func retry(_ change: (String, String)) -> String {
    method(#""retryPolicy": \#(Self.retry.replacing(change.0, with: change.1))"#)
  }

  @Test(
    "what is wrong is refused with its place",
    arguments: [
      ("[]", ""), ("{", ""), (#"{"methodConfig": 1}"#, "methodConfig"), (#"{"methodConfig": [1]}"#, "methodConfig[0]"),
      (#"{"methodConfig": [{"name": [{"method": "C"}]}]}"#, "methodConfig[0].name[0]"),
      (#"{"methodConfig": [{"name": [{"service": "a.B"}, {"service": "a.B", "method": ""}]}]}"#, "methodConfig[0].name[1]"),
      (method(#""timeout": 1"#), "methodConfig[0].timeout"), (method(#""timeout": "1""#), "methodConfig[0].timeout"),
      (method(#""timeout": "1.s""#), "methodConfig[0].timeout"), (method(#""timeout": "-1s""#), "methodConfig[0].timeout"),
      (method(#""timeout": "0.1234567891s""#), "methodConfig[0].timeout"), (method(#""timeout": "s""#), "methodConfig[0].timeout"),
      (method(#""timeout": "99999999999999999999s""#), "methodConfig[0].timeout"),
      (method(#""waitForReady": 1"#), "methodConfig[0].waitForReady"),
      (method(#""maxRequestMessageBytes": -1"#), "methodConfig[0].maxRequestMessageBytes"),
      (method(#""maxRequestMessageBytes": 1.5"#), "methodConfig[0].maxRequestMessageBytes"),
      (method(#""maxResponseMessageBytes": 4294967296"#), "methodConfig[0].maxResponseMessageBytes"),
      (retry((#""maxAttempts": 4"#, #""maxAttempts": 1"#)), "methodConfig[0].retryPolicy.maxAttempts"),
      (retry((#""maxAttempts": 4, "#, "")), "methodConfig[0].retryPolicy.maxAttempts"),
      (retry((#""0.1s""#, #""0s""#)), "methodConfig[0].retryPolicy.initialBackoff"),
      (retry((#""maxBackoff": "1s""#, #""maxBackoff": 1"#)), "methodConfig[0].retryPolicy.maxBackoff"),
      (retry((#""backoffMultiplier": 2"#, #""backoffMultiplier": 0"#)), "methodConfig[0].retryPolicy.backoffMultiplier"),
      (retry((#"["UNAVAILABLE", 10]"#, "[]")), "methodConfig[0].retryPolicy.retryableStatusCodes"),
      (retry((#""UNAVAILABLE""#, #""SOMETHING""#)), "methodConfig[0].retryPolicy.retryableStatusCodes[0]"),
      (retry(("10]", "17]")), "methodConfig[0].retryPolicy.retryableStatusCodes[1]"),
      (retry(("10]", "0]")), "methodConfig[0].retryPolicy.retryableStatusCodes[1]"),
      (
        method(#""retryPolicy": \#(retry), "hedgingPolicy": {"maxAttempts": 2}"#), "methodConfig[0].hedgingPolicy"
      ),
      (method(#""hedgingPolicy": {}"#), "methodConfig[0].hedgingPolicy.maxAttempts"),
      (method(#""hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": 1}"#), "methodConfig[0].hedgingPolicy.hedgingDelay"),
      (#"{"retryThrottling": {"maxTokens": 0, "tokenRatio": 1}}"#, "retryThrottling.maxTokens"),
      (#"{"retryThrottling": {"maxTokens": 1001, "tokenRatio": 1}}"#, "retryThrottling.maxTokens"),
      (#"{"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.0001}}"#, "retryThrottling.tokenRatio"),
      (#"{"retryThrottling": {"maxTokens": 10}}"#, "retryThrottling.tokenRatio"),
      (#"{"loadBalancingConfig": [{"grpclb": {}}]}"#, "loadBalancingConfig"), (#"{"loadBalancingConfig": []}"#, "loadBalancingConfig"),
      (#"{"loadBalancingConfig": [{"a": {}, "b": {}}]}"#, "loadBalancingConfig[0]"),
      (#"{"loadBalancingConfig": [{"least_request": {"choiceCount": 1}}]}"#, "loadBalancingConfig[0].least_request.choiceCount"),
      (#"{"loadBalancingPolicy": "best"}"#, "loadBalancingPolicy"),
      (#"{"healthCheckConfig": {"serviceName": 1}}"#, "healthCheckConfig.serviceName"),
    ])
  func refused(json: String, path: String) {
    #expect { try ServiceConfig(json: json) } throws: { error in
      let error = error as? ServiceConfigError
      return error?.path == path && error?.problem.isEmpty == false
    }
  }
}
