// Unary calls one after the other on so many streams of so many connections, for so long, with the callback API; prints what
// `spanwire-echo client` prints.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "echo.grpc.pb.h"

namespace {

using Clock = std::chrono::steady_clock;

/// Counts the callers that are still at it.
class Crowd {
 public:
  explicit Crowd(int size) : size_(size) {}
  void Leave() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (--size_ == 0) empty_.notify_all();
  }
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    empty_.wait(lock, [this] { return size_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable empty_;
  int size_;
};

/// Calls again whenever it was answered.
class Caller {
 public:
  Caller(echo::Echo::Stub* stub, Clock::time_point end, Crowd* crowd) : stub_(stub), end_(end), crowd_(crowd) {
    request_.set_text("a text of just thirty-two bytes.");
  }

  void Call() {
    begin_ = Clock::now();
    if (begin_ >= end_) return crowd_->Leave();
    context_ = std::make_unique<grpc::ClientContext>();
    context_->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    context_->AddMetadata("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    context_->AddMetadata("x-request-id", "0123456789abcdef");
    context_->AddMetadata("x-tenant", "bench");
    stub_->async()->Get(context_.get(), &request_, &response_, [this](grpc::Status status) {
      if (!status.ok()) failures++;
      microseconds.push_back(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin_).count());
      Call();
    });
  }

  int failures = 0;
  std::vector<long> microseconds;

 private:
  echo::Echo::Stub* stub_;
  Clock::time_point end_;
  Crowd* crowd_;
  Clock::time_point begin_;
  std::unique_ptr<grpc::ClientContext> context_;
  echo::EchoRequest request_;
  echo::EchoResponse response_;
};

double ProcessorSeconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

std::vector<std::unique_ptr<Caller>> Load(const std::vector<std::unique_ptr<echo::Echo::Stub>>& stubs, int streams, double seconds) {
  auto end = Clock::now() + std::chrono::microseconds(static_cast<long>(seconds * 1e6));
  Crowd crowd(static_cast<int>(stubs.size()) * streams);
  std::vector<std::unique_ptr<Caller>> callers;
  for (auto& stub : stubs)
    for (int i = 0; i < streams; i++) callers.push_back(std::make_unique<Caller>(stub.get(), end, &crowd));
  for (auto& caller : callers) caller->Call();
  crowd.Wait();
  return callers;
}

}  // namespace

int LoadClient(int count, char** arguments) {
  std::string port;
  int connections = 1, streams = 100;
  double seconds = 5;
  for (int i = 0; i + 1 < count; i += 2) {
    if (!std::strcmp(arguments[i], "--port")) port = arguments[i + 1];
    else if (!std::strcmp(arguments[i], "--connections")) connections = std::stoi(arguments[i + 1]);
    else if (!std::strcmp(arguments[i], "--streams")) streams = std::stoi(arguments[i + 1]);
    else if (!std::strcmp(arguments[i], "--seconds")) seconds = std::stod(arguments[i + 1]);
    else return 2;
  }
  std::vector<std::unique_ptr<echo::Echo::Stub>> stubs;
  for (int i = 0; i < connections; i++) {
    grpc::ChannelArguments options;
    options.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection a channel
    stubs.push_back(echo::Echo::NewStub(grpc::CreateCustomChannel("127.0.0.1:" + port, grpc::InsecureChannelCredentials(), options)));
  }
  Load(stubs, streams, seconds / 10);
  auto begin = Clock::now();
  double cpu = ProcessorSeconds();
  auto callers = Load(stubs, streams, seconds);
  double spent = ProcessorSeconds() - cpu, span = std::chrono::duration<double>(Clock::now() - begin).count();
  std::vector<long> all;
  int failures = 0;
  for (auto& caller : callers) {
    all.insert(all.end(), caller->microseconds.begin(), caller->microseconds.end());
    failures += caller->failures;
  }
  std::sort(all.begin(), all.end());
  std::printf(
      "{\"requests\": %zu, \"failures\": %d, \"seconds\": %.3f, \"requests_per_second\": %.0f, \"cpu_us_per_request\": %.3f, "
      "\"p50_us\": %ld, \"p99_us\": %ld}\n",
      all.size(), failures, span, all.size() / span, spent * 1e6 / all.size(), all[all.size() / 2], all[all.size() * 99 / 100]);
  return failures ? 1 : 0;
}
