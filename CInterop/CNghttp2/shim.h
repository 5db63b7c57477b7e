#pragma once
#include <nghttp2/nghttp2.h>
#include "pool.h"

// A data provider holds a union, which is written here.
static inline nghttp2_data_provider spanwire_data_provider(void *stream, nghttp2_data_source_read_callback read) {
  nghttp2_data_provider provider;
  provider.source.ptr = stream;
  provider.read_callback = read;
  return provider;
}
static inline void *spanwire_data_source_pointer(const nghttp2_data_source *source) { return source->ptr; }

// Frames are a union of structs that share their head.
static inline const uint8_t *spanwire_ping_bytes(const nghttp2_frame *frame) { return frame->ping.opaque_data; }
static inline int32_t spanwire_goaway_last_stream(const nghttp2_frame *frame) { return frame->goaway.last_stream_id; }
static inline uint32_t spanwire_goaway_code(const nghttp2_frame *frame) { return frame->goaway.error_code; }
static inline nghttp2_headers_category spanwire_headers_category(const nghttp2_frame *frame) { return frame->headers.cat; }
// The nine bytes before a frame's payload.
static inline void spanwire_frame_head(const nghttp2_frame *frame, void *target) {
  uint8_t *head = (uint8_t *)target;
  uint32_t stream = (uint32_t)frame->hd.stream_id;
  head[0] = (uint8_t)(frame->hd.length >> 16), head[1] = (uint8_t)(frame->hd.length >> 8), head[2] = (uint8_t)frame->hd.length;
  head[3] = frame->hd.type, head[4] = frame->hd.flags;
  head[5] = (uint8_t)(stream >> 24), head[6] = (uint8_t)(stream >> 16), head[7] = (uint8_t)(stream >> 8), head[8] = (uint8_t)stream;
}
static inline uint32_t spanwire_reset_code(const nghttp2_frame *frame) { return frame->rst_stream.error_code; }
