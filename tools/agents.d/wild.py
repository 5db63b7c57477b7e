"""A worker that misbehaves by chance: wild.py SERVER NAME SEED

Of a hundred tasks it fails some, crashes in the middle of one now and then, keeps one without a word, answers twice, answers what was taken
from it, and says now and then that its memory grew beyond all bounds. Prints what it did when it ends by itself.
"""
import os
import queue
import random
import sys
import time

import grpc
import spanwire_worker as library

server, name, seed = sys.argv[1:]
chance = random.Random(int(seed))
wire = library.wire
# What was taken from it, or answered, and may be answered late: a few of them.
old = []


def attach(stub):
    """Works until the stream ends; whether it is to come back."""
    says = queue.Queue()

    def say(**kind):
        says.put(wire.AttachRequest(**kind))

    def answer(claim, text):
        say(result=wire.WorkResult(claim=claim, text=text))

    say(registration=wire.WorkerRegistration(
        worker_id=name, agent_slugs=["vienna-journey-guide"], concurrency=16, max_claim_ms=3_000))
    beaten = 0
    for said in stub.Attach(iter(says.get, None)):
        if time.monotonic() - beaten > 0.5:
            beaten = time.monotonic()
            say(heartbeat=wire.WorkerHeartbeat(resident_bytes=(3 << 30) if chance.random() < 0.02 else 50 << 20))
        kind = said.WhichOneof("kind")
        if kind == "drain":
            # It is about to be started anew: what it holds it forgets.
            say(draining=wire.WorkerDraining())
            says.put(None)
        if kind != "work":
            continue
        claim, roll = said.work.claim, chance.random()
        if roll < 0.002:
            os._exit(9)
        elif roll < 0.006:
            old.append(claim)  # it hangs, until it is shown out
        elif roll < 0.03:
            say(failure=wire.WorkFailure(claim=claim, reason="CHANCE", message="it went wrong"))
        elif roll < 0.035:
            say(failure=wire.WorkFailure(claim=claim, reason="CHANCE", message="for good", is_final=True))
        else:
            if roll < 0.1:
                say(progress=wire.WorkProgress(claim=claim, progress=library.agents.Progress(stage="thinking", percent=50)))
            answer(claim, "done")
            if roll < 0.12:
                answer(claim, "done twice")
            if roll < 0.14:
                old.append(claim)
        if old and chance.random() < 0.05:
            answer(old.pop(), "too late")
        del old[:-20]


with grpc.insecure_channel(server) as channel:
    stub = library.services.AgentWorkerStub(library._Authorized(channel, f"dev:worker:{name}:platform:vienna-journey-guide"))
    while True:
        try:
            attach(stub)
        except grpc.RpcError as error:
            if error.code() not in (*library.PASSING, grpc.StatusCode.ABORTED):
                raise
        time.sleep(0.05)
