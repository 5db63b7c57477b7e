// The cases of the public description as a client on gRPC C++; a case that fails ends the process with 1.
#include <google/protobuf/util/message_differencer.h>

#include <functional>
#include <thread>
#include <vector>

#include "interop.h"

using namespace grpc::testing;
using grpc::ClientContext;
using grpc::Status;
using grpc::StatusCode;

namespace {

const std::vector<int> kRequests = {27182, 8, 1828, 45904};
const std::vector<int> kResponses = {31415, 9, 2653, 58979};

void expect(bool holds, const std::string &what) {
  if (holds) return;
  std::cerr << what << "\n";
  std::_Exit(1);
}

void expect(const Status &status, StatusCode code, const std::string &message = "") {
  expect(status.error_code() == code, "status " + std::to_string(status.error_code()) + ": " + status.error_message());
  if (!message.empty()) expect(status.error_message() == message, "message " + status.error_message());
}

SimpleRequest large() {
  SimpleRequest request;
  request.set_response_size(314159);
  request.mutable_payload()->set_body(std::string(271828, 0));
  return request;
}

StreamingOutputCallRequest exchange(int request_size, int response_size) {
  StreamingOutputCallRequest request;
  request.add_response_parameters()->set_size(response_size);
  request.mutable_payload()->set_body(std::string(request_size, 0));
  return request;
}

StreamingInputCallRequest input(int size) {
  StreamingInputCallRequest request;
  request.mutable_payload()->set_body(std::string(size, 0));
  return request;
}

class Cases {
 public:
  explicit Cases(const Flags &flags) : flags_(flags), channel_(connect()), stub_(TestService::NewStub(channel_)) {}

  std::map<std::string, std::function<void()>> all() {
    return {
        {"empty_unary", [this] { empty_unary(); }},
        {"large_unary", [this] { large_unary(*stub_); }},
        {"concurrent_large_unary", [this] { concurrent_large_unary(); }},
        {"client_compressed_unary", [this] { client_compressed_unary(); }},
        {"server_compressed_unary", [this] { server_compressed_unary(); }},
        {"client_streaming", [this] { client_streaming(); }},
        {"client_compressed_streaming", [this] { client_compressed_streaming(); }},
        {"server_streaming", [this] { server_streaming(); }},
        {"server_compressed_streaming", [this] { server_compressed_streaming(); }},
        {"ping_pong", [this] { ping_pong(); }},
        {"empty_stream", [this] { empty_stream(); }},
        {"custom_metadata", [this] { custom_metadata(); }},
        {"status_code_and_message", [this] { status_code_and_message(); }},
        {"special_status_message",
         [this] { unary_status("\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001F608\t\n"); }},
        {"unimplemented_method", [this] { unimplemented(*stub_); }},
        {"unimplemented_service", [this] { unimplemented(*UnimplementedService::NewStub(channel_)); }},
        {"cancel_after_begin", [this] { cancel_after_begin(); }},
        {"cancel_after_first_response", [this] { cancel_after_first_response(); }},
        {"timeout_on_sleeping_server", [this] { timeout_on_sleeping_server(); }},
        {"rpc_soak", [this] { soak([this] { return channel_; }); }},
        {"channel_soak", [this] { soak([this] { return connect(); }); }},
        {"orca_oob", [this] { orca_oob(); }},
    };
  }

 private:
  std::shared_ptr<grpc::Channel> connect() {
    auto address = flags_["server_host"] + ":" + flags_["server_port"];
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    if (flags_["use_tls"] != "true") return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
    if (auto name = flags_["server_host_override"]; !name.empty()) arguments.SetSslTargetNameOverride(name);
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = read_file(flags_["ca_file"]);
    return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments);
  }

  void empty_unary() {
    ClientContext context;
    Empty response;
    expect(stub_->EmptyCall(&context, Empty(), &response), StatusCode::OK);
  }

  void large_unary(TestService::Stub &stub) {
    ClientContext context;
    unary(stub, &context, large());
  }

  void unary(TestService::Stub &stub, ClientContext *context, const SimpleRequest &request) {
    SimpleResponse response;
    expect(stub.UnaryCall(context, request, &response), StatusCode::OK);
    expect(response.payload().body() == std::string(314159, 0), "the payload is wrong");
  }

  void concurrent_large_unary() {
    std::vector<std::thread> threads;
    for (int call = 0; call < number("concurrent_calls", 1000); call++) threads.emplace_back([this] { large_unary(*stub_); });
    for (auto &thread : threads) thread.join();
  }

  void client_compressed_unary() {
    auto request = large();
    request.mutable_expect_compressed()->set_value(true);
    ClientContext probe, compressed, plain;
    SimpleResponse response;
    expect(stub_->UnaryCall(&probe, request, &response), StatusCode::INVALID_ARGUMENT);
    compressed.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    unary(*stub_, &compressed, request);
    request.mutable_expect_compressed()->set_value(false);
    unary(*stub_, &plain, request);
  }

  void server_compressed_unary() {
    for (bool value : {true, false}) {
      auto request = large();
      request.mutable_response_compressed()->set_value(value);
      ClientContext context;
      unary(*stub_, &context, request);
      expect(InteropClientContextInspector::WasCompressed(context) == value, "the response came the other way");
    }
  }

  void client_streaming() {
    ClientContext context;
    StreamingInputCallResponse response;
    auto stream = stub_->StreamingInputCall(&context, &response);
    for (int size : kRequests) stream->Write(input(size));
    stream->WritesDone();
    expect(stream->Finish(), StatusCode::OK);
    expect(response.aggregated_payload_size() == 74922, "the sum is wrong");
  }

  void client_compressed_streaming() {
    auto first = input(27182), second = input(45904);
    first.mutable_expect_compressed()->set_value(true);
    second.mutable_expect_compressed()->set_value(false);
    ClientContext probe, context;
    StreamingInputCallResponse response;
    auto stream = stub_->StreamingInputCall(&probe, &response);
    stream->Write(first);
    stream->WritesDone();
    expect(stream->Finish(), StatusCode::INVALID_ARGUMENT);
    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    stream = stub_->StreamingInputCall(&context, &response);
    stream->Write(first);
    stream->Write(second, grpc::WriteOptions().set_no_compression());
    stream->WritesDone();
    expect(stream->Finish(), StatusCode::OK);
    expect(response.aggregated_payload_size() == 73086, "the sum is wrong");
  }

  void server_streaming() {
    StreamingOutputCallRequest request;
    for (int size : kResponses) request.add_response_parameters()->set_size(size);
    ClientContext context;
    auto stream = stub_->StreamingOutputCall(&context, request);
    StreamingOutputCallResponse response;
    for (int size : kResponses) expect(stream->Read(&response) && (int)response.payload().body().size() == size, "a size is wrong");
    expect(!stream->Read(&response), "more responses than four");
    expect(stream->Finish(), StatusCode::OK);
  }

  void server_compressed_streaming() {
    StreamingOutputCallRequest request;
    for (auto [size, value] : {std::pair(31415, true), std::pair(92653, false)}) {
      auto wanted = request.add_response_parameters();
      wanted->set_size(size);
      wanted->mutable_compressed()->set_value(value);
    }
    ClientContext context;
    auto stream = stub_->StreamingOutputCall(&context, request);
    StreamingOutputCallResponse response;
    for (const auto &wanted : request.response_parameters()) {
      expect(stream->Read(&response) && (int)response.payload().body().size() == wanted.size(), "a size is wrong");
      expect(InteropClientContextInspector::WasCompressed(context) == wanted.compressed().value(), "a response came the other way");
    }
    expect(!stream->Read(&response), "more responses than two");
    expect(stream->Finish(), StatusCode::OK);
  }

  void ping_pong() {
    ClientContext context;
    auto stream = stub_->FullDuplexCall(&context);
    StreamingOutputCallResponse response;
    for (size_t index = 0; index < kRequests.size(); index++) {
      stream->Write(exchange(kRequests[index], kResponses[index]));
      expect(stream->Read(&response) && (int)response.payload().body().size() == kResponses[index], "a size is wrong");
    }
    stream->WritesDone();
    expect(!stream->Read(&response), "more responses than four");
    expect(stream->Finish(), StatusCode::OK);
  }

  void empty_stream() {
    ClientContext context;
    auto stream = stub_->FullDuplexCall(&context);
    StreamingOutputCallResponse response;
    stream->WritesDone();
    expect(!stream->Read(&response), "a response that nobody asked for");
    expect(stream->Finish(), StatusCode::OK);
  }

  void custom_metadata() {
    const std::string text = "test_initial_metadata_value", bytes = "\xab\xab\xab";
    auto add = [&](ClientContext *context) {
      context->AddMetadata(kEchoInitial, text);
      context->AddMetadata(kEchoTrailing, bytes);
    };
    auto check = [&](const ClientContext &context) {
      auto initial = context.GetServerInitialMetadata().find(kEchoInitial);
      expect(initial != context.GetServerInitialMetadata().end() && initial->second == text, "leading metadata is wrong");
      auto trailing = context.GetServerTrailingMetadata().find(kEchoTrailing);
      expect(trailing != context.GetServerTrailingMetadata().end() && trailing->second == bytes, "trailing metadata is wrong");
    };
    ClientContext unary_context, context;
    add(&unary_context);
    unary(*stub_, &unary_context, large());
    check(unary_context);
    add(&context);
    auto stream = stub_->FullDuplexCall(&context);
    stream->Write(exchange(271828, 314159));
    stream->WritesDone();
    StreamingOutputCallResponse response;
    expect(stream->Read(&response) && response.payload().body().size() == 314159, "a size is wrong");
    expect(!stream->Read(&response), "more responses than one");
    expect(stream->Finish(), StatusCode::OK);
    check(context);
  }

  void unary_status(const std::string &message) {
    SimpleRequest request;
    request.mutable_response_status()->set_code(2);
    request.mutable_response_status()->set_message(message);
    ClientContext context;
    SimpleResponse response;
    expect(stub_->UnaryCall(&context, request, &response), StatusCode::UNKNOWN, message);
  }

  void status_code_and_message() {
    const std::string message = "test status message";
    unary_status(message);
    StreamingOutputCallRequest request;
    request.mutable_response_status()->set_code(2);
    request.mutable_response_status()->set_message(message);
    ClientContext context;
    auto stream = stub_->FullDuplexCall(&context);
    StreamingOutputCallResponse response;
    stream->Write(request);
    stream->WritesDone();
    expect(!stream->Read(&response), "a response instead of a status");
    expect(stream->Finish(), StatusCode::UNKNOWN, message);
  }

  template <typename Stub>
  void unimplemented(Stub &stub) {
    ClientContext context;
    Empty response;
    expect(stub.UnimplementedCall(&context, Empty(), &response), StatusCode::UNIMPLEMENTED);
  }

  void cancel_after_begin() {
    ClientContext context;
    StreamingInputCallResponse response;
    auto stream = stub_->StreamingInputCall(&context, &response);
    context.TryCancel();
    expect(stream->Finish(), StatusCode::CANCELLED);
  }

  void cancel_after_first_response() {
    ClientContext context;
    auto stream = stub_->FullDuplexCall(&context);
    StreamingOutputCallResponse response;
    stream->Write(exchange(kRequests[0], kResponses[0]));
    expect(stream->Read(&response) && (int)response.payload().body().size() == kResponses[0], "a size is wrong");
    context.TryCancel();
    expect(stream->Finish(), StatusCode::CANCELLED);
  }

  void timeout_on_sleeping_server() {
    ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1));
    auto stream = stub_->FullDuplexCall(&context);
    StreamingOutputCallRequest request;
    request.mutable_payload()->set_body(std::string(kRequests[0], 0));
    stream->Write(request);
    expect(stream->Finish(), StatusCode::DEADLINE_EXCEEDED);
  }

  void soak(std::function<std::shared_ptr<grpc::Channel>()> channel) {
    for (int call = 0; call < number("soak_iterations", 10); call++) {
      auto start = std::chrono::steady_clock::now();
      large_unary(*TestService::NewStub(channel()));
      auto latency = std::chrono::steady_clock::now() - start;
      auto limit = std::chrono::milliseconds(number("soak_per_iteration_max_acceptable_latency_ms", 1000));
      expect(latency <= limit, "call " + std::to_string(call) + " was late");
    }
  }

  TestOrcaReport load(double cpu, double memory, double utilization) {
    TestOrcaReport report;
    report.set_cpu_utilization(cpu);
    report.set_memory_utilization(memory);
    (*report.mutable_utilization())["util"] = utilization;
    return report;
  }

  static bool same(const google::protobuf::Message &one, const google::protobuf::Message &other) {
    return google::protobuf::util::MessageDifferencer::Equals(one, other);
  }

  void orca_oob() {
    ClientContext reports_context, context;
    reports_context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    xds::service::orca::v3::OrcaLoadReportRequest wanted;
    wanted.mutable_report_interval()->set_nanos(100000000);
    auto reports = xds::service::orca::v3::OpenRcaService::NewStub(channel_)->StreamCoreMetrics(&reports_context, wanted);
    auto stream = stub_->FullDuplexCall(&context);
    for (const auto &asked : {load(0.8210, 0.5847, 0.30499), load(0.29309, 0.2, 0.2039)}) {
      StreamingOutputCallRequest request;
      request.add_response_parameters()->set_size(1);
      *request.mutable_orca_oob_report() = asked;
      StreamingOutputCallResponse response;
      stream->Write(request);
      expect(stream->Read(&response), "no response");
      xds::data::orca::v3::OrcaLoadReport report;
      do expect(reports->Read(&report), "the report did not come");
      while (!same(report, load_report(asked)));
    }
    stream->WritesDone();
    expect(stream->Finish(), StatusCode::OK);
    reports_context.TryCancel();
    expect(reports->Finish(), StatusCode::CANCELLED);
  }

  int number(const std::string &flag, int fallback) { return flags_[flag].empty() ? fallback : std::stoi(flags_[flag]); }

  Flags flags_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<TestService::Stub> stub_;
};

}  // namespace

int run_case(const Flags &flags) {
  Cases cases(flags);
  auto all = cases.all();
  auto found = all.find(flags.at("test_case"));
  expect(found != all.end(), "there is no such case");
  found->second();
  std::cout << found->first << ": ok\n";
  return 0;
}
