import ArgumentParser
import Foundation
import SpanwireRPC
import SpanwireWellKnown

/// Runs a command's body; whatever goes wrong becomes one line on standard error and an exit code that means something.
func reportingFailures(_ body: () async throws -> Void) async throws {
  do {
    try await body()
  } catch let error as RPCError {
    FileHandle.standardError.write(Data("spanwire: \(describe(error))\n".utf8))
    throw ExitCode(exitCode(of: error.code))
  } catch let error as CheckFailed {
    FileHandle.standardError.write(Data("spanwire: \(printable(error.message))\n".utf8))
    throw ExitCode(1)
  } catch let error where error is ExitCode || error is ValidationError || error is CleanExit {
    throw error
  } catch {
    FileHandle.standardError.write(Data("spanwire: \(printable(String(describing: error)))\n".utf8))
    throw ExitCode(70)
  }
}

/// Something the command was asked to check does not hold.
struct CheckFailed: Error {
  let message: String
}

/// The codes of sysexits.h, where they say what a gRPC status says.
func exitCode(of code: RPCError.Code) -> Int32 {
  switch code {
  case .invalidArgument, .outOfRange: 65
  case .notFound, .unimplemented: 66
  case .unavailable: 69
  case .deadlineExceeded, .resourceExhausted, .aborted, .cancelled: 75
  case .failedPrecondition, .alreadyExists: 76
  case .permissionDenied, .unauthenticated: 77
  default: 70
  }
}

/// `PERMISSION_DENIED: … (rule R3-cross-tenant)`, with every field violation.
func describe(_ error: RPCError) -> String {
  var text = "\(error.code.name): \(printable(error.message))"
  for detail in error.details {
    if let info = try? detail.unpack(as: Google_Rpc_ErrorInfo.self) {
      let rule = info.metadata["rule"].map { ", rule \($0)" } ?? ""
      text += " (\(printable(info.reason + rule)))"
    } else if let bad = try? detail.unpack(as: Google_Rpc_BadRequest.self) {
      for violation in bad.fieldViolations { text += "\n  \(printable(violation.field)): \(printable(violation.description))" }
    }
  }
  return text
}
