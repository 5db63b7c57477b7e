// The codec of protobuf-c.
//   protobuf-c FOLDER SHAPE PATH COUNT: does it COUNT times, prints the processor nanoseconds that took
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.pb-c.h"

static volatile unsigned long sink;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int argc, char **arguments) {
  const char *shape = arguments[2];
  const ProtobufCMessageDescriptor *type = &bench__v1__envelope__descriptor;
  if (!strcmp(shape, "request")) type = &bench__v1__get_request__descriptor;
  if (!strcmp(shape, "batch")) type = &bench__v1__batch__descriptor;
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.bin", arguments[1], shape);
  FILE *file = fopen(path, "rb");
  if (!file || argc != 5) return 2;
  static unsigned char bytes[1 << 20], buffer[1 << 20];
  size_t size = fread(bytes, 1, sizeof bytes, file);
  int decodes = !strcmp(arguments[3], "decode");
  long count = atol(arguments[4]), warm = count / 10 + 1;
  ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, size, bytes);
  if (!message) return 1;
  double start = 0;
  for (long i = -warm; i < count; i++) {
    if (i == 0) start = now();
    if (decodes) {
      ProtobufCMessage *decoded = protobuf_c_message_unpack(type, NULL, size, bytes);
      sink += (unsigned long)decoded;
      protobuf_c_message_free_unpacked(decoded, NULL);
    } else {
      // The size first: that is how one knows whether the buffer is large enough.
      if (protobuf_c_message_get_packed_size(message) > sizeof buffer) return 1;
      sink += protobuf_c_message_pack(message, buffer);
    }
  }
  printf("%.0f\n", now() - start);
}
