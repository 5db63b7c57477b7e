import Glibc
import Synchronization

/// A flag between threads, which can be waited for.
final class Flag: @unchecked Sendable {
  // Sendable: an atomic, and a POSIX semaphore.
  private let value = Atomic<Bool>(false)
  private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

  init() { sem_init(semaphore, 0, 0) }
  deinit { semaphore.deallocate() }

  var isSet: Bool { value.load(ordering: .relaxed) }

  func set() {
    value.store(true, ordering: .relaxed)
    sem_post(semaphore)
  }

  /// Returns once it is set.
  func wait() {
    while sem_wait(semaphore) != 0 {}
    sem_post(semaphore)  // for the next who waits
  }
}

/// A thread that runs while nobody else wants the processor.
final class Thread {
  private var handle = pthread_t()

  init(_ body: @escaping () -> Void) {
    let box = Unmanaged.passRetained(Box(body))
    pthread_create(
      &handle, nil,
      { argument in
        // Not niceness: even the nicest thread keeps the processor for the rest of its slice, some milliseconds.
        runAs(idlePriority)
        Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
        return nil
      }, box.toOpaque())
  }

  func join() { pthread_join(handle, nil) }

  private final class Box {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
  }
}

/// Linux's SCHED_IDLE, which Glibc's module leaves out.
private let idlePriority: Int32 = 5

/// Has the calling thread scheduled so; whoever may not, stays as he is.
@discardableResult
func runAs(_ policy: Int32, priority: Int32 = 0) -> Bool {
  var parameters = sched_param()
  parameters.sched_priority = priority
  // Linux takes 0 for the calling thread here.
  return sched_setscheduler(0, policy, &parameters) == 0
}

/// The most memory that was seen.
final class Peak {
  private let process: Int32
  private(set) var kiB = 0

  init(_ process: Int32) { self.process = process }
  func look() { kiB = max(kiB, residentKiB(process)) }
}

/// What a process holds in memory; 0 when it is gone.
func residentKiB(_ process: Int32) -> Int {
  guard let file = fopen("/proc/\(process)/statm", "r") else { return 0 }
  defer { fclose(file) }
  var line = [CChar](repeating: 0, count: 128)
  guard fgets(&line, 128, file) != nil else { return 0 }
  let fields = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
  return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * Int(getpagesize()) / 1024
}

func milliseconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) * 1000 + Double(time.tv_nsec) / 1_000_000
}

func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }

func number(_ value: Double, _ digits: Int = 3, _ width: Int = 10) -> String {
  let scale = pow(10, Double(digits))
  let whole = Int((value * scale).rounded())
  let fraction = String(whole % Int(scale))
  let text = "\(whole / Int(scale))." + String(repeating: "0", count: digits - fraction.count) + fraction
  return String(repeating: " ", count: max(0, width - text.count)) + text
}

func mebibytes(_ kiB: Int) -> String { number(Double(kiB) / 1024, 1, 7) + " MiB" }
