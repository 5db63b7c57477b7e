import Synchronization

/// Pages of the log that are full: they change only when compaction thins them out, so one copy serves everybody who reads history.
final class PageCache: Sendable {
  private struct State {
    var pages: [Int64: (events: [LogEvent], bytes: Int, used: UInt64)] = [:]
    var bytes = 0
    var uses: UInt64 = 0
    var loading: [Int64: [UnsafeContinuation<[LogEvent], any Error>]] = [:]
  }

  private let state = Mutex(State())
  private let bound: Int

  init(bound: Int = EventLogLimits.pageCacheBytes) { self.bound = bound }

  var bytes: Int { state.withLock { $0.bytes } }

  /// A page by its number, loaded once however many ask for it at a time.
  func page(_ number: Int64, load: @escaping @Sendable () async throws -> [LogEvent]) async throws -> [LogEvent] {
    enum Step {
      case have([LogEvent])
      case load, wait
    }
    let kept = state.withLock { state -> [LogEvent]? in
      guard let page = state.pages[number] else { return nil }
      state.uses += 1
      state.pages[number]!.used = state.uses
      return page.events
    }
    if let kept { return kept }
    return try await withUnsafeThrowingContinuation { continuation in
      let isFirst = state.withLock { state in
        let isFirst = state.loading[number] == nil
        state.loading[number, default: []].append(continuation)
        return isFirst
      }
      // Unstructured, so that the first one's cancellation does not fail the others.
      if isFirst { Task { self.finish(number, await Result { try await load() }) } }
    }
  }

  /// Forgets pages that compaction has changed.
  func remove(_ numbers: Range<Int64>) {
    state.withLock { state in
      for number in numbers { state.bytes -= state.pages.removeValue(forKey: number)?.bytes ?? 0 }
    }
  }

  private func finish(_ number: Int64, _ result: Result<[LogEvent], any Error>) {
    let waiting = state.withLock { state in
      if case .success(let events) = result {
        state.uses += 1
        let bytes = events.reduce(0) { $0 + $1.cost }
        state.pages[number] = (events, bytes, state.uses)
        state.bytes += bytes
        while state.bytes > bound, state.pages.count > 1, let oldest = state.pages.min(by: { $0.value.used < $1.value.used }) {
          state.bytes -= oldest.value.bytes
          state.pages[oldest.key] = nil
        }
      }
      return state.loading.removeValue(forKey: number) ?? []
    }
    for continuation in waiting { continuation.resume(with: result) }
  }
}

extension Result where Failure == any Error {
  init(_ body: () async throws -> Success) async {
    do { self = .success(try await body()) } catch { self = .failure(error) }
  }
}
