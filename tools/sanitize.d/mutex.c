// Tells ThreadSanitizer of the locks that it cannot see.
//
// Swift's Mutex takes and gives itself with one atomic operation, compiled into its user, which the sanitizer knows. When two threads meet at
// it, the kernel hands it over, inside a library that is not instrumented: whoever comes next then seems to have locked nothing. Loaded before
// that library, this stands in front of its three functions.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *mutex
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

// The sanitizer's; absent in the programs on the way that were built without it.
extern void __tsan_acquire(void *) __attribute__((weak));
extern void __tsan_release(void *) __attribute__((weak));

static void *original(const char *name) {
  void *function = dlsym(RTLD_NEXT, name);
  if (!function) abort();
  return function;
}

SWIFT void lock(uint32_t thread, SELF) __asm__(LOCK);
SWIFT void lock(uint32_t thread, SELF) {
  static SWIFT void (*function)(uint32_t, SELF);
  if (!function) function = (SWIFT void (*)(uint32_t, SELF))original(LOCK);
  function(thread, mutex);
  if (__tsan_acquire) __tsan_acquire(mutex);
}

SWIFT bool try_lock(SELF) __asm__(TRY);
SWIFT bool try_lock(SELF) {
  static SWIFT bool (*function)(SELF);
  if (!function) function = (SWIFT bool (*)(SELF))original(TRY);
  bool taken = function(mutex);
  if (taken && __tsan_acquire) __tsan_acquire(mutex);
  return taken;
}

SWIFT void unlock(SELF) __asm__(UNLOCK);
SWIFT void unlock(SELF) {
  static SWIFT void (*function)(SELF);
  if (!function) function = (SWIFT void (*)(SELF))original(UNLOCK);
  if (__tsan_release) __tsan_release(mutex);
  function(mutex);
}
