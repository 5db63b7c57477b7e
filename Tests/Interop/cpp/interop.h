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

using Flags = std::map<std::string, std::string>;

inline std::string read_file(const std::string &path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline constexpr char kEchoInitial[] = "x-grpc-test-echo-initial";
inline constexpr char kEchoTrailing[] = "x-grpc-test-echo-trailing-bin";

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
