/// An address of the loopback network that no other server of the tests has, for those that leave a port and come back to it: on 127.0.0.1
/// the port may meanwhile be the source of any client's connection, and can't be listened on then.
package func loopbackAddressOfItsOwn() -> String {
  "127." + (0..<3).map { _ in "\(UInt8.random(in: 1...254))" }.joined(separator: ".")
}
