/// Every bound of the registry, with its reason.
enum RegistryLimits {
  /// A bundle is one request; the wire's own limit on a message is 4 MiB.
  static let bundleBytes = 4 * 1024 * 1024
  /// Definitions in one bundle: four times a city of a thousand places with everything around it.
  static let definitionsPerBundle = 5_000
  /// Definitions of one tenant; an Apply reads them all to check references.
  static let definitionsPerTenant = 50_000
  /// How deep YAML may nest. A journey node is five deep; parsing recurses, so the bound guards the stack.
  static let yamlDepth = 32
  /// Definitions that one event names: with the longest of ids they fill two thirds of what an envelope may have.
  static let namesPerEvent = 300
  /// Mistakes that Diff lists, which has a whole message for them: what is wrong with every definition of a bundle, once.
  static let problemsListed = 5_000
  /// Mistakes told in one refusal: more than anybody mends in one go. Diff lists the others.
  static let problemsTold = 60
  /// Letters of one problem, and bytes of all: status details travel in trailers, of which clients take 8 KiB.
  static let problemText = 160
  static let problemBytes = 4_500
  /// What an agent tells a model of its work: a page of text, which every question carries.
  static let instructionBytes = 8_000
  static let titleLetters = 300
  /// Flags that a flag depends on, by whatever way: their rules become part of its own, which clients evaluate at every question.
  static let flagDependencies = 16
  static let segments = 32
  static let experimentKeys = 32
  static let reasonLetters = 500
  static let grantQuantity: Int64 = 10_000
  static let grantSeconds: Int64 = 10 * 366 * 86_400
  /// How long an assist or view-as grant may be said to run: a working day with its night.
  static let accessGrantSeconds: Int64 = 24 * 3_600
  /// Categories, rules, grants and denials of an access policy, each: every pair of grants is compared.
  static let accessEntries = 1_000
  /// Metadata of one flag, which go with every evaluation of it: more would outweigh the flag.
  static let flagMetadata = 32
  static let dwellSeconds: Int64 = 24 * 3600
  /// Weights of an experiment's arms; their sum must stay far from overflow.
  static let armWeight: UInt32 = 1_000_000
  static let maxPageSize = 1_000
  static let defaultPageSize = 100
  /// Comparisons of one Apply, when others keep coming between.
  static let applyAttempts = 3
  /// Revisions that a watcher is sent from the past in one read.
  static let watchPage = 100
  /// Revisions of one page; each names all that it changed.
  static let revisionPageSize = 500
  static let defaultRevisionPageSize = 50
  /// Definitions read in one piece, so that a reader's statement does not grow with the registry.
  static let readPage = 1_000
}
