// The test service on gRPC C++.
#include <chrono>
#include <mutex>
#include <thread>

#include "interop.h"

using namespace grpc::testing;
using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;
using xds::data::orca::v3::OrcaLoadReport;

namespace {

void echo_metadata(ServerContext *context) {
  for (const auto &[key, value] : context->client_metadata()) {
    if (key == kEchoInitial) context->AddInitialMetadata(kEchoInitial, {value.data(), value.size()});
    if (key == kEchoTrailing) context->AddTrailingMetadata(kEchoTrailing, {value.data(), value.size()});
  }
}

template <typename Request>
Status check_compression(const ServerContext &context, const Request &request) {
  if (!request.has_expect_compressed() || request.expect_compressed().value() == InteropServerContextInspector::WasCompressed(context)) {
    return Status::OK;
  }
  return Status(StatusCode::INVALID_ARGUMENT, "the request came the other way");
}

template <typename Request>
Status asked_status(const Request &request) {
  return Status(static_cast<StatusCode>(request.response_status().code()), request.response_status().message());
}

// What the server reports as its load, because a client asked it to.
std::mutex board_lock;
OrcaLoadReport board;

class LoadReports final : public xds::service::orca::v3::OpenRcaService::Service {
  Status StreamCoreMetrics(
      ServerContext *context, const xds::service::orca::v3::OrcaLoadReportRequest *request,
      grpc::ServerWriter<OrcaLoadReport> *writer) override {
    auto interval = std::chrono::milliseconds(request->report_interval().seconds() * 1000 + request->report_interval().nanos() / 1000000);
    while (!context->IsCancelled()) {
      OrcaLoadReport report;
      {
        std::lock_guard lock(board_lock);
        report = board;
      }
      if (!writer->Write(report)) break;
      std::this_thread::sleep_for(std::max(interval, std::chrono::milliseconds(50)));
    }
    return Status::OK;
  }
};

class Service final : public TestService::Service {
  Status EmptyCall(ServerContext *, const Empty *, Empty *) override { return Status::OK; }

  Status UnaryCall(ServerContext *context, const SimpleRequest *request, SimpleResponse *response) override {
    echo_metadata(context);
    if (auto status = check_compression(*context, *request); !status.ok()) return status;
    if (request->has_response_status()) return asked_status(*request);
    if (request->response_compressed().value()) context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    if (request->has_orca_per_query_report()) {
      context->AddTrailingMetadata(kLoadTrailer, load_report(request->orca_per_query_report()).SerializeAsString());
    }
    response->mutable_payload()->set_body(std::string(request->response_size(), 0));
    return Status::OK;
  }

  Status StreamingOutputCall(
      ServerContext *context, const StreamingOutputCallRequest *request, grpc::ServerWriter<StreamingOutputCallResponse> *writer) override {
    context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    respond(*request, writer);
    return Status::OK;
  }

  Status StreamingInputCall(
      ServerContext *context, grpc::ServerReader<StreamingInputCallRequest> *reader, StreamingInputCallResponse *response) override {
    StreamingInputCallRequest request;
    int size = 0;
    while (reader->Read(&request)) {
      if (auto status = check_compression(*context, request); !status.ok()) return status;
      size += request.payload().body().size();
    }
    response->set_aggregated_payload_size(size);
    return Status::OK;
  }

  Status FullDuplexCall(
      ServerContext *context, grpc::ServerReaderWriter<StreamingOutputCallResponse, StreamingOutputCallRequest> *stream) override {
    echo_metadata(context);
    StreamingOutputCallRequest request;
    while (stream->Read(&request)) {
      if (request.has_response_status()) return asked_status(request);
      if (request.has_orca_oob_report()) {
        std::lock_guard lock(board_lock);
        board = load_report(request.orca_oob_report());
      }
      respond(request, stream);
    }
    return Status::OK;
  }

  template <typename Writer>
  void respond(const StreamingOutputCallRequest &request, Writer *writer) {
    for (const auto &wanted : request.response_parameters()) {
      std::this_thread::sleep_for(std::chrono::microseconds(wanted.interval_us()));
      StreamingOutputCallResponse response;
      response.mutable_payload()->set_body(std::string(wanted.size(), 0));
      grpc::WriteOptions options;
      if (!wanted.compressed().value()) options.set_no_compression();
      writer->Write(response, options);
    }
  }
};

}  // namespace

int serve(const Flags &flags) {
  auto credentials = grpc::InsecureServerCredentials();
  if (flags.at("use_tls") == "true") {
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back({read_file(flags.at("tls_key_file")), read_file(flags.at("tls_cert_file"))});
    credentials = grpc::SslServerCredentials(options);
  }
  Service service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + flags.at("port"), credentials);
  builder.RegisterService(&service);
  LoadReports reports;
  builder.RegisterService(&reports);
  auto server = builder.BuildAndStart();
  if (!server) return 1;
  server->Wait();
  return 0;
}
