"""Asks twenty times what the workers can do, for a minute, and says what came of it.

Workers with ten places take a fifth of a second for each task. What they can do is measured first; then how long a modest tenant waits that
asks for a tenth of it alone; then a greedy tenant asks beside it, so that both together ask for twenty times as much as there is. Whatever is
asked is asked at its time, whatever became of what was asked before.

Holds, or it exits with 1: what is done stays above nine tenths of what can be done; of the modest tenant's tasks the slowest hundredth takes
at most twice as long as in calm, and none is refused; every refusal says when to try again.
"""

import argparse
import json
import subprocess
import sys

from agents import prepare
from platform_server import Platform


def main():
    parser = argparse.ArgumentParser(prog="tools/overload", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="twenty seconds")
    parser.add_argument("programs", nargs=2, metavar="PROGRAM", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.seconds = 20
    spanwire, load = options.programs
    with Platform(spanwire) as server:
        prepare(server)
        command = [load, "overload", "--server", server.address, "--seconds", str(options.seconds), "--times", str(options.times)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=options.seconds * 2 + 120)
        if run.returncode != 0:
            sys.exit("overload: the load failed")
        found = json.loads(run.stdout)
        environment = {"SPANWIRE_TOKEN": "dev:ops:OPS-0001:vienna:ops_lead", "PATH": "/usr/bin:/bin"}
        verify = subprocess.run([spanwire, "verify", "--server", server.address], stdout=subprocess.PIPE, text=True, env=environment)
    print(f"capacity {found['capacity']:.1f} tasks a second; asked for {found['asked'] / found['seconds']:.0f} a second, {found['seconds']:.0f} s long")
    print(f"goodput {found['goodput']:.1f} a second, {100 * found['goodput'] / found['capacity']:.0f} % of capacity")
    print(
        f"the modest tenant: p50 {found['p50_us'] / 1e3:.0f} ms and p99 {found['p99_us'] / 1e3:.0f} ms, in calm {found['calm_p50_us'] / 1e3:.0f} "
        f"and {found['calm_p99_us'] / 1e3:.0f} ms; {found['modest']} tasks")
    print(f"refused {found['refused']}, {found['refused_without_retry_info']} of them without saying when to come again; {found['late']} timed out")
    faults = []
    if found["goodput"] < 0.9 * found["capacity"]:
        faults.append("less than nine tenths of what can be done was done")
    if found["p99_us"] > 2 * found["calm_p99_us"]:
        faults.append("the modest tenant waits more than twice as long")
    if found["modest_refused"]:
        faults.append(f"{found['modest_refused']} of the modest tenant's tasks were refused")
    if found["refused_without_retry_info"]:
        faults.append("refusals do not say when to come again")
    if found["failed"]:
        faults.append(f"{found['failed']} calls failed, the first with {found['failure']}")
    if verify.returncode != 0:
        faults.append(f"the server's own verification: {verify.stdout}")
    for fault in faults:
        print(f"overload: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


main()
