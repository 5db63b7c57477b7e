#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sqlite3.h>

// What SQLite is told before its first connection, since it takes it at no other time; later calls change nothing. The first two are
// about blocks of some 64 KiB that it would take and give back for single statements, which an allocator that returns memory maps anew
// each time: what undoes a statement or a savepoint is kept in small pieces and never in a file, and the cache of a table that lives for
// one statement grows page by page. The third spares a lock for counts that nobody reads.
static inline void spanwire_configure_sqlite(void) {
  sqlite3_config(SQLITE_CONFIG_STMTJRNL_SPILL, -1);
  sqlite3_config(SQLITE_CONFIG_PAGECACHE, (void *)0, 0, 0);
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

// The calling thread's name as ps and debuggers show it; 15 characters.
static inline void spanwire_name_store_thread(const char *name) {
  extern int pthread_setname_np(pthread_t, const char *);
  pthread_setname_np(pthread_self(), name);
}
