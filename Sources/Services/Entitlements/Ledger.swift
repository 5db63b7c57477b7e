/// An exact amount: millionths of the currency's unit.
public struct Amount: Sendable, Hashable {
  public var micros: Int64
  public var currency: String

  public init(micros: Int64, currency: String) {
    self.micros = micros
    self.currency = currency
  }
}

/// Where tokens and money stand.
public enum LedgerAccount: Sendable, Hashable, CustomStringConvertible, LosslessStringConvertible {
  /// Where everything comes from: the one account that may be negative, and is by as much as all others hold.
  case issuer
  /// What an entitlement has left.
  case holder(entitlementID: String)
  /// What a vendor redeemed and is owed for.
  case vendor(String)
  /// What a vendor was settled for.
  case settled(String)
  /// What ran out unredeemed.
  case expired

  public var description: String {
    switch self {
    case .issuer: "issuer"
    case .holder(let id): "holder:" + id
    case .vendor(let id): "vendor:" + id
    case .settled(let id): "settled:" + id
    case .expired: "expired"
    }
  }

  public init?(_ description: String) {
    let parts = description.split(separator: ":", maxSplits: 1).map(String.init)
    switch (parts.first, parts.count) {
    case ("issuer", 1): self = .issuer
    case ("expired", 1): self = .expired
    case ("holder", 2): self = .holder(entitlementID: parts[1])
    case ("vendor", 2): self = .vendor(parts[1])
    case ("settled", 2): self = .settled(parts[1])
    default: return nil
    }
  }
}

/// One line of a posting: what an account gains, or loses when negative, of one token.
public struct LedgerLine: Sendable, Hashable {
  public var account: LedgerAccount
  /// A token's id, or `money:EUR` for micros of a currency; ids from outside hold no colon, so the two can't collide.
  public var tokenID: String
  public var quantity: Int64

  public init(_ account: LedgerAccount, _ tokenID: String, _ quantity: Int64) {
    self.account = account
    self.tokenID = tokenID
    self.quantity = quantity
  }

  public static func money(_ currency: String) -> String { "money:" + currency }
}

public enum LedgerCause: String, Sendable, Hashable, CaseIterable {
  case issue, redeem, expire, withdraw, compensate, settle, correct
}

/// A transaction of the ledger. Its lines sum to zero for each token; it is never changed, only followed by others.
public struct LedgerPosting: Sendable, Hashable {
  public let cause: LedgerCause
  public let lines: [LedgerLine]

  /// Lines of quantity zero are left out.
  init(_ cause: LedgerCause, _ lines: [LedgerLine]) {
    self.cause = cause
    self.lines = lines.filter { $0.quantity != 0 }
    precondition(Self.sums(self.lines).values.allSatisfy { $0 == 0 }, "a posting must balance")
  }

  /// Moves a quantity of one token from an account to another; a negative quantity moves it back.
  static func move(_ quantity: Int64, of tokenID: String, from: LedgerAccount, to: LedgerAccount) -> [LedgerLine] {
    [LedgerLine(from, tokenID, -quantity), LedgerLine(to, tokenID, quantity)]
  }

  static func sums(_ lines: some Sequence<LedgerLine>) -> [String: Int64] {
    lines.reduce(into: [:]) { $0[$1.tokenID, default: 0] += $1.quantity }
  }
}

/// Balances by account and token: what the postings add up to. The check that a stored ledger must pass.
public struct LedgerBalances: Sendable, Hashable {
  public struct Key: Sendable, Hashable {
    public var account: LedgerAccount
    public var tokenID: String
  }

  public struct Negative: Error, Sendable, Hashable {
    public var key: Key
    public var balance: Int64
  }

  public private(set) var balances: [Key: Int64] = [:]

  public init() {}

  public func balance(_ account: LedgerAccount, _ tokenID: String) -> Int64 { balances[Key(account: account, tokenID: tokenID)] ?? 0 }

  /// Takes a posting over, whole or, when it would make an account other than the issuer's negative, not at all.
  public mutating func post(_ posting: LedgerPosting) throws(Negative) {
    try post(lines: posting.lines)
  }

  /// The same for lines as they were stored.
  public mutating func post(lines: some Sequence<LedgerLine>) throws(Negative) {
    var next = balances
    for line in lines { next[Key(account: line.account, tokenID: line.tokenID), default: 0] += line.quantity }
    for line in lines where line.account != .issuer {
      let key = Key(account: line.account, tokenID: line.tokenID)
      if let balance = next[key], balance < 0 { throw Negative(key: key, balance: balance) }
    }
    balances = next
  }

  /// The tokens whose balances don't sum to zero: none, if every posting was whole.
  public var unbalancedTokens: [String] {
    var sums: [String: Int64] = [:]
    for (key, balance) in balances { sums[key.tokenID, default: 0] += balance }
    return sums.filter { $0.value != 0 }.keys.sorted()
  }
}
