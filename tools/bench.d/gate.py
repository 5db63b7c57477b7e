"""Counts instructions and allocations of the codec's operations and of calls, and compares them with the thresholds in the tree.

  gate.py [--update] THRESHOLDS SHAPES CODEC ECHO

Fails if one is above. --update writes new thresholds instead: what was counted, and a little more.
"""

import argparse
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from count import count, per_operation
from serving import await_serving, free_port

# Shape, path, fewer and more operations.
CODEC = [
    ("request", "value", 300, 1_300), ("request", "view", 300, 1_300), ("request", "encode", 300, 1_300), ("request", "relay", 300, 1_300),
    ("envelope", "cstruct", 200, 700), ("envelope", "value", 200, 700), ("envelope", "encode", 200, 700),
    ("batch", "value", 10, 30), ("batch", "encode", 10, 30), ("batch", "relay", 10, 30),
]
# Connections, streams on each, fewer and more calls.
UNARY = [(1, 1, 300, 1_300), (4, 32, 1_024, 5_120)]
MESSAGES = (2_000, 22_000)
# A new compiler or C library moves instructions a little; what is not there does not move.
INSTRUCTIONS_MORE = 1.08
ALLOCATIONS_MORE = 0.25


def frame(message):
    return b"\0" + struct.pack(">I", len(message)) + message


def number(field, value):
    out = bytes([field << 3])
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def serve(echo, path, message, connections, streams, calls):
    """What the server does while it answers that many calls."""
    port = free_port()

    def load(process):
        if not await_serving(port, process):
            sys.exit("spanwire-echo does not serve under callgrind")
        with tempfile.NamedTemporaryFile() as body:
            body.write(frame(message))
            body.flush()
            command = ["h2load", "-t", "1", "-c", str(connections), "-m", str(streams), "-n", str(calls), "-w", "22", "-W", "24"]
            command += ["-d", body.name, "-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "grpc-timeout: 100S"]
            command += ["-H", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]
            out = subprocess.run(command + [f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, timeout=300).stdout
        if f"{calls} succeeded" not in out:
            sys.exit(f"not all calls were answered:\n{out}")
        process.send_signal(signal.SIGTERM)

    return count([echo, str(port)], load)


def measures(shapes, codec, echo):
    """Names, and how to count what stands behind them."""
    for shape, path, few, many in CODEC:
        command = lambda operations, shape=shape, path=path: [codec, shapes, shape, path, str(operations)]
        yield f"codec: {shape} {path}", lambda command=command, few=few, many=many: per_operation(command, few, many, warm=1.1)
    for connections, streams, few, many in UNARY:
        calls = lambda n, c=connections, s=streams: serve(echo, "/echo.Echo/Get", b"\x0a\x28" + b"x" * 40, c, s, n)
        yield (
            f"unary call, {connections} x {streams}",
            lambda calls=calls, few=few, many=many: calls(many).per_operation(calls(few), many - few))
    few, many = MESSAGES
    stream = lambda n: serve(echo, "/echo.Echo/Expand", number(1, n), 1, 1, 1)
    yield "streamed message", lambda: stream(many).per_operation(stream(few), many - few)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("paths", nargs=4)
    options = parser.parse_args()
    thresholds_path, shapes, codec, echo = options.paths
    # Counting does not mind company, as measuring time would.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        running = [(name, pool.submit(measure)) for name, measure in measures(shapes, codec, echo)]
        counted = {name: future.result() for name, future in running}
    if options.update:
        thresholds = {
            name: {
                "instructions": round(counts.instructions * INSTRUCTIONS_MORE),
                "allocations": round(counts.allocations + ALLOCATIONS_MORE, 2),
                "nghttp2 allocations": round(counts.nghttp2 + ALLOCATIONS_MORE, 2),
            }
            for name, counts in counted.items()
        }
        with open(thresholds_path, "w") as file:
            json.dump(thresholds, file, indent=2)
            file.write("\n")
    with open(thresholds_path) as file:
        thresholds = json.load(file)
    failed = []
    print(f"{'of one':28s}{'instructions':>14s}{'allowed':>10s}{'allocations':>14s}{'allowed':>9s}{'of nghttp2':>12s}{'allowed':>9s}")
    for name, counts in counted.items():
        allowed = thresholds.get(name)
        if allowed is None:
            failed.append(f"{name} has no threshold")
            continue
        pairs = [
            (counts.instructions, allowed["instructions"]), (counts.allocations, allowed["allocations"]),
            (counts.nghttp2, allowed["nghttp2 allocations"])]
        print(
            f"{name:28s}{pairs[0][0]:14,.0f}{pairs[0][1]:10,}{pairs[1][0]:14.2f}{pairs[1][1]:9.2f}{pairs[2][0]:12.2f}{pairs[2][1]:9.2f}")
        if any(value > limit for value, limit in pairs):
            failed.append(f"{name} takes more than it may")
    for each in failed:
        print(f"gate: {each}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
