"""One writer, many subscribers: what a delivery costs the server, how many it makes a second, and whether one that stalls is noticed.

  fanout.py [--subscribers N] [--writes N] [--reps N] [--quick] [--json FILE] SPANWIRE LOAD GRPC_CPP

Everybody speaks gRPC: a writer flags a session at risk and takes it back, one call after the other, each of which is one commit of a few
events; every subscriber wants all of them. The server has processor 0, its clients processor 1. Processor time is the server's whole,
user and system, from the first write to the last delivery: the writes themselves are in it. Three rounds are run in turns: calm, with a
subscriber that never reads, calm again. gRPC C++ streams as many messages of 100 bytes on as many streams at a time to h2load.

Exits with 1 when a delivery costs more than gRPC C++ takes for a message, or when the stalled subscriber costs the others: more than half
as much again of processor time, or twice the p99.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from measure import Server, frame, varint
from platform_server import Platform
from processes import on_processor, processor_seconds, resident_mib


def fan_out(server, load, options, stalled):
    command = on_processor(1) + [load, "fanout", "--server", server.address, "--subscribers", str(options.subscribers)]
    command += ["--connections", str(max(1, options.subscribers // 100)), "--writes", str(options.writes), "--stalled", str(stalled)]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    before = after = 0
    for line in client.stdout:
        if line.startswith("begin"):
            before = processor_seconds(server.pid)
        elif line.startswith("end"):
            after = processor_seconds(server.pid)
        else:
            figures = json.loads(line)
    if client.wait() != 0:
        sys.exit("bench: the load failed")
    figures["cost_us"] = (after - before) * 1e6 / figures["deliveries"]
    figures["resident_mib"] = resident_mib(server.pid)
    return figures


def peer(program, options):
    """Microseconds of gRPC C++ for a message, on as many streams at a time."""
    with tempfile.TemporaryDirectory() as folder:
        body = os.path.join(folder, "stream")
        with open(body, "wb") as file:
            file.write(frame(b"\x08" + varint(options.messages)))
        with Server("grpc-cpp", program) as server:
            connections = max(1, options.subscribers // 100)
            rows = []
            for _ in range(options.reps):
                row = server.h2load(connections, options.subscribers // connections, options.subscribers, "/echo.Echo/Expand", body)
                rows.append((row["cost"] / options.messages, row["rate"] * options.messages))
            return min(rows)


def main():
    parser = argparse.ArgumentParser(prog="tools/bench fanout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--writes", type=int, default=500)
    parser.add_argument("--messages", type=int, default=500, help="a stream, of gRPC C++")
    parser.add_argument("--reps", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a fifth of the writes, once: shows that it works, not how well")
    parser.add_argument("--json", help="writes the figures there as well")
    parser.add_argument("programs", nargs=3, metavar="PROGRAM", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.reps, options.writes, options.messages = 1, options.writes // 5, options.messages // 5
    spanwire, load, grpc_cpp = options.programs
    rows = []
    with Platform(spanwire, prefix=on_processor(0)) as server:
        server.apply()
        for _ in range(options.reps):
            for stalled in (0, 1, 0):
                rows.append(fan_out(server, load, options, stalled))
    calm = min((row for row in rows if not row["stalled"]), key=lambda row: row["cost_us"])
    stalled = min((row for row in rows if row["stalled"]), key=lambda row: row["cost_us"])
    print(f"{'':34s} {'deliveries/s':>12s} {'CPU µs each':>12s} {'p50 ms':>8s} {'p99 ms':>8s} {'MiB':>6s}")
    for name, row in (("calm", calm), ("with a stalled subscriber", stalled)):
        print(
            f"{options.subscribers} subscribers, {name:16s} {row['deliveries_per_second']:12d} {row['cost_us']:12.3f} "
            f"{row['p50_us'] / 1e3:8.1f} {row['p99_us'] / 1e3:8.1f} {row['resident_mib']:6.0f}")
    failures = []
    theirs = None
    if os.access(grpc_cpp, os.X_OK):
        cost, rate = theirs = peer(grpc_cpp, options)
        print(f"{'gRPC C++, as many streams':34s} {int(rate):12d} {cost:12.3f}")
        print(f"a delivery costs {cost / calm['cost_us']:.1f} x less than a message of gRPC C++")
        if calm["cost_us"] > cost:
            failures.append("a delivery costs more than gRPC C++ takes for a message")
    if stalled["cost_us"] > 1.5 * calm["cost_us"] or stalled["p99_us"] > 2 * calm["p99_us"] + 5_000:
        failures.append("a stalled subscriber costs the others")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rounds": rows, "grpc-cpp": theirs}, file, indent=1)
    sys.exit("bench: " + "; ".join(failures) if failures and not options.quick else 0)


main()
