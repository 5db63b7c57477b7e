// SQLite alone, doing what witness.c saw a server's writer do: the same statements, prepared once, with the same values in the same
// order, on a copy of the same database with the same indexes and settings; so many transactions in each commit.
//
//   replay DATABASE RECORD OPERATIONS BATCH [all]
//
// OPERATIONS is how many the record holds: each has its part of the statements that write, and BATCH of them share a commit. Only those
// statements are done, unless `all`: then the reads of the transactions as well. Prints JSON: seconds and processor seconds (user,
// system), commits, rows changed, fsyncs if witness.so is preloaded to count them.
//
// The record: 'S' number length text: a statement; 'X' number values: it is run. A value: 'i' int64, 'd' double, 'n', 't' or 'b' length bytes.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

static sqlite3 *database;

static void fail(const char *what) {
  fprintf(stderr, "replay: %s: %s\n", what, database ? sqlite3_errmsg(database) : "");
  exit(1);
}

static void run(const char *sql) {
  if (sqlite3_exec(database, sql, NULL, NULL, NULL)) fail(sql);
}

enum kind { READ, WRITE, CONTROL };
enum { STATEMENTS = 4096 };
static struct { sqlite3_stmt *statement; enum kind kind; int parameters; } statements[STATEMENTS];

static double seconds(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

// Of the server's own groups.
static int is_control(const char *sql) {
  return !strncmp(sql, "BEGIN", 5) || !strncmp(sql, "COMMIT", 6) || !strncmp(sql, "SAVEPOINT", 9) || !strncmp(sql, "RELEASE", 7) ||
         !strncmp(sql, "ROLLBACK", 8);
}

int main(int count, char **arguments) {
  if (count < 5) return 2;
  int operations = atoi(arguments[3]), batch = atoi(arguments[4]), all = count > 5;
  // As the server has SQLite, but for its allocator.
  sqlite3_config(SQLITE_CONFIG_STMTJRNL_SPILL, -1);
  sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  if (sqlite3_open_v2(arguments[1], &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)) fail("open");
  // As SQLiteFile.openWriter has it, but that a checkpoint comes with the commit that fills the log.
  run("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -1024;"
      "PRAGMA mmap_size = 0; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF");
  int file = open(arguments[2], O_RDONLY);
  struct stat information;
  if (file < 0 || fstat(file, &information)) fail(arguments[2]);
  const char *record = mmap(NULL, information.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
  if (record == MAP_FAILED) fail("map");

  sqlite3_stmt *begin, *commit;
  if (sqlite3_prepare_v2(database, "BEGIN IMMEDIATE", -1, &begin, NULL) || sqlite3_prepare_v2(database, "COMMIT", -1, &commit, NULL))
    fail("prepare");
  int32_t number, length;
  long writes = 0;
  for (const char *at = record, *end = record + information.st_size; at < end;) {  // prepare all, before the clock runs
    char what = *at++;
    memcpy(&number, at, 4), at += 4;
    if (what == 'S') {
      memcpy(&length, at, 4), at += 4;
      const char *sql = at;
      at += length;
      sqlite3_stmt *statement;
      if (sqlite3_prepare_v3(database, sql, length, SQLITE_PREPARE_PERSISTENT, &statement, NULL)) fail("prepare");
      statements[number].statement = statement;
      statements[number].parameters = sqlite3_bind_parameter_count(statement);
      statements[number].kind = is_control(sql) ? CONTROL
                                : sqlite3_stmt_readonly(statement) ? READ
                                                                   : WRITE;
      continue;
    }
    writes += statements[number].kind == WRITE;
    for (int i = 0; i < statements[number].parameters; i++) {
      char kind = *at++;
      if (kind == 'i' || kind == 'd') at += 8;
      if (kind == 't' || kind == 'b') memcpy(&length, at, 4), at += 4 + length;
    }
  }

  // An operation's writes are the same number, but for what comes once in many.
  long commits = 0, in_group = 0, whole = writes * batch / operations;
  int open_ = 0;
  int before = sqlite3_total_changes(database);
  double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
  for (const char *at = record, *end = record + information.st_size; at < end;) {
    char what = *at++;
    memcpy(&number, at, 4), at += 4;
    if (what == 'S') {
      memcpy(&length, at, 4), at += 4 + length;
      continue;
    }
    sqlite3_stmt *statement = statements[number].statement;
    enum kind kind = statements[number].kind;
    if (kind == CONTROL) continue;
    int skipped = !all && kind != WRITE;
    for (int i = 1; i <= statements[number].parameters; i++) {
      char kind = *at++;
      int64_t integer;
      double real;
      int code = SQLITE_OK;
      switch (kind) {
        case 'i':
          memcpy(&integer, at, 8), at += 8;
          if (!skipped) code = sqlite3_bind_int64(statement, i, integer);
          break;
        case 'd':
          memcpy(&real, at, 8), at += 8;
          if (!skipped) code = sqlite3_bind_double(statement, i, real);
          break;
        case 'n':
          if (!skipped) code = sqlite3_bind_null(statement, i);
          break;
        default:
          memcpy(&length, at, 4), at += 4;
          if (!skipped)
            code = kind == 't' ? sqlite3_bind_text(statement, i, at, length, SQLITE_STATIC)
                               : sqlite3_bind_blob(statement, i, at, length, SQLITE_STATIC);
          at += length;
      }
      if (code) fail("bind");
    }
    if (!skipped) {
      if (!open_) {
        if (sqlite3_step(begin) != SQLITE_DONE) fail("begin");
        sqlite3_reset(begin), open_ = 1, in_group = 0;
      }
      int code;
      while ((code = sqlite3_step(statement)) == SQLITE_ROW) {}
      if (code != SQLITE_DONE) fail(sqlite3_sql(statement));
      sqlite3_reset(statement);
    }
    if (kind == WRITE && ++in_group >= whole) {
      if (sqlite3_step(commit) != SQLITE_DONE) fail("commit");
      sqlite3_reset(commit), commits++, open_ = 0;
    }
  }
  if (open_) {
    if (sqlite3_step(commit) != SQLITE_DONE) fail("commit");
    sqlite3_reset(commit), commits++;
  }
  wall = seconds(CLOCK_MONOTONIC) - wall, cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  printf(
      "{\"commits\": %ld, \"rows\": %d, \"seconds\": %.6f, \"cpu_seconds\": %.6f}\n", commits,
      sqlite3_total_changes(database) - before, wall, cpu);
  return 0;
}
