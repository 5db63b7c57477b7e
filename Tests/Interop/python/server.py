"""The test service on stock grpcio."""

import argparse
import time
from concurrent import futures

import grpc

from messages import (
    ECHO_INITIAL, ECHO_TRAILING, LOAD_TRAILER, OrcaLoadReport, empty_pb2, flag, load_report, messages_pb2, orca_pb2_grpc, test_pb2_grpc,
    zeros)


def echo_metadata(context):
    for key, value in context.invocation_metadata():
        if key == ECHO_INITIAL:
            context.send_initial_metadata(((key, value),))
        elif key == ECHO_TRAILING:
            context.set_trailing_metadata(((key, value),))


def echo_status(request, context):
    if request.HasField("response_status"):
        code = next(each for each in grpc.StatusCode if each.value[0] == request.response_status.code)
        context.abort(code, request.response_status.message)


class LoadReports(orca_pb2_grpc.OpenRcaServiceServicer):
    report = OrcaLoadReport()

    def StreamCoreMetrics(self, request, context):
        while context.is_active():
            yield self.report
            time.sleep(max(request.report_interval.ToNanoseconds() / 1e9, 0.05))


class Service(test_pb2_grpc.TestServiceServicer):
    def __init__(self, reports):
        self.reports = reports

    def EmptyCall(self, request, context):
        return empty_pb2.Empty()

    def UnaryCall(self, request, context):
        if request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        echo_metadata(context)
        echo_status(request, context)
        if request.HasField("orca_per_query_report"):
            context.set_trailing_metadata(((LOAD_TRAILER, load_report(request.orca_per_query_report).SerializeToString()),))
        return messages_pb2.SimpleResponse(payload=zeros(request.response_size))

    def StreamingOutputCall(self, request, context):
        if any(wanted.compressed.value for wanted in request.response_parameters):
            context.set_compression(grpc.Compression.Gzip)
        yield from self.responses(request, context)

    def StreamingInputCall(self, requests, context):
        return messages_pb2.StreamingInputCallResponse(aggregated_payload_size=sum(len(each.payload.body) for each in requests))

    def FullDuplexCall(self, requests, context):
        echo_metadata(context)
        for request in requests:
            echo_status(request, context)
            if request.HasField("orca_oob_report"):
                self.reports.report = load_report(request.orca_oob_report)
            yield from self.responses(request, context)

    def responses(self, request, context):
        for wanted in request.response_parameters:
            time.sleep(wanted.interval_us / 1e6)
            if not wanted.compressed.value:
                context.disable_next_message_compression()
            yield messages_pb2.StreamingOutputCallResponse(payload=zeros(wanted.size))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True)
    parser.add_argument("--use_tls", type=flag, default=False)
    parser.add_argument("--tls_cert_file")
    parser.add_argument("--tls_key_file")
    options = parser.parse_args()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    reports = LoadReports()
    orca_pb2_grpc.add_OpenRcaServiceServicer_to_server(reports, server)
    test_pb2_grpc.add_TestServiceServicer_to_server(Service(reports), server)
    address = f"127.0.0.1:{options.port}"
    if options.use_tls:
        with open(options.tls_key_file, "rb") as key, open(options.tls_cert_file, "rb") as chain:
            credentials = grpc.ssl_server_credentials([(key.read(), chain.read())])
        server.add_secure_port(address, credentials)
    else:
        server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


main()
