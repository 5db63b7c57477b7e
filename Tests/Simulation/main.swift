import Foundation

/// `spanwire-simulate --seeds 1000`; see `tools/simulate --help`.
struct Arguments {
  var first: UInt64 = 1
  var count: UInt64 = 100
  var stride: UInt64 = 1
  var steps = 48
  var tells = false
  var plants = false
  var digests = false

  init(_ words: [String]) {
    var words = words[...]
    func number() -> UInt64 {
      guard let word = words.popFirst(), let number = UInt64(word) else { Self.fail("a number is missing") }
      return number
    }
    while let word = words.popFirst() {
      switch word {
      case "--seeds": count = number()
      case "--first": first = number()
      case "--stride": stride = number()
      case "--steps": steps = Int(number())
      case "--seed": (first, count, tells) = (number(), 1, true)
      case "--digests": digests = true
      case "--planted": plants = true
      default: Self.fail("what is \(word)?")
      }
    }
  }

  static func fail(_ text: String) -> Never {
    FileHandle.standardError.write(Data((text + "\n").utf8))
    exit(2)
  }
}

let arguments = Arguments(Array(CommandLine.arguments.dropFirst()))
// Dictionaries are walked in an order that the process's chance decides, unless it is told not to.
if getenv("SWIFT_DETERMINISTIC_HASHING") == nil {
  setenv("SWIFT_DETERMINISTIC_HASHING", "1", 1)
  var words: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.map { strdup($0) } + [nil]
  execv("/proc/self/exe", &words)
  Arguments.fail("cannot start anew")
}
_ = VirtualExecutor.shared

var name = Array("\(FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : "/tmp")/spanwire-simulate-XXXXXX".utf8CString)
guard mkdtemp(&name) != nil else { Arguments.fail("no folder for the databases") }
let folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
defer { try? FileManager.default.removeItem(atPath: folder) }

func simulate(_ seed: UInt64, _ template: Template, plant: Plant? = nil, tells: Bool = false) throws {
  let run = try Run(seed: seed, template: template, folder: folder, plant: plant, tells: tells)
  defer { try? run.end() }
  try run.live(steps: arguments.steps)
  if arguments.digests || tells {
    let (turns, events, crashes) = run.summary
    let digest = String(try run.digest(), radix: 16)
    tell("seed \(seed): digest \(digest), \(turns) turns, \(events) events, \(crashes) crashes")
    if tells { tell(try run.tally()) }
  }
}

/// Looks for each planted bug among the seeds; true when all are found.
func findPlants() throws -> Bool {
  var allFound = true
  for plant in Plant.allCases {
    let template = try Template(folder: folder, plant.change)
    var found: String?
    for seed in arguments.first..<(arguments.first + arguments.count) where found == nil {
      do { try simulate(seed, template, plant: plant) } catch let failure as Run.Failure {
        guard let violation = failure.reason as? Violation, plant.rules.contains(violation.rule) else { throw failure }
        found = "\(failure)"
      }
    }
    tell("\(plant.rawValue): \(found ?? "NOT FOUND in \(arguments.count) seeds")")
    allFound = allFound && found != nil
  }
  return allFound
}

do {
  if arguments.plants {
    exit(try findPlants() ? 0 : 1)
  }
  let template = try Template(folder: folder)
  var failures = 0
  for number in 0..<arguments.count {
    let seed = arguments.first + number * arguments.stride
    do { try simulate(seed, template, tells: arguments.tells) } catch let failure as Run.Failure {
      failures += 1
      tell("FAILED \(failure)")
    }
  }
  exit(failures == 0 ? 0 : 1)
} catch {
  tell("FAILED \(error)")
  exit(1)
}
