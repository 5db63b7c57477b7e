import CLinux
import Glibc

/// What a server asks of the system once, at its start, before other threads do: descriptors enough, and no more memory than it uses.
public enum ProcessResources {
  /// Blocks of this size and above are mapped by themselves and returned when they are freed: streams' buffers that a slow reader filled.
  /// Left alone, the allocator raises this to the largest block ever freed, and keeps such blocks.
  static let mappedBytes: Int32 = 64 << 10
  /// Free memory at the end of a heap beyond this goes back as well.
  static let keptBytes: Int32 = 256 << 10
  /// Heaps that threads share: one for each of two busy loops; every further one keeps free memory that the others cannot use.
  static let heaps: Int32 = 2

  /// Raises the limit of open files to the hard limit: every connection is one. The result is how many may be open now.
  @discardableResult
  public static func raiseOpenFiles() -> Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
    if limit.rlim_cur < limit.rlim_max {
      var raised = limit
      raised.rlim_cur = limit.rlim_max
      if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 { limit = raised }
    }
    return Int(clamping: limit.rlim_cur)
  }

  /// Bytes that are allocated and not freed. What the allocator keeps of freed ones is no part of it, so that it tells a leak from holes
  /// between what lives long.
  package static var allocatedBytes: Int {
    let info = mallinfo2()
    return Int(info.uordblks) + Int(info.hblkhd)
  }

  /// Makes the allocator return what a busy hour needed, for servers that live for months.
  public static func returnFreedMemory() {
    _ = mallopt(M_MMAP_THRESHOLD, mappedBytes)
    _ = mallopt(M_TRIM_THRESHOLD, keptBytes)
    _ = mallopt(M_ARENA_MAX, heaps)
  }
}
