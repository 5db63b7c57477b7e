#!/usr/bin/env python3
"""One client of a race for a budget: budget_race.py --server HOST:PORT --stubs DIR --name N --count C

Asks C times at once for a reservation of one unit, and asks again with the same key whenever it can't know what came of it, until
every question has its answer. Prints the ids of the reservations that it was granted, one a line.
"""
import argparse
import asyncio
import sys

import grpc

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--server", required=True)
parser.add_argument("--stubs", required=True)
parser.add_argument("--name", required=True)
parser.add_argument("--count", type=int, required=True)
options = parser.parse_args()
sys.path.insert(0, options.stubs)

from spanwire.money.v1 import money_pb2  # noqa: E402
from spanwire.policy.v1 import policy_pb2_grpc, runtime_pb2  # noqa: E402

UNSURE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)


async def reserve(stub, number):
    request = runtime_pb2.CheckToolRequest(
        idempotency_key=f"{options.name}-{number}", agent_slug="planner", tool_name="search", action_type="read",
        run_id=f"RUN-{options.name}", estimated_cost=money_pb2.Money(micros=1_000_000, currency="USD"))
    while True:
        try:
            answer = await stub.CheckTool(request, timeout=30, wait_for_ready=True)
            return answer.reservation.reservation_id if answer.allowed else None
        except grpc.aio.AioRpcError as error:
            if error.code() not in UNSURE:
                raise


async def race():
    token = [("authorization", "Bearer dev:ops:OPS-0001:vienna:ops_lead")]

    class Credential(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation, details, request):
            metadata = grpc.aio.Metadata(*(list(details.metadata or ()) + token))
            return await continuation(details._replace(metadata=metadata), request)

    # A server that comes back within a second must be found within a second.
    backoff = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200)]
    async with grpc.aio.insecure_channel(options.server, options=backoff, interceptors=[Credential()]) as channel:
        stub = policy_pb2_grpc.PolicyStub(channel)
        for reservation in await asyncio.gather(*(reserve(stub, number) for number in range(options.count))):
            if reservation:
                print(reservation)


asyncio.run(race())
