// Preloaded into a server: counts what it asks of the disk, and writes down what its writer asks of SQLite, so that the same can be
// asked of SQLite alone. The server needs no change for it and knows nothing of it.
//
//   WITNESS_COUNTS=FILE    a mapped array of int64: [0] calls of fsync and fdatasync, [1] not 0 while statements are to be written down
//   WITNESS_RECORD=FILE    where to; see replay.c for the format
//   WITNESS_DATABASE=PATH  the end of the path of the database whose writing connection is meant
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic int64_t fallback[2];
static _Atomic int64_t *counts = fallback;
static FILE *record;
static sqlite3 *writer;
static int recording;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("WITNESS_COUNTS");
  int file = path ? open(path, O_RDWR) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof fallback, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) counts = mapped;
  close(file);
}

#define NEXT(name) \
  ({ \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
    next; \
  })

int fsync(int file) {
  static __typeof__(&fsync) next;
  atomic_fetch_add(&counts[0], 1);
  return NEXT(fsync)(file);
}

int fdatasync(int file) {
  static __typeof__(&fdatasync) next;
  atomic_fetch_add(&counts[0], 1);
  return NEXT(fdatasync)(file);
}

int sqlite3_open_v2(const char *path, sqlite3 **database, int flags, const char *vfs) {
  static __typeof__(&sqlite3_open_v2) next;
  int code = NEXT(sqlite3_open_v2)(path, database, flags, vfs);
  const char *wanted = getenv("WITNESS_DATABASE"), *to = getenv("WITNESS_RECORD");
  if (code == SQLITE_OK && flags & SQLITE_OPEN_READWRITE && wanted && to) {
    size_t length = strlen(path), end = strlen(wanted);
    if (length >= end && !strcmp(path + length - end, wanted)) {
      writer = *database;
      record = fopen(to, "w");
      if (record) setvbuf(record, NULL, _IOFBF, 1 << 20);
    }
  }
  return code;
}

// Everything below happens on the writer's thread alone as far as it concerns the writer's connection.

enum { MOST = 32, STATEMENTS = 4096 };
struct value { char kind; int64_t number; double real; char *bytes; int length, room; };
struct known { sqlite3_stmt *statement; int told, stepped; struct value values[MOST]; };
static struct known known[STATEMENTS];
static int32_t knowns;

static struct known *find(sqlite3_stmt *statement) {
  if (!writer || sqlite3_db_handle(statement) != writer) return NULL;
  for (int32_t i = 0; i < knowns; i++)
    if (known[i].statement == statement) return &known[i];
  if (knowns == STATEMENTS) abort();
  known[knowns].statement = statement;
  return &known[knowns++];
}

int sqlite3_finalize(sqlite3_stmt *statement) {
  static __typeof__(&sqlite3_finalize) next;
  // Another may get its address, so what is known of it ends here.
  struct known *it = statement ? find(statement) : NULL;
  if (it) it->statement = NULL;
  return NEXT(sqlite3_finalize)(statement);
}

static struct value *slot(sqlite3_stmt *statement, int index, char kind) {
  struct known *it = find(statement);
  if (!it || index > MOST) return NULL;
  it->values[index - 1].kind = kind;
  return &it->values[index - 1];
}

static void keep(struct value *value, const void *bytes, int length) {
  if (!value) return;
  if (value->room < length) value->bytes = realloc(value->bytes, value->room = 2 * length);
  memcpy(value->bytes, bytes, value->length = length);
}

int sqlite3_bind_int64(sqlite3_stmt *statement, int index, sqlite3_int64 number) {
  static __typeof__(&sqlite3_bind_int64) next;
  struct value *value = slot(statement, index, 'i');
  if (value) value->number = number;
  return NEXT(sqlite3_bind_int64)(statement, index, number);
}

int sqlite3_bind_double(sqlite3_stmt *statement, int index, double real) {
  static __typeof__(&sqlite3_bind_double) next;
  struct value *value = slot(statement, index, 'd');
  if (value) value->real = real;
  return NEXT(sqlite3_bind_double)(statement, index, real);
}

int sqlite3_bind_null(sqlite3_stmt *statement, int index) {
  static __typeof__(&sqlite3_bind_null) next;
  slot(statement, index, 'n');
  return NEXT(sqlite3_bind_null)(statement, index);
}

int sqlite3_bind_zeroblob(sqlite3_stmt *statement, int index, int length) {
  static __typeof__(&sqlite3_bind_zeroblob) next;
  struct value *value = slot(statement, index, 'b');
  if (value) value->length = 0;
  return NEXT(sqlite3_bind_zeroblob)(statement, index, length);
}

int sqlite3_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, int length, void (*destroy)(void *)) {
  static __typeof__(&sqlite3_bind_blob) next;
  keep(slot(statement, index, 'b'), bytes, length);
  return NEXT(sqlite3_bind_blob)(statement, index, bytes, length, destroy);
}

int sqlite3_bind_text(sqlite3_stmt *statement, int index, const char *text, int length, void (*destroy)(void *)) {
  static __typeof__(&sqlite3_bind_text) next;
  keep(slot(statement, index, 't'), text, length);
  return NEXT(sqlite3_bind_text)(statement, index, text, length, destroy);
}

static void put(const void *bytes, size_t length) { fwrite(bytes, 1, length, record); }

static void write_down(struct known *it) {
  int32_t number = it - known, length;
  if (!it->told) {
    const char *sql = sqlite3_sql(it->statement);
    length = strlen(sql);
    put("S", 1), put(&number, 4), put(&length, 4), put(sql, length);
    it->told = 1;
  }
  put("X", 1), put(&number, 4);
  for (int index = 0; index < sqlite3_bind_parameter_count(it->statement); index++) {
    struct value *value = &it->values[index];
    put(&value->kind, 1);
    switch (value->kind) {
      case 'i': put(&value->number, 8); break;
      case 'd': put(&value->real, 8); break;
      case 'n': break;
      default: length = value->length, put(&length, 4), put(value->bytes, length);
    }
  }
}

int sqlite3_step(sqlite3_stmt *statement) {
  static __typeof__(&sqlite3_step) next;
  struct known *it = record ? find(statement) : NULL;
  const char *sql = it && !it->stepped ? sqlite3_sql(statement) : NULL;  // SQLite's own have none
  if (sql) {
    it->stepped = 1;
    // Whole groups only.
    if (!strncmp(sql, "BEGIN", 5)) recording = atomic_load(&counts[1]) != 0;
    if (recording) write_down(it);
    if (recording && !strncmp(sql, "COMMIT", 6)) fflush(record);
  }
  return NEXT(sqlite3_step)(statement);
}

int sqlite3_reset(sqlite3_stmt *statement) {
  static __typeof__(&sqlite3_reset) next;
  struct known *it = record && statement ? find(statement) : NULL;
  if (it) it->stepped = 0;
  return NEXT(sqlite3_reset)(statement);
}
