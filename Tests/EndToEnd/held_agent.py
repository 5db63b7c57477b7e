#!/usr/bin/env python3
"""A worker that takes tasks of the Vienna guide and holds on to them: held_agent.py NAME

Prints the epoch of each task that it takes, and answers only once a line comes on its standard input.
"""
import os
import sys

import spanwire_worker


@spanwire_worker.agent("vienna-journey-guide")
def hold(task):
    print(f"took {task.claim.lease_epoch}", flush=True)
    sys.stdin.readline()
    return spanwire_worker.Answer("late")


spanwire_worker.run(
    os.environ["SPANWIRE_SERVER"], worker_id=sys.argv[1], concurrency=1, token="dev:worker:held:vienna:vienna-journey-guide")
