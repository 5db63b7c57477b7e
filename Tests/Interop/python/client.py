"""The cases of the public description as a client on stock grpcio; a case that fails raises."""

import argparse
import queue
import time

import grpc

from messages import (
    ECHO_INITIAL, ECHO_TRAILING, empty_pb2, flag, load_report, messages_pb2, orca_pb2, orca_pb2_grpc, test_pb2_grpc, zeros)

TRUE = messages_pb2.BoolValue(value=True)
FALSE = messages_pb2.BoolValue(value=False)
REQUESTS = [27182, 8, 1828, 45904]
RESPONSES = [31415, 9, 2653, 58979]


def expect(value, wanted):
    assert value == wanted, f"{value!r} instead of {wanted!r}"


def expect_error(code, message, operation):
    try:
        operation()
    except grpc.RpcError as error:
        expect(error.code(), code)
        if message is not None:
            expect(error.details(), message)
    else:
        raise AssertionError(f"OK instead of {code}")


def output(size, request_size=0, **fields):
    return messages_pb2.StreamingOutputCallRequest(
        response_parameters=[messages_pb2.ResponseParameters(size=size)], payload=zeros(request_size), **fields)


def load(cpu, memory, utilization):
    return messages_pb2.TestOrcaReport(cpu_utilization=cpu, memory_utilization=memory, utilization={"util": utilization})


class Requests:
    """Requests of a stream, one at a time."""

    def __init__(self):
        self.queue = queue.Queue()

    def __iter__(self):
        return iter(self.queue.get, None)

    def send(self, request):
        self.queue.put(request)

    def finish(self):
        self.queue.put(None)


class Cases:
    def __init__(self, connect, options):
        self.connect = connect
        self.options = options
        self.channel = connect()
        self.stub = test_pb2_grpc.TestServiceStub(self.channel)

    def large(self, **fields):
        return messages_pb2.SimpleRequest(response_size=314159, payload=zeros(271828), **fields)

    def check_large(self, response):
        expect(response.payload.body, bytes(314159))

    def empty_unary(self):
        expect(self.stub.EmptyCall(empty_pb2.Empty()), empty_pb2.Empty())

    def large_unary(self):
        self.check_large(self.stub.UnaryCall(self.large()))

    def concurrent_large_unary(self):
        for call in [self.stub.UnaryCall.future(self.large()) for _ in range(self.options.concurrent_calls)]:
            self.check_large(call.result())

    def client_compressed_unary(self):
        compressed = self.large(expect_compressed=TRUE)
        expect_error(grpc.StatusCode.INVALID_ARGUMENT, None, lambda: self.stub.UnaryCall(compressed))
        self.check_large(self.stub.UnaryCall(compressed, compression=grpc.Compression.Gzip))
        self.check_large(self.stub.UnaryCall(self.large(expect_compressed=FALSE)))

    def server_compressed_unary(self):
        for value in (TRUE, FALSE):
            self.check_large(self.stub.UnaryCall(self.large(response_compressed=value)))

    def client_streaming(self):
        requests = (messages_pb2.StreamingInputCallRequest(payload=zeros(size)) for size in REQUESTS)
        expect(self.stub.StreamingInputCall(requests).aggregated_payload_size, 74922)

    def server_streaming(self):
        wanted = [messages_pb2.ResponseParameters(size=size) for size in RESPONSES]
        responses = self.stub.StreamingOutputCall(messages_pb2.StreamingOutputCallRequest(response_parameters=wanted))
        expect([len(each.payload.body) for each in responses], RESPONSES)

    def server_compressed_streaming(self):
        wanted = [
            messages_pb2.ResponseParameters(size=31415, compressed=TRUE),
            messages_pb2.ResponseParameters(size=92653, compressed=FALSE),
        ]
        responses = self.stub.StreamingOutputCall(messages_pb2.StreamingOutputCallRequest(response_parameters=wanted))
        expect([len(each.payload.body) for each in responses], [31415, 92653])

    def ping_pong(self):
        requests = Requests()
        responses = self.stub.FullDuplexCall(iter(requests))
        for request, response in zip(REQUESTS, RESPONSES):
            requests.send(output(response, request))
            expect(len(next(responses).payload.body), response)
        requests.finish()
        expect(list(responses), [])

    def empty_stream(self):
        expect(list(self.stub.FullDuplexCall(iter([]))), [])

    def custom_metadata(self):
        metadata = ((ECHO_INITIAL, "test_initial_metadata_value"), (ECHO_TRAILING, b"\xab\xab\xab"))

        def check(call):
            expect(dict(call.initial_metadata())[ECHO_INITIAL], metadata[0][1])
            expect(dict(call.trailing_metadata())[ECHO_TRAILING], metadata[1][1])

        response, call = self.stub.UnaryCall.with_call(self.large(), metadata=metadata)
        self.check_large(response)
        check(call)
        call = self.stub.FullDuplexCall(iter([output(314159, 271828)]), metadata=metadata)
        expect([len(each.payload.body) for each in call], [314159])
        check(call)

    def status_code_and_message(self):
        status = messages_pb2.EchoStatus(code=2, message="test status message")
        self.expect_unknown(status)
        requests = [messages_pb2.StreamingOutputCallRequest(response_status=status)]
        expect_error(grpc.StatusCode.UNKNOWN, status.message, lambda: list(self.stub.FullDuplexCall(iter(requests))))

    def special_status_message(self):
        message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
        self.expect_unknown(messages_pb2.EchoStatus(code=2, message=message))

    def expect_unknown(self, status):
        request = messages_pb2.SimpleRequest(response_status=status)
        expect_error(grpc.StatusCode.UNKNOWN, status.message, lambda: self.stub.UnaryCall(request))

    def unimplemented_method(self):
        expect_error(grpc.StatusCode.UNIMPLEMENTED, None, lambda: self.stub.UnimplementedCall(empty_pb2.Empty()))

    def unimplemented_service(self):
        stub = test_pb2_grpc.UnimplementedServiceStub(self.channel)
        expect_error(grpc.StatusCode.UNIMPLEMENTED, None, lambda: stub.UnimplementedCall(empty_pb2.Empty()))

    def cancel_after_begin(self):
        call = self.stub.StreamingInputCall.future(iter(Requests()))
        call.cancel()
        expect(call.code(), grpc.StatusCode.CANCELLED)

    def cancel_after_first_response(self):
        requests = Requests()
        responses = self.stub.FullDuplexCall(iter(requests))
        requests.send(output(RESPONSES[0], REQUESTS[0]))
        expect(len(next(responses).payload.body), RESPONSES[0])
        responses.cancel()
        expect_error(grpc.StatusCode.CANCELLED, None, lambda: next(responses))
        requests.finish()

    def timeout_on_sleeping_server(self):
        requests = Requests()
        requests.send(messages_pb2.StreamingOutputCallRequest(payload=zeros(REQUESTS[0])))
        responses = self.stub.FullDuplexCall(iter(requests), timeout=0.001)
        expect_error(grpc.StatusCode.DEADLINE_EXCEEDED, None, lambda: list(responses))
        requests.finish()

    def orca_oob(self):
        wanted = orca_pb2.OrcaLoadReportRequest()
        wanted.report_interval.FromMilliseconds(100)
        reports = orca_pb2_grpc.OpenRcaServiceStub(self.channel).StreamCoreMetrics(wanted, timeout=10)
        requests = Requests()
        responses = self.stub.FullDuplexCall(iter(requests))
        for asked in (load(0.8210, 0.5847, 0.30499), load(0.29309, 0.2, 0.2039)):
            requests.send(output(1, orca_oob_report=asked))
            next(responses)
            while next(reports) != load_report(asked):
                pass
        requests.finish()
        expect(list(responses), [])
        reports.cancel()

    def rpc_soak(self):
        self.soak(lambda: self.channel)

    def channel_soak(self):
        self.soak(self.connect)

    def soak(self, channel):
        for _ in range(self.options.soak_iterations):
            start = time.monotonic()
            self.check_large(test_pb2_grpc.TestServiceStub(channel()).UnaryCall(self.large()))
            elapsed = (time.monotonic() - start) * 1000
            assert elapsed <= self.options.soak_per_iteration_max_acceptable_latency_ms, f"{elapsed} ms"


def main():
    parser = argparse.ArgumentParser()
    for name in ("server_host", "server_port", "server_host_override", "test_case", "ca_file"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--use_tls", type=flag, default=False)
    parser.add_argument("--concurrent_calls", type=int, default=1000)
    parser.add_argument("--soak_iterations", type=int, default=10)
    parser.add_argument("--soak_per_iteration_max_acceptable_latency_ms", type=int, default=1000)
    options = parser.parse_args()
    address = f"{options.server_host}:{options.server_port}"

    def connect():
        # A channel of its own, where grpcio would share the connection of one like it.
        arguments = [("grpc.use_local_subchannel_pool", 1)]
        if not options.use_tls:
            return grpc.insecure_channel(address, arguments)
        if options.server_host_override:
            arguments.append(("grpc.ssl_target_name_override", options.server_host_override))
        with open(options.ca_file, "rb") as roots:
            return grpc.secure_channel(address, grpc.ssl_channel_credentials(roots.read()), arguments)

    getattr(Cases(connect, options), options.test_case)()
    print(f"{options.test_case}: ok")


main()
