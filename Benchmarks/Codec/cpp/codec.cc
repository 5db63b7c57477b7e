// The codec of protobuf C++ with arenas.
//   cpp FOLDER SHAPE PATH COUNT: does it COUNT times, prints the processor nanoseconds that took
#include <google/protobuf/arena.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "bench.pb.h"

namespace {

volatile uint64_t sink;

double Now() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec * 1e9 + time.tv_nsec;
}

template <typename Operation>
void Measure(long count, Operation operation) {
  for (long i = 0; i < count / 10 + 1; i++) operation();
  double start = Now();
  for (long i = 0; i < count; i++) operation();
  std::printf("%.0f\n", Now() - start);
}

template <typename Message>
void Run(const std::string& bytes, const std::string& path, long count) {
  if (path == "decode") {
    // As a server would: one arena a call, its first block kept.
    std::vector<char> block(256 << 10);
    google::protobuf::ArenaOptions options;
    options.initial_block = block.data();
    options.initial_block_size = block.size();
    google::protobuf::Arena arena(options);
    Measure(count, [&] {
      auto* message = google::protobuf::Arena::CreateMessage<Message>(&arena);
      if (!message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) std::abort();
      sink = sink + reinterpret_cast<uintptr_t>(message);
      arena.Reset();
    });
  } else {
    Message message;
    if (!message.ParseFromString(bytes)) std::abort();
    std::vector<char> buffer(bytes.size() + 64);
    Measure(count, [&] {
      if (!message.SerializeToArray(buffer.data(), static_cast<int>(buffer.size()))) std::abort();
      sink = sink + static_cast<unsigned char>(buffer[5]);
    });
  }
}

}  // namespace

int main(int, char** arguments) {
  std::string shape = arguments[2];
  std::ifstream file(std::string(arguments[1]) + "/" + shape + ".bin", std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  long count = std::atol(arguments[4]);
  if (shape == "envelope") Run<bench::v1::Envelope>(bytes, arguments[3], count);
  if (shape == "request") Run<bench::v1::GetRequest>(bytes, arguments[3], count);
  if (shape == "batch") Run<bench::v1::Batch>(bytes, arguments[3], count);
}
