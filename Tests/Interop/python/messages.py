"""Stubs of the test service, and messages that both sides make."""

import os

import grpc

# The stubs belong to the package grpc.testing, inside a package that grpcio already has.
grpc.__path__.append(os.path.join(os.environ["INTEROP_STUBS"], "grpc"))

from grpc.testing import empty_pb2, messages_pb2, test_pb2_grpc  # noqa: E402

ECHO_INITIAL = "x-grpc-test-echo-initial"
ECHO_TRAILING = "x-grpc-test-echo-trailing-bin"

__all__ = ["ECHO_INITIAL", "ECHO_TRAILING", "empty_pb2", "flag", "messages_pb2", "test_pb2_grpc", "zeros"]


def zeros(size):
    return messages_pb2.Payload(body=bytes(size))


def flag(text):
    return text.lower() in ("true", "1", "")
