// echo.proto served by gRPC C++, with its callback API, the fastest it has.
//   grpc-cpp PORT [CERTIFICATE KEY]
//   grpc-cpp client --port PORT [--connections N] [--streams N] [--seconds S]     (client.cc)
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <sstream>
#include <string>

#include "echo.grpc.pb.h"

namespace {

class Expansion final : public grpc::ServerWriteReactor<echo::ExpandResponse> {
 public:
  explicit Expansion(uint32_t count) : left_(count) {
    message_.set_data(std::string(98, 'a'));
    Next();
  }
  void OnWriteDone(bool ok) override {
    if (ok) Next(); else Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (left_ == 0) return Finish(grpc::Status::OK);
    left_--;
    StartWrite(&message_);
  }
  uint32_t left_;
  echo::ExpandResponse message_;
};

class Service final : public echo::Echo::CallbackService {
  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const echo::EchoRequest* request,
                                echo::EchoResponse* response) override {
    response->set_text(request->text());
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerWriteReactor<echo::ExpandResponse>* Expand(grpc::CallbackServerContext*, const echo::ExpandRequest* request) override {
    return new Expansion(request->count());
  }
};

}  // namespace

static std::string Read(const char* path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

int LoadClient(int count, char** arguments);

int main(int count, char** arguments) {
  if (count > 2 && std::string(arguments[1]) == "client") return LoadClient(count - 2, arguments + 2);
  if (count != 2 && count != 4) return 2;
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (count == 4) {
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back({Read(arguments[3]), Read(arguments[2])});
    credentials = grpc::SslServerCredentials(options);
  }
  Service service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(std::string("127.0.0.1:") + arguments[1], credentials);
  builder.RegisterService(&service);
  builder.BuildAndStart()->Wait();
}
