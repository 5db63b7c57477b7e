// A bare bidirectional echo of gRPC C++ with the messages of an attached worker: `peer serve`, and `peer call --port N --in-flight N --seconds N`,
// which prints what spanwire-agentload dispatch prints.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "peer.grpc.pb.h"

namespace {

using Clock = std::chrono::steady_clock;

/// Answers each result with work, in order, one write at a time.
class Desk : public grpc::ServerBidiReactor<peer::WorkResult, peer::Work> {
 public:
  Desk() { StartRead(&result_); }

  void OnReadDone(bool ok) override {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!ok) {
      ended_ = true;
      if (queue_.empty()) Finish(grpc::Status::OK);
      return;
    }
    peer::Work work;
    *work.mutable_claim() = result_.claim();
    work.set_agent_slug("load-guide");
    work.mutable_context()->set_market_code("AT-VIE");
    auto* task = work.mutable_task();
    task->set_agent_type("journey_guide");
    task->set_intent("suggest_next_stop");
    task->mutable_constraints()->set_timeout_ms(60000);
    task->set_message("Where should I go next?");
    work.set_timeout_ms(60000);
    work.set_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    queue_.push_back(std::move(work));
    if (queue_.size() == 1) StartWrite(&queue_.front());
    StartRead(&result_);
  }

  void OnWriteDone(bool) override {
    std::unique_lock<std::mutex> lock(mutex_);
    queue_.pop_front();
    if (!queue_.empty()) StartWrite(&queue_.front());
    else if (ended_) Finish(grpc::Status::OK);
  }

  void OnDone() override { delete this; }

 private:
  std::mutex mutex_;
  peer::WorkResult result_;
  std::deque<peer::Work> queue_;
  bool ended_ = false;
};

class Service : public peer::Peer::CallbackService {
  grpc::ServerBidiReactor<peer::WorkResult, peer::Work>* Attach(grpc::CallbackServerContext*) override { return new Desk; }
};

/// Keeps so many results under way until its time is over.
class Caller : public grpc::ClientBidiReactor<peer::WorkResult, peer::Work> {
 public:
  Caller(peer::Peer::Stub* stub, int in_flight, Clock::time_point end) : end_(end) {
    stub->async()->Attach(&context_, this);
    StartRead(&work_);
    StartCall();
    std::unique_lock<std::mutex> lock(mutex_);
    for (int i = 0; i < in_flight; i++) Send();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    std::unique_lock<std::mutex> lock(mutex_);
    microseconds.push_back(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun_.front()).count());
    begun_.pop_front();
    if (Clock::now() < end_) Send();
    else if (begun_.empty()) StartWritesDone();
    StartRead(&work_);
  }

  void OnWriteDone(bool) override {
    std::unique_lock<std::mutex> lock(mutex_);
    queue_.pop_front();
    if (!queue_.empty()) StartWrite(&queue_.front());
  }

  void OnDone(const grpc::Status&) override {
    std::unique_lock<std::mutex> lock(mutex_);
    done_ = true;
    ended_.notify_all();
  }

  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    ended_.wait(lock, [this] { return done_; });
  }

  std::vector<long> microseconds;

 private:
  void Send() {
    peer::WorkResult result;
    result.mutable_claim()->set_tenant_id("vienna");
    result.mutable_claim()->set_agent_task_id("ATASK-01JVK3N3G9Q6Y7Z8A9B0C1D2E3");
    result.mutable_claim()->set_lease_epoch(1);
    result.set_text("Have a coffee.");
    begun_.push_back(Clock::now());
    queue_.push_back(std::move(result));
    if (queue_.size() == 1) StartWrite(&queue_.front());
  }

  std::mutex mutex_;
  std::condition_variable ended_;
  grpc::ClientContext context_;
  peer::Work work_;
  std::deque<peer::WorkResult> queue_;
  std::deque<Clock::time_point> begun_;
  Clock::time_point end_;
  bool done_ = false;
};

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && !std::strcmp(arguments[1], "serve")) {
    Service service;
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service);
    auto server = builder.BuildAndStart();
    std::printf("listening on 127.0.0.1:%d\n", port);
    std::fflush(stdout);
    server->Wait();
    return 0;
  }
  std::string port;
  int in_flight = 1;
  double seconds = 5;
  for (int i = 2; i + 1 < count; i += 2) {
    if (!std::strcmp(arguments[i], "--port")) port = arguments[i + 1];
    else if (!std::strcmp(arguments[i], "--in-flight")) in_flight = std::stoi(arguments[i + 1]);
    else if (!std::strcmp(arguments[i], "--seconds")) seconds = std::stod(arguments[i + 1]);
    else return 2;
  }
  auto stub = peer::Peer::NewStub(grpc::CreateChannel("127.0.0.1:" + port, grpc::InsecureChannelCredentials()));
  Caller(stub.get(), in_flight, Clock::now() + std::chrono::milliseconds(500)).Wait();
  std::printf("begin\n");
  std::fflush(stdout);
  auto begin = Clock::now();
  Caller caller(stub.get(), in_flight, begin + std::chrono::microseconds(static_cast<long>(seconds * 1e6)));
  caller.Wait();
  double span = std::chrono::duration<double>(Clock::now() - begin).count();
  std::printf("end\n");
  auto& all = caller.microseconds;
  std::sort(all.begin(), all.end());
  std::printf(
      "{\"in_flight\": %d, \"tasks\": %zu, \"seconds\": %.3f, \"per_second\": %.1f, \"p50_us\": %ld, \"p99_us\": %ld}\n", in_flight,
      all.size(), span, all.size() / span, all[all.size() / 2], all[all.size() * 99 / 100]);
  return 0;
}
