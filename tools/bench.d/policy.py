"""Decisions of the policy service and evaluations of flags, in process and through RPC, with 800 policies loaded.

The server has processor 0 and the load processor 1. Processor time is the server's own, user and system, all its threads; of several
repetitions the cheapest counts, and what one processor could do is a second over it. None of the calls asks for a trace, as nearly all
of a sampled system's; nothing that is asked writes anything, and the log's end is compared to prove it. Exits with 1 when a target is
missed. With --quick half of the rates are enough, and the time that callers wait is shown and not judged: they say more of who else
uses the machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from platform_server import Platform
from processes import on_processor, processor_seconds, resident_mib

WORKS = {"decisions": "CheckAccess", "flags": "ResolveBoolean, a static flag", "tools": "CheckTool without a cost"}
POLICIES, AGENTS = 800, 100
# What is judged of CheckAccess and flags; tool calls are shown.
JUDGED = ["decisions", "flags"]
ACCESS_NS, FLAG_NS, PER_SECOND, P99_US, RESIDENT_MIB = 5_000, 2_000, 50_000, 5_000, 133

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--bin", required=True)
parser.add_argument("--callers", type=int, default=100)
parser.add_argument("--seconds", type=float, default=5)
parser.add_argument("--reps", type=int, default=3)
parser.add_argument("--quick", action="store_true", help="a second each, once")
parser.add_argument("--json", help="where to write what was measured")
options = parser.parse_args()
if options.quick:
    options.seconds, options.reps = 1, 2
SLACK = 2 if options.quick else 1


def bundle():
    """Agents' budgets, rates, allowlists and safety rules, and a flag."""
    kinds = [
        "budget: {{daily: {{micros: 5000000000, currency: USD}}}}",
        "rate_limit: {{tool: other-tool, max_per_minute: {n}}}",
        "allowlist: {{allowed_domains: [github.com, 'docs.*'], public_suffixes: [com, org]}}",
        "safety: {{require_approval_for: [network_write, money]}}",
    ]
    lines = ["bundle_id: BND-BENCH", "agents:"]
    for number in range(AGENTS):
        lines.append(
            f"  - {{agent_slug: bench-agent-{number}, agent_type: support, title: For the bench, intents: [explain_limits],"
            " capability_tiers: [read], version: 1}")
    lines.append("policies:")
    for number in range(POLICIES):
        config = kinds[number % 4].format(n=number + 1)
        lines.append(f"  - {{policy_id: POL-{number}, scope: 'agent:bench-agent-{number // 4 % AGENTS}', {config}}}")
    lines += [
        "flags:",
        "  - {flag_key: bench-static, enabled: true, variants: {'on': true, 'off': false}, default_variant: 'off',",
        "     rollout_variant: 'on', rollout_stage: ROLLOUT_STAGE_FULL}",
    ]
    return "\n".join(lines) + "\n"


def command(server, *arguments):
    environment = dict(os.environ, SPANWIRE_TOKEN="dev:ops:OPS-0001:vienna:ops_lead", SPANWIRE_SERVER=server.address)
    return subprocess.run([f"{options.bin}/spanwire", *arguments], check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout


def head(server):
    return len(command(server, "events", "export").splitlines())


def measure(server, work):
    load = subprocess.Popen(
        on_processor(1) + [f"{options.bin}/spanwire-storeload", "--server", server.address, "--work", work, "--callers",
                           str(options.callers), "--seconds", str(options.seconds)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    load.stdout.readline()
    cpu = processor_seconds(server.pid)
    load.stdin.write("\n")
    load.stdin.flush()
    said = json.loads(load.stdout.readline())
    cpu = processor_seconds(server.pid) - cpu
    load.wait()
    count = said["operations"]
    return {"rate": count / said["seconds"], "cpu_us": cpu * 1e6 / count, "per_core": count / cpu, "p50_us": said["p50_us"], "p99_us": said["p99_us"]}


def main():
    inside = json.loads(
        subprocess.run([f"{options.bin}/spanwire-decisions", str(min(options.seconds, 2))], check=True, stdout=subprocess.PIPE, text=True).stdout)
    results = {"in_process": inside, "rpc": {}}
    missed = []
    for name, found, wanted in [("access decision", inside["access_ns"], ACCESS_NS), ("static flag", inside["flag_ns"], FLAG_NS)]:
        print(f"in process, {name}: {found / 1000:.2f} us")
        if found > wanted * SLACK:
            missed.append(f"in process, {name}: {found:.0f} ns, more than {wanted * SLACK}")
    with Platform(f"{options.bin}/spanwire", prefix=on_processor(0)) as server, tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(bundle())
        file.flush()
        command(server, "registry", "apply", file.name, "--reason", "for the bench")
        before = head(server)
        print(f"\n| {options.callers} callers, {POLICIES} policies | calls/s | processor each | calls/s of a processor | p50 | p99 |\n|---|---|---|---|---|---|")
        for work, title in WORKS.items():
            measure(server, work)  # what is warm later is warm now
            row = min((measure(server, work) for _ in range(options.reps)), key=lambda row: row["cpu_us"])
            results["rpc"][work] = row
            print(f"| {title} | {row['rate']:,.0f} | {row['cpu_us']:.1f} us | {row['per_core']:,.0f} | {row['p50_us']} us | {row['p99_us']} us |")
            if work in JUDGED and row["per_core"] < PER_SECOND / SLACK:
                missed.append(f"{title}: {row['per_core']:.0f} calls/s of a processor, fewer than {PER_SECOND / SLACK:.0f}")
            if work in JUDGED and row["p99_us"] > P99_US and not options.quick:
                missed.append(f"{title}: p99 {row['p99_us']} us, more than {P99_US}")
        results["resident_mib"] = resident_mib(server.pid)
        print(f"\nresident: {results['resident_mib']:.1f} MiB")
        if results["resident_mib"] > RESIDENT_MIB:
            missed.append(f"resident: {results['resident_mib']:.1f} MiB, more than {RESIDENT_MIB}")
        if head(server) != before:
            missed.append("what was decided wrote to the log")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=2)
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    sys.exit(1 if missed else 0)


main()
