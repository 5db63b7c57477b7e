"""Kills a server by SIGKILL under full load, starts it again on the same folder, and so on; then compares.

The load makes every call again until it is answered, under the same idempotency key. So at the end what it was told and what the server
holds must be the same to the last session and the last step: nothing that was acknowledged may be missing, nothing may be there twice.
Exits with 1 if something is, if `spanwire verify` finds something, or if a start took too long.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench.d"))
from server import Load, Server  # noqa: E402


def megabytes(folder):
    return sum(entry.stat().st_size for entry in os.scandir(folder)) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["home", "bin"]:
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=200, help="how often it is killed")
    parser.add_argument("--sessions", type=int, default=100_000, help="sessions there are before the first time")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--start-seconds", type=float, default=2, help="how long a start may take")
    parser.add_argument("--seed", type=int, default=None, help="of the moments; printed")
    parser.add_argument("--data", help="a folder on the disk that is meant; default is the checkout's")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    moments = random.Random(seed)
    folder = tempfile.mkdtemp(dir=options.data or f"{options.home}/.build")
    try:
        sys.exit(kill(options, folder, moments, seed))
    finally:
        shutil.rmtree(folder)


def kill(options, folder, moments, seed):
    spanwire, load_program = f"{options.bin}/spanwire", f"{options.bin}/spanwire-storeload"
    server = Server(spanwire, folder)
    try:
        for bundle in ["Samples/vienna-coffee-pass.yaml", "Benchmarks/Store/turns.yaml"]:
            server.command("registry", "apply", f"{options.home}/{bundle}")
        if options.sessions:
            before = Load(load_program, server, "--work", "sessions", "--callers", 256, "--count", options.sessions, "--run", "before")
            before.go()
            before.line()
            before.wait()
        print(f"{options.sessions} sessions, {megabytes(folder):.0f} MB; seed {seed}")
        load = Load(
            load_program, server, "--work", "mixed", "--callers", options.callers, "--run", "kill", "--patience", 3600, "--check")
        load.go()
        starts = []
        for number in range(options.rounds):
            if number and number % 20 == 0:
                print(f"killed {number} times; the latest start took {starts[-1]:.2f} s")
            time.sleep(moments.uniform(0.2, 1.2))
            server.kill()
            server = Server(spanwire, folder, port=server.port)
            starts.append(server.start_seconds)
        starts.sort()
        print(f"start-up: {starts[len(starts) // 2]:.2f} s at the median, {starts[-1]:.2f} s at most; {megabytes(folder):.0f} MB in the end")
        load.stop()
        said, found = json.loads(load.line()), json.loads(load.line())
        load.process.wait(300)
        print(f"killed {options.rounds} times under {options.callers} callers; {said['operations']} operations acknowledged, {said['again']} calls made again")
        print(f"acknowledged: {found['acknowledged_sessions']} sessions, {found['acknowledged_steps']} steps; "
              f"lost {found['lost']}, twice {found['duplicated']}")
        verified = server.command("verify")
        print(verified, end="")
        faults = found["lost"] + found["duplicated"] > 0 or not found["acknowledged_steps"]
        if starts[-1] > options.start_seconds:
            print(f"kill: a start took more than {options.start_seconds} s", file=sys.stderr)
            faults = True
        return 1 if faults else 0
    finally:
        server.kill()


sys.stdout.reconfigure(line_buffering=True)
main()
