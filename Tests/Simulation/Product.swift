/// What is sold and travelled in the simulation: small, with one of everything that can go wrong.
enum Product {
  static let id = "PRD-SIM"
  static let market = "AT-VIE"
  static let document = "TJM-SIM"
  static let tokens = ["TOK-COFFEE", "TOK-CAKE"]
  static let vendors = ["VND-A", "VND-B"]
  static let places = ["SP-A", "SP-B"]
  /// Both places.
  static let cluster = "CL-SIM"
  /// How many the place on the right takes at a time.
  static let capacity = 1
  /// How long each of the journey's timers runs.
  static let timer: Duration = .seconds(600)

  static func version(_ number: Int) -> String { "PRDV-SIM-1.0.\(number)" }

  /// The number in a version's id.
  static func number(ofVersion id: String) -> Int? { id.split(separator: ".").last.flatMap { Int($0) } }

  /// Everything, with one version of the product after the other.
  static func bundle(version number: Int) -> String {
    """
    bundle_id: BND-SIM
    description: The simulation's product
    markets:
      - {market_code: AT-VIE, name: Vienna, city_code: VIE, time_zone: Europe/Vienna, currency: EUR, country: AT}
    products:
      - {product_id: PRD-SIM, title: Simulated, current_version_id: \(version(number))}
    product_versions:
      - product_version_id: \(version(number))
        product_id: PRD-SIM
        version: 1.0.\(number)
        title: Simulated
        market_codes: [AT-VIE]
        segments: [local]
        journey_doc_id: TJM-SIM
        profile_ids: [PRF-TOKEN-SIM, PRF-SAFETY-SIM, PRF-OPS-SIM]
        variants:
          - variant_id: VAR-COFFEE
            title: Coffee
            price: {micros: 9000000, currency: EUR}
            grants: [{token_id: TOK-COFFEE, quantity: 3, valid_for: 7200s}]
          - variant_id: VAR-BOTH
            title: Coffee and, for a moment, cake
            price: {micros: 12000000, currency: EUR}
            grants:
              - {token_id: TOK-COFFEE, quantity: 2, valid_for: 86400s}
              - {token_id: TOK-CAKE, quantity: 1, valid_for: 1s}
    tokens:
      - {token_id: TOK-COFFEE, title: One coffee, settlement_value: {micros: 3400000, currency: EUR}, redeemable_tags: [cafe]}
      - {token_id: TOK-CAKE, title: One cake, settlement_value: {micros: 4100000, currency: EUR}, redeemable_tags: [cafe]}
    profiles:
      - {profile_id: PRF-TOKEN-SIM, title: Tokens, token: {token_ids: [TOK-COFFEE, TOK-CAKE]}}
      - {profile_id: PRF-SAFETY-SIM, title: Safety, safety: {max_stops: 6, max_walking_metres: 6000}}
      - {profile_id: PRF-OPS-SIM, title: Operations, ops: {blocked_service_point_ids: []}}
    journey_documents:
      - journey_doc_id: TJM-SIM
        version: 1.0.0
        title: Around
        entry_points: [{name: start, node_id: start}]
        nodes:
          - {node_id: start, title: Begin, start: {}}
          - {node_id: rest, title: Rest, timer: {after: 600s}}
          - {node_id: crossing, title: Where to, choice: {question: "Where to?", options: [left, right, again, both, ask]}}
          - {node_id: fork, title: Two things at once, split: {join: meet}}
          - {node_id: look, title: Look around, message: {text: "What a view."}}
          - {node_id: nap, title: A nap, timer: {after: 600s}}
          - {node_id: meet, title: Together again, join: {}}
          - {node_id: ask, title: What now, agent: {agent_type: journey_guide, intent: suggest_next_stop}}
          - {node_id: visit, title: The place on the left, visit: {service_point_id: SP-A}}
          - {node_id: coffee, title: Coffee, redeem: {token_id: TOK-COFFEE, quantity: 1}}
          - {node_id: right, title: The place on the right, visit: {service_point_id: SP-B}}
          - {node_id: sorry, title: Sorry, message: {text: "No coffee today."}}
          - {node_id: end, title: End, end: {}}
        edges:
          - {from: start, to: rest}
          - {from: rest, to: crossing}
          - {from: crossing, to: visit, on: left}
          - {from: crossing, to: right, on: right}
          - {from: crossing, to: rest, on: again}
          - {from: crossing, to: fork, on: both}
          - {from: crossing, to: ask, on: ask}
          - {from: fork, to: look}
          - {from: fork, to: nap}
          - {from: look, to: meet}
          - {from: nap, to: meet, on: "signal:hurry"}
          - {from: nap, to: meet}
          - {from: meet, to: crossing}
          - {from: ask, to: crossing}
          - {from: crossing, to: sorry}
          - {from: visit, to: coffee}
          - {from: coffee, to: crossing, on: completed}
          - {from: coffee, to: sorry, on: failed}
          - {from: coffee, to: sorry}
          - {from: right, to: coffee}
          - {from: sorry, to: end}
    agents:
      - {agent_slug: sim-guide, agent_type: journey_guide, title: Guide, intents: [suggest_next_stop], version: 1, capability_tiers: [read]}
    vendors:
      - {vendor_id: VND-A, name: A}
      - {vendor_id: VND-B, name: B}
    service_points:
      - service_point_id: SP-A
        name: A
        market_code: AT-VIE
        position: {latitude: 48.21, longitude: 16.36}
        opening_hours: "24/7"
        tags: [cafe]
        cluster_id: CL-SIM
        vendor_id: VND-A
        experience_score: 0.9
        dwell: 600s
      - service_point_id: SP-B
        name: B
        market_code: AT-VIE
        position: {latitude: 48.20, longitude: 16.37}
        opening_hours: "24/7"
        tags: [cafe]
        cluster_id: CL-SIM
        capacity: \(capacity)
        vendor_id: VND-B
        experience_score: 0.8
        dwell: 600s
    """
  }

  /// The document once more, as the simulation understands it: (from, outcome, to); an empty outcome is for any.
  static let edges: [(from: String, on: String, to: String)] = [
    ("start", "", "rest"), ("rest", "", "crossing"), ("crossing", "left", "visit"), ("crossing", "right", "right"),
    ("crossing", "again", "rest"), ("crossing", "both", "fork"), ("crossing", "ask", "ask"), ("crossing", "", "sorry"),
    ("fork", "", "look"), ("fork", "", "nap"), ("look", "", "meet"), ("nap", "signal:hurry", "meet"), ("nap", "", "meet"),
    ("meet", "", "crossing"), ("ask", "", "crossing"), ("visit", "", "coffee"), ("coffee", "completed", "crossing"),
    ("coffee", "failed", "sorry"), ("coffee", "", "sorry"), ("right", "", "coffee"), ("sorry", "", "end"),
  ]

  /// What the split opens, all at once, and where the branches meet.
  static let (split, branches, join) = ("fork", ["look", "nap"], "meet")

  /// Where a node that ended so leads.
  static func next(from node: String, _ outcome: String) -> String? {
    edges.first { $0.from == node && ($0.on.isEmpty || $0.on == outcome) }?.to
  }
}
