"""Stubs of the test service, and messages that both sides make."""

import os
import sys

import grpc

# Some stubs belong to the package grpc.testing, inside a package that grpcio already has.
grpc.__path__.append(os.path.join(os.environ["INTEROP_STUBS"], "grpc"))
sys.path.append(os.environ["INTEROP_STUBS"])

from grpc.testing import empty_pb2, messages_pb2, test_pb2_grpc  # noqa: E402
from xds.data.orca.v3.orca_load_report_pb2 import OrcaLoadReport  # noqa: E402
from xds.service.orca.v3 import orca_pb2, orca_pb2_grpc  # noqa: E402

ECHO_INITIAL = "x-grpc-test-echo-initial"
ECHO_TRAILING = "x-grpc-test-echo-trailing-bin"

LOAD_TRAILER = "endpoint-load-metrics-bin"

__all__ = [
    "ECHO_INITIAL", "ECHO_TRAILING", "LOAD_TRAILER", "OrcaLoadReport", "empty_pb2", "flag", "load_report", "messages_pb2", "orca_pb2",
    "orca_pb2_grpc", "test_pb2_grpc", "zeros",
]


def zeros(size):
    return messages_pb2.Payload(body=bytes(size))


def flag(text):
    return text.lower() in ("true", "1", "")


def load_report(asked):
    """The report that a test asks for, as servers send it."""
    return OrcaLoadReport(
        cpu_utilization=asked.cpu_utilization, mem_utilization=asked.memory_utilization, request_cost=asked.request_cost,
        utilization=asked.utilization)
