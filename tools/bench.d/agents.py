"""What the platform takes to bring an agent's task to an attached worker and its answer back.

  agents.py [--seconds N] [--reps N] [--quick] [--json FILE] SPANWIRE LOAD PEER

A caller gives a task by RunTask and waits for its result; a worker attached by AgentWorker.Attach answers at once. Everybody speaks gRPC.
The server has processor 0, callers and workers processor 1. Each task is three durable
transactions of the server's: received, begun, answered. Beside it gRPC C++ echoes the same two messages on one
bidirectional stream and stores nothing. Processor time is the server's, user and system. Of several repetitions the cheapest counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from platform_server import Platform
from processes import on_processor, processor_seconds

BUNDLE = """
bundle_id: BND-LOAD
agents:
  - {agent_slug: load-guide, agent_type: journey_guide, title: Guide, intents: [suggest_next_stop], capability_tiers: [read], by_workers: true}
"""
TENANTS = ("vienna", "graz")


def prepare(server):
    """Defines the agent that the load's workers do; its circuit stays out of it."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as bundle:
        bundle.write(BUNDLE)
        bundle.flush()
        for tenant in TENANTS:
            environment = dict(os.environ, SPANWIRE_TOKEN=f"dev:ops:OPS-0001:{tenant}:ops_lead")
            for command in (["registry", "apply", bundle.name], ["breakers", "set", "agent:load-guide", "--mode", "disabled"]):
                subprocess.run(
                    [server.spanwire, *command, "--reason", "load", "--server", server.address], check=True, env=environment,
                    stdout=subprocess.DEVNULL)


def measure(command, pid):
    client = subprocess.Popen(on_processor(1) + command, stdout=subprocess.PIPE, text=True)
    before = after = 0
    for line in client.stdout:
        if line.startswith("begin"):
            before = processor_seconds(pid)
        elif line.startswith("end"):
            after = processor_seconds(pid)
        else:
            figures = json.loads(line)
    if client.wait() != 0:
        sys.exit("bench: the load failed")
    figures["cost_us"] = (after - before) * 1e6 / figures["tasks"]
    return figures


def best(rows):
    return min(rows, key=lambda row: row["cost_us"])


def main():
    parser = argparse.ArgumentParser(prog="tools/bench agents", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two seconds, once: shows that it works, not how well")
    parser.add_argument("--json", help="writes the figures there as well")
    parser.add_argument("programs", nargs=3, metavar="PROGRAM", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.reps = 2, 1
    spanwire, load, peer = options.programs
    rows = {}
    with Platform(spanwire, prefix=on_processor(0)) as server:
        prepare(server)
        for in_flight in (1, 256):
            command = [load, "dispatch", "--server", server.address, "--in-flight", str(in_flight), "--seconds", str(options.seconds)]
            rows["spanwire", in_flight] = best([measure(command, server.pid) for _ in range(options.reps)])
    process = subprocess.Popen(on_processor(0) + [peer, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        port = process.stdout.readline().split(":")[1].strip()
        for in_flight in (1, 256):
            command = [peer, "call", "--port", port, "--in-flight", str(in_flight), "--seconds", str(options.seconds)]
            rows["gRPC C++ echo", in_flight] = best([measure(command, process.pid) for _ in range(options.reps)])
    finally:
        process.kill()
        process.wait()
    print(f"{'':24s} {'in flight':>9s} {'tasks/s':>9s} {'CPU µs each':>12s} {'p50 ms':>8s} {'p99 ms':>8s}")
    for (name, in_flight), row in sorted(rows.items(), key=lambda item: item[0][1]):
        print(f"{name:24s} {in_flight:9d} {row['per_second']:9.0f} {row['cost_us']:12.1f} {row['p50_us'] / 1e3:8.2f} {row['p99_us'] / 1e3:8.2f}")
    for in_flight in (1, 256):
        extra = rows["spanwire", in_flight]["cost_us"] - rows["gRPC C++ echo", in_flight]["cost_us"]
        print(f"at {in_flight} in flight a task costs {extra:.0f} µs of processor time more than a bare echo")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({f"{name} {in_flight}": row for (name, in_flight), row in rows.items()}, file, indent=1)


if __name__ == "__main__":
    main()
