#pragma once
// What Swift cannot say by itself about Linux: packed structs, GNU-only calls, macros.
#include <malloc.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// Declared here because Swift's view of the headers is without _GNU_SOURCE.
extern int accept4(int, struct sockaddr *, socklen_t *, int);
extern long syscall(long, ...);

// struct epoll_event is packed and holds a union: it is written and read here.
static inline int spanwire_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t token) {
  struct epoll_event event;
  event.events = events;
  event.data.u64 = token;
  return epoll_ctl(epoll, operation, descriptor, &event);
}
static inline uint64_t spanwire_epoll_token(const struct epoll_event *events, int index) { return events[index].data.u64; }
static inline uint32_t spanwire_epoll_mask(const struct epoll_event *events, int index) { return events[index].events; }

static inline int spanwire_accept(int listener, struct sockaddr_storage *peer, socklen_t *length) {
  return accept4(listener, (struct sockaddr *)peer, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

// The processors this process may run on: containers and taskset narrow them.
static inline int spanwire_usable_processors(void) {
  unsigned long mask[128];
  long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  int count = 0;
  for (long i = 0; i < bytes / (long)sizeof mask[0]; i++) count += __builtin_popcountl(mask[i]);
  return count > 0 ? count : 1;
}

// How often the calling thread gave up its processor by itself: it slept in the kernel.
static inline long spanwire_thread_sleeps(void) {
  struct rusage usage;
  return getrusage((__rusage_who_t)1 /* RUSAGE_THREAD */, &usage) == 0 ? usage.ru_nvcsw : 0;
}

// Shows the thread under this name in ps and debuggers; at most 15 bytes are kept.
extern int prctl(int, ...);
static inline void spanwire_name_thread(const char *name) { prctl(15 /* PR_SET_NAME */, name, 0, 0, 0); }
