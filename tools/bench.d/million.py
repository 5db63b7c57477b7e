"""What a platform with a long past answers, and how long that takes.

  million.py [--sessions N] [--events N] [--data DIR] [--rounds N] [--quick] [--verify] [--json FILE] SPANWIRE LOAD

Lives the past first: sessions opened, passes bought, journeys begun, all through the services (with --data it is kept there, and a folder
that has it already is taken as it is). Then starts the server anew and asks, each question at places all over the log: a list of sessions,
of events, of one session; a watch from a cursor in the middle up to its hundredth event; the events of one trace. Prints the data folder's
size, how long the start took and what the server holds in memory.

Exits with 1 when the 99th percentile of an answer is above 50 ms.
"""

import argparse
import json
import subprocess
import sys
import time

from platform_server import Platform, folder_mib
from processes import processor_seconds, resident_mib

LIMIT_MS = 50


def told(command):
    """Runs the load, passes on what it says, and returns the JSON of its last line."""
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    figures = None
    for line in client.stdout:
        if line.startswith("{"):
            figures = json.loads(line)
        else:
            print(line, end="", file=sys.stderr)
    if client.wait() != 0:
        sys.exit("bench: the load failed")
    return figures


def main():
    parser = argparse.ArgumentParser(prog="tools/bench million", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=100, help="of each question")
    parser.add_argument("--data", help="keep the past there")
    parser.add_argument("--quick", action="store_true", help="a hundredth of everything: shows that it works, not how well")
    parser.add_argument("--verify", action="store_true", help="have the server prove, at the end, that its rows are what the log says")
    parser.add_argument("--json", help="writes the figures there as well")
    parser.add_argument("programs", nargs=2, metavar="PROGRAM", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.sessions, options.events, options.rounds = options.sessions // 100, options.events // 100, options.rounds // 5
    spanwire, load = options.programs
    platform = Platform(spanwire, data=options.data)
    figures = {}
    with platform as server:
        server.apply()
        figures["fill"] = told([load, "fill", "--server", server.address, "--sessions", str(options.sessions), "--events", str(options.events)])
        figures["fill"]["resident_mib"] = resident_mib(server.pid)
        figures["fill"]["processor_seconds"] = processor_seconds(server.pid)
        platform.temporary, kept = None, platform.temporary  # outlives this run of the server
    begin = time.monotonic()
    with platform as server:
        figures["start_seconds"] = time.monotonic() - begin
        figures["start_mib"] = resident_mib(server.pid)
        figures["folder_mib"] = folder_mib(platform.data)
        figures["ask"] = told([load, "ask", "--server", server.address, "--rounds", str(options.rounds)])
        figures["ask_mib"] = resident_mib(server.pid)
        sound = True
        if options.verify:
            begin = time.monotonic()
            sound = subprocess.run([spanwire, "verify", "--server", server.address, "--token", "dev:ops:OPS-0001:vienna:ops_lead"]).returncode == 0
            figures["verify_seconds"], figures["verify_mib"] = time.monotonic() - begin, resident_mib(server.pid)
        platform.temporary = kept
    fill, ask = figures["fill"], figures["ask"]
    print(f"{fill['sessions']:,} sessions, {fill['events']:,} events in {fill['seconds']:.0f} s ({fill['processor_seconds']:.0f} s of the server's processor)")
    print(f"data folder {figures['folder_mib']:.0f} MiB; memory {fill['resident_mib']:.0f} MiB after that")
    print(f"started again in {figures['start_seconds']:.2f} s; memory {figures['start_mib']:.0f} MiB, {figures['ask_mib']:.0f} MiB after the questions")
    if options.verify:
        print(f"verified in {figures['verify_seconds']:.0f} s; memory {figures['verify_mib']:.0f} MiB")
    slow = []
    for name, took in ask["questions"].items():
        print(f"{name:46s} p50 {took['p50_us'] / 1e3:7.2f} ms  p99 {took['p99_us'] / 1e3:7.2f} ms  worst {took['max_us'] / 1e3:7.2f} ms")
        if took["p99_us"] / 1e3 > LIMIT_MS:
            slow.append(name)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)
    if not sound:
        sys.exit("bench: the rows are not what the log says")
    sys.exit(f"bench: above {LIMIT_MS} ms: {', '.join(slow)}" if slow and not options.quick else 0)


main()
