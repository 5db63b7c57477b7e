"""An obedient echo (see ObedientEcho.swift) on stock grpcio, for our client to talk to.

Usage: echo_server.py [--certificate FILE --key FILE] [--streams N] [--host ADDRESS] [--port N] [--unavailable N]
                      [--grace SECONDS]
Prints `port N` once it listens, then what its handlers notice, a line each; ends when its standard input does, and lets calls end for as
long as it has grace. The first calls of Get, as many as it is told, find it unavailable.
"""

import argparse
import asyncio
import sys

import grpc
import grpc.aio
from google.protobuf import any_pb2, wrappers_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

Text = wrappers_pb2.StringValue


def say(line):
    print(line, flush=True)


def text(value):
    return Text(value=value)


class Echo:
    def __init__(self, unavailable):
        self.loopback = None
        self.unavailable = unavailable

    async def reflect(self, context):
        own = [pair for pair in context.invocation_metadata() if pair[0].startswith("x-")]
        context.set_trailing_metadata(tuple(("t-" + name[2:], value) for name, value in own))
        return tuple(own)

    async def answer(self, value, context):
        words = value.split(" ", 2)
        match words[0]:
            case "fail":
                message = words[2] if len(words) > 2 else ""
                await context.abort(grpc.StatusCode[words[1]], message, (("x-why", "asked"),))
            case "detail":
                detail = any_pb2.Any()
                detail.Pack(error_details_pb2.ErrorInfo(reason="ASKED", domain="spanwire.test", metadata={"a": "b"}))
                code = grpc.StatusCode[words[1]]
                status = status_pb2.Status(code=code.value[0], message="with details", details=[detail])
                await context.abort_with_status(rpc_status.to_status(status))
            case "crash":
                await context.abort(grpc.StatusCode.UNKNOWN, "the handler failed")
            case "wait":
                await self.wait("wait")
            case "remaining":
                left = context.time_remaining()
                return "none" if left is None or left > 1e8 else str(int(left))
            case "trace":
                for name, value in context.invocation_metadata():
                    if name == "traceparent":
                        return value.split("-")[1] + " true"
                return "none"
            case "nested":
                return await self.nested(" ".join(words[1:]), context)
            case "size":
                return "x" * int(words[1])
        return value

    async def nested(self, value, context):
        left = context.time_remaining()
        timeout = None if left is None or left > 1e8 else left
        metadata = tuple(pair for pair in context.invocation_metadata() if pair[0] == "traceparent")
        try:
            return (await self.loopback(text(value), timeout=timeout, metadata=metadata)).value
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details())

    async def wait(self, who):
        say(f"{who}: begun")
        try:
            await asyncio.sleep(3600)
        finally:
            say(f"{who}: cancelled")

    async def get(self, request, context):
        if self.unavailable > 0:
            self.unavailable -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        await context.send_initial_metadata(await self.reflect(context))
        return text(await self.answer(request.value, context))

    async def expand(self, request, context):
        leading = await self.reflect(context)
        words = request.value.split()
        if words[0] == "forever":
            try:
                while True:
                    yield request
            finally:
                say("expand: ended")
        elif words[0] == "headers":
            await context.send_initial_metadata(leading)
            await self.wait("expand")
        else:
            for index in range(int(words[0])):
                yield text(str(index))
            if len(words) > 1:
                await context.abort(grpc.StatusCode[words[1]], f"after {words[0]}")

    async def collect(self, requests, context):
        await self.reflect(context)
        texts = []
        async for request in requests:
            if request.value == "stop":
                break
            if request.value.startswith("fail"):
                await self.answer(request.value, context)
            texts.append(request.value)
        return text("+".join(texts))

    async def chat(self, requests, context):
        await context.send_initial_metadata(await self.reflect(context))
        try:
            async for request in requests:
                yield text(await self.answer(request.value, context))
        finally:
            say("chat: ended")


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--certificate")
    arguments.add_argument("--key")
    arguments.add_argument("--streams", type=int, default=100)
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--unavailable", type=int, default=0)
    arguments.add_argument("--grace", type=float)
    options = arguments.parse_args()

    echo = Echo(options.unavailable)
    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", options.streams)])
    coding = dict(request_deserializer=Text.FromString, response_serializer=Text.SerializeToString)
    handlers = {
        "Get": grpc.unary_unary_rpc_method_handler(echo.get, **coding),
        "Expand": grpc.unary_stream_rpc_method_handler(echo.expand, **coding),
        "Collect": grpc.stream_unary_rpc_method_handler(echo.collect, **coding),
        "Chat": grpc.stream_stream_rpc_method_handler(echo.chat, **coding),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("spanwire.test.Echo", handlers),))
    if options.certificate:
        with open(options.certificate, "rb") as certificate, open(options.key, "rb") as key:
            pair = (key.read(), certificate.read())
        credentials = grpc.ssl_server_credentials([pair])
        port = server.add_secure_port(f"{options.host}:{options.port}", credentials)
        channel = grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(pair[1]))
    else:
        port = server.add_insecure_port(f"{options.host}:{options.port}")
        channel = grpc.aio.insecure_channel(f"{options.host}:{port}")
    echo.loopback = channel.unary_unary(
        "/spanwire.test.Echo/Get", request_serializer=Text.SerializeToString, response_deserializer=Text.FromString)
    await server.start()
    say(f"port {port}")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(options.grace)


asyncio.run(main())
