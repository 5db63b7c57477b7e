/// Reads pages until there are `limit` items; returns what came and the token of what comes after it, empty at the end.
///
/// - Parameter read: asks for a page of that size after a token, empty for the first; returns its items and the next page's token.
func gather<Item>(
  upTo limit: Int, after first: String = "", _ read: (_ size: UInt32, _ token: String) async throws -> ([Item], String)
) async throws -> ([Item], next: String) {
  /// What every service gives in one page.
  let mostInPage = 500
  var items: [Item] = []
  var token = first
  repeat {
    let (page, next) = try await read(UInt32(min(mostInPage, limit - items.count)), token)
    items += page
    token = next
  } while !token.isEmpty && items.count < limit
  return (items, token)
}
