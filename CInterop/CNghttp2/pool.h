#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Memory for nghttp2's small objects (streams, items, header fields): eight for each call, of a handful of sizes. Freed ones wait in lists
// by size, without a lock, because sessions that share a pool belong to one thread. What the lists hold is bounded.

enum {
  spanwire_pool_step = 32,      // sizes are rounded up to this
  spanwire_pool_classes = 32,   // larger blocks than 1 KiB go to malloc and back
  spanwire_pool_kept = 1024,    // freed blocks kept of each size
};

typedef struct spanwire_pool_block {
  // Before every block: its class + 1, or 0 for malloc's.
  size_t class_number;
  // In a list; otherwise the caller's bytes begin here.
  struct spanwire_pool_block *next;
} spanwire_pool_block;

typedef struct spanwire_pool {
  spanwire_pool_block *free[spanwire_pool_classes];
  uint32_t count[spanwire_pool_classes];
} spanwire_pool;

// The caller's bytes stand 16 bytes in, as aligned as malloc's.
static inline void *spanwire_pool_bytes(spanwire_pool_block *block) { return (char *)block + 16; }
static inline spanwire_pool_block *spanwire_pool_block_of(void *bytes) { return (spanwire_pool_block *)((char *)bytes - 16); }

static inline void *spanwire_pool_malloc(size_t size, void *pool_pointer) {
  spanwire_pool *pool = (spanwire_pool *)pool_pointer;
  size_t class_number = size ? (size - 1) / spanwire_pool_step : 0;
  spanwire_pool_block *block;
  if (class_number >= spanwire_pool_classes) {
    if (size > SIZE_MAX - 16) return NULL;
    block = (spanwire_pool_block *)malloc(size + 16);
    if (block) block->class_number = 0;
  } else if ((block = pool->free[class_number])) {
    pool->free[class_number] = block->next;
    pool->count[class_number] -= 1;
  } else {
    block = (spanwire_pool_block *)malloc((class_number + 1) * spanwire_pool_step + 16);
    if (block) block->class_number = class_number + 1;
  }
  return block ? spanwire_pool_bytes(block) : NULL;
}

static inline void spanwire_pool_free(void *bytes, void *pool_pointer) {
  if (!bytes) return;
  spanwire_pool *pool = (spanwire_pool *)pool_pointer;
  spanwire_pool_block *block = spanwire_pool_block_of(bytes);
  size_t class_number = block->class_number - 1;
  if (block->class_number == 0 || pool->count[class_number] >= spanwire_pool_kept) {
    free(block);
    return;
  }
  block->next = pool->free[class_number];
  pool->free[class_number] = block;
  pool->count[class_number] += 1;
}

static inline void *spanwire_pool_calloc(size_t count, size_t size, void *pool) {
  if (size && count > SIZE_MAX / size) return NULL;
  void *bytes = spanwire_pool_malloc(count * size, pool);
  return bytes ? memset(bytes, 0, count * size) : NULL;
}

static inline void *spanwire_pool_realloc(void *bytes, size_t size, void *pool) {
  if (!bytes) return spanwire_pool_malloc(size, pool);
  spanwire_pool_block *block = spanwire_pool_block_of(bytes);
  if (block->class_number == 0) {
    if (size > SIZE_MAX - 16) return NULL;
    block = (spanwire_pool_block *)realloc(block, size + 16);
    return block ? spanwire_pool_bytes(block) : NULL;
  }
  size_t room = block->class_number * spanwire_pool_step;
  if (size <= room) return bytes;
  void *larger = spanwire_pool_malloc(size, pool);
  if (!larger) return NULL;
  memcpy(larger, bytes, room);
  spanwire_pool_free(bytes, pool);
  return larger;
}

static inline spanwire_pool *spanwire_pool_new(void) { return (spanwire_pool *)calloc(1, sizeof(spanwire_pool)); }

static inline void spanwire_pool_delete(spanwire_pool *pool) {
  for (int index = 0; index < spanwire_pool_classes; index++) {
    while (pool->free[index]) {
      spanwire_pool_block *block = pool->free[index];
      pool->free[index] = block->next;
      free(block);
    }
  }
  free(pool);
}
