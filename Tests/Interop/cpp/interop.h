// What the client and the server of the interop cases share, on gRPC C++.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>

#include "grpc/testing/test.grpc.pb.h"
#include "xds/service/orca/v3/orca.grpc.pb.h"

using Flags = std::map<std::string, std::string>;

inline std::string read_file(const std::string &path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline constexpr char kEchoInitial[] = "x-grpc-test-echo-initial";
inline constexpr char kEchoTrailing[] = "x-grpc-test-echo-trailing-bin";
inline constexpr char kLoadTrailer[] = "endpoint-load-metrics-bin";

// The report that a test asks for, as servers send it.
inline xds::data::orca::v3::OrcaLoadReport load_report(const grpc::testing::TestOrcaReport &asked) {
  xds::data::orca::v3::OrcaLoadReport report;
  report.set_cpu_utilization(asked.cpu_utilization());
  report.set_mem_utilization(asked.memory_utilization());
  report.mutable_request_cost()->insert(asked.request_cost().begin(), asked.request_cost().end());
  report.mutable_utilization()->insert(asked.utilization().begin(), asked.utilization().end());
  return report;
}

// Exported by the library for its own tests, though no header tells of it: flags of the message received last.
// One of them says that it came compressed.
uint32_t grpc_call_test_only_get_message_flags(grpc_call *call);
inline constexpr uint32_t kCompressedFlag = 0x40000000u;

// The friends that the library names for looking into its contexts.
namespace grpc::testing {
class InteropServerContextInspector {
 public:
  static bool WasCompressed(const ::grpc::ServerContext &context) {
    return (grpc_call_test_only_get_message_flags(context.call_.call) & kCompressedFlag) != 0;
  }
};
class InteropClientContextInspector {
 public:
  static bool WasCompressed(const ::grpc::ClientContext &context) {
    return (grpc_call_test_only_get_message_flags(context.call_) & kCompressedFlag) != 0;
  }
};
}  // namespace grpc::testing

int serve(const Flags &flags);
int run_case(const Flags &flags);
