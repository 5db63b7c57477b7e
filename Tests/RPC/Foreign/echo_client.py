"""Stock grpcio as a client of our server, which serves an obedient echo (see ObedientEcho.swift), health and reflection.

Usage: echo_client.py TARGET [--ca FILE] [CHECK...]
Prints `ok NAME` or `failed NAME: why`, a line a check; ends with status 1 if one failed.
"""

import argparse
import sys
import threading
import time
import traceback

import grpc
from google.protobuf import wrappers_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import proto_reflection_descriptor_database, reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

Text = wrappers_pb2.StringValue
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def text(value):
    return Text(value=value)


class Echo:
    def __init__(self, channel):
        coding = dict(request_serializer=Text.SerializeToString, response_deserializer=Text.FromString)
        self.channel = channel
        self.get = channel.unary_unary("/spanwire.test.Echo/Get", **coding)
        self.expand = channel.unary_stream("/spanwire.test.Echo/Expand", **coding)
        self.collect = channel.stream_unary("/spanwire.test.Echo/Collect", **coding)
        self.chat = channel.stream_stream("/spanwire.test.Echo/Chat", **coding)


def expect(condition, *what):
    if not condition:
        raise AssertionError(" ".join(repr(part) for part in what))


def failure(call):
    try:
        result = call()
        if hasattr(result, "__next__"):
            for _ in result:
                pass
    except grpc.RpcError as error:
        return error
    raise AssertionError("nothing failed")


@check
def unary(echo):
    for value in ["hello", "", "ä☺😈"]:
        expect(echo.get(text(value)).value == value, value)


@check
def sizes(echo):
    for size in [1, 16_383, 16_384, 65_535, 65_536, 3 << 20]:
        expect(len(echo.get(text(f"size {size}")).value) == size, "response", size)
        value = "y" * size
        expect(echo.get(text(value)).value == value, "request", size)


@check
def too_large(echo):
    error = failure(lambda: echo.get(text("y" * (5 << 20))))
    expect(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error)
    expect(echo.get(text("still there")).value == "still there")


@check
def metadata(echo):
    sent = (("x-one", "1"), ("x-one", "2"), ("x-raw-bin", b"\x00\x01\xff"), ("x-empty-bin", b""), ("x-text", "a, b"))
    response, call = echo.get.with_call(text("hello"), metadata=sent)
    def own(pairs, prefix):
        return sorted((name, value) for name, value in pairs if name.startswith(prefix))
    expect(own(call.initial_metadata(), "x-") == sorted(sent), call.initial_metadata())
    expect(own(call.trailing_metadata(), "t-") == sorted(("t-" + name[2:], value) for name, value in sent), call.trailing_metadata())


@check
def statuses(echo):
    for code in grpc.StatusCode:
        if code == grpc.StatusCode.OK:
            continue
        for message in ["why 100% ☺", "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n", ""]:
            error = failure(lambda: echo.get(text(f"fail {code.name} {message}")))
            expect(error.code() == code and error.details() == message, error)
            expect(("x-why", "asked") in error.trailing_metadata(), error)


@check
def details(echo):
    error = failure(lambda: echo.get(text("detail FAILED_PRECONDITION")))
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    expect(status.code == 9 and status.details[0].Unpack(info), status)
    expect(info.reason == "ASKED" and info.domain == "spanwire.test" and dict(info.metadata) == {"a": "b"}, info)


@check
def containment(echo):
    error = failure(lambda: echo.get(text("crash")))
    expect(error.code() == grpc.StatusCode.UNKNOWN and "hunter2" not in error.details(), error)


@check
def unknown_methods(echo):
    for path in ["/spanwire.test.Echo/Nothing", "/spanwire.test.Nobody/Get", "/spanwire.test.echo/Get", "/x", "/"]:
        call = echo.channel.unary_unary(path, request_serializer=Text.SerializeToString, response_deserializer=Text.FromString)
        expect(failure(lambda: call(text(""))).code() == grpc.StatusCode.UNIMPLEMENTED, path)


@check
def undecodable(echo):
    call = echo.channel.unary_unary("/spanwire.test.Echo/Get", request_serializer=bytes, response_deserializer=Text.FromString)
    expect(failure(lambda: call(b"\x0a\xff")).code() == grpc.StatusCode.INTERNAL)


@check
def cardinality(echo):
    call = echo.channel.stream_unary(
        "/spanwire.test.Echo/Get", request_serializer=Text.SerializeToString, response_deserializer=Text.FromString)
    for count in [0, 2]:
        error = failure(lambda: call(iter([text("a")] * count)))
        expect(error.code() == grpc.StatusCode.UNIMPLEMENTED, count, error)


@check
def server_streaming(echo):
    for count in [0, 1, 10, 20_000]:
        expect([response.value for response in echo.expand(text(str(count)))] == [str(index) for index in range(count)], count)
    seen = []
    def read():
        for response in echo.expand(text("3 ABORTED")):
            seen.append(response.value)
    error = failure(read)
    expect(seen == ["0", "1", "2"] and error.code() == grpc.StatusCode.ABORTED and error.details() == "after 3", seen, error)


@check
def client_streaming(echo):
    for count in [0, 1, 2_000]:
        joined = echo.collect(text(str(index)) for index in range(count)).value
        expect(joined == "+".join(str(index) for index in range(count)), count)
    expect(echo.collect(iter([text("a"), text("stop"), text("b")])).value == "a")
    error = failure(lambda: echo.collect(iter([text("fail ABORTED enough")] + [text("more")] * 1_000)))
    expect(error.code() == grpc.StatusCode.ABORTED and error.details() == "enough", error)


@check
def bidirectional(echo):
    turn = threading.Semaphore(1)
    def requests():
        for round in range(100):
            turn.acquire()
            yield text(f"round {round}")
    seen = []
    for response in echo.chat(requests()):
        seen.append(response.value)
        turn.release()
    expect(seen == [f"round {round}" for round in range(100)], seen)


@check
def early_metadata(echo):
    call = echo.expand(text("headers"), metadata=(("x-first", "1"),))
    expect(("x-first", "1") in call.initial_metadata())
    call.cancel()


@check
def deadline(echo):
    expect(echo.get(text("remaining")).value == "none")
    expect(90 <= int(echo.get(text("remaining"), timeout=100).value) <= 100)
    error = failure(lambda: echo.get(text("wait"), timeout=0.2))
    expect(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error)
    error = failure(lambda: echo.expand(text("headers"), timeout=0.2))
    expect(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error)
    error = failure(lambda: echo.get(text("nested wait"), timeout=0.2))
    expect(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error)


@check
def cancellation(echo):
    call = echo.expand(text("forever"))
    for _ in range(100):
        next(call)
    call.cancel()
    expect(failure(lambda: call).code() == grpc.StatusCode.CANCELLED)
    future = echo.get.future(text("wait"))
    time.sleep(0.1)
    future.cancel()
    expect(future.cancelled())


@check
def parallel(echo):
    """A hundred streams at a time on one connection, each with its own messages."""
    failures = []
    def talk(name):
        try:
            seen = [response.value for response in echo.chat(text(f"{name}/{round}") for round in range(20))]
            expect(seen == [f"{name}/{round}" for round in range(20)], seen)
            expect(echo.get(text(name)).value == name)
        except Exception as error:
            failures.append(error)
    threads = [threading.Thread(target=talk, args=(f"stream {index}",)) for index in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not failures, failures[:1])


@check
def slow_reader(echo):
    """The server must wait for a reader that takes its time, and lose nothing."""
    seen = 0
    for response in echo.expand(text("50000")):
        expect(response.value == str(seen))
        if seen % 10_000 == 0:
            time.sleep(0.05)
        seen += 1
    expect(seen == 50_000, seen)


@check
def compressed_requests(echo):
    for algorithm in [grpc.Compression.Gzip, grpc.Compression.Deflate]:
        value = "z" * 10_000
        expect(echo.get(text(value), compression=algorithm).value == value, algorithm)


@check
def trace(echo):
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    expect(echo.get(text("trace"), metadata=(("traceparent", parent),)).value == "4bf92f3577b34da6a3ce929d0e0e4736 true")


@check
def health(echo):
    stub = health_pb2_grpc.HealthStub(echo.channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ["", "spanwire.test.Echo"]:
        expect(stub.Check(health_pb2.HealthCheckRequest(service=service)).status == serving, service)
    error = failure(lambda: stub.Check(health_pb2.HealthCheckRequest(service="nobody")))
    expect(error.code() == grpc.StatusCode.NOT_FOUND, error)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
    expect(next(watch).status == serving)
    watch.cancel()
    unknown = stub.Watch(health_pb2.HealthCheckRequest(service="nobody"))
    expect(next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
    unknown.cancel()
    if hasattr(stub, "List"):
        statuses = stub.List(health_pb2.HealthListRequest()).statuses
        expect(statuses["spanwire.test.Echo"].status == serving, statuses)


@check
def reflection(echo):
    database = proto_reflection_descriptor_database.ProtoReflectionDescriptorDatabase(echo.channel)
    services = list(database.get_services())
    expect("grpc.health.v1.Health" in services and "spanwire.test.Echo" in services, services)
    file = database.FindFileContainingSymbol("grpc.health.v1.Health")
    expect(file.package == "grpc.health.v1" and file.service[0].name == "Health", file.name)
    expect(database.FindFileByName(file.name).SerializeToString() == file.SerializeToString())
    stub = reflection_pb2_grpc.ServerReflectionStub(echo.channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="nobody.Nothing"),
        reflection_pb2.ServerReflectionRequest(file_by_filename="nothing.proto"),
    ]
    for response in stub.ServerReflectionInfo(iter(requests)):
        expect(response.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0], response)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("target")
    arguments.add_argument("--ca")
    arguments.add_argument("checks", nargs="*")
    options = arguments.parse_args()
    if options.ca:
        with open(options.ca, "rb") as file:
            channel = grpc.secure_channel(options.target, grpc.ssl_channel_credentials(file.read()))
    else:
        channel = grpc.insecure_channel(options.target)
    echo = Echo(channel)
    failed = False
    for function in CHECKS:
        if options.checks and function.__name__ not in options.checks:
            continue
        try:
            function(echo)
            print(f"ok {function.__name__}", flush=True)
        except Exception as error:
            failed = True
            where = traceback.extract_tb(error.__traceback__)[-2 if len(traceback.extract_tb(error.__traceback__)) > 2 else -1]
            print(f"failed {function.__name__}: line {where.lineno}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
    channel.close()
    sys.exit(1 if failed else 0)


main()
