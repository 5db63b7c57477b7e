"""Durable session starts and journey steps through real RPC, beside SQLite alone doing the same row writes in the same run.

Server and load share the machine. What the server's writer asked of SQLite is written down (Benchmarks/Store/witness.c) and done once
more by a C program on a copy of the same database (replay.c): the same prepared statements, values, indexes and settings, with as many
operations in a commit as the server had, and one by one. A replay does the writes alone, not the reads of the transactions. Fsyncs are counted in the process, where it calls them. Processor time is a process's own, user and system, all its
threads; of several repetitions the cheapest counts. Exits with 1 when less than 60 % of SQLite's own is reached at 256 callers.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from server import Counts, Load, Server

WANTED = 0.6
WORKS = {"sessions": "session starts", "steps": "journey steps"}


class Bench:
    def __init__(self, options):
        self.options = options
        self.spanwire = f"{options.bin}/spanwire"
        self.load = f"{options.bin}/spanwire-storeload"
        self.witness = f"{options.build}/witness.so"
        self.folder = tempfile.mkdtemp(dir=options.data or options.build)
        self.data = f"{self.folder}/data"
        self.counts = Counts(f"{self.folder}/counts")
        self.runs = 0

    def begin_load(self, server, work, callers, *more):
        self.runs += 1
        return Load(self.load, server, "--work", work, "--callers", callers, "--run", f"r{self.runs}", *more)

    def measure(self, server, work, callers):
        """What so many callers get and what it costs the server."""
        load = self.begin_load(server, work, callers, "--seconds", self.options.seconds)
        cpu, fsyncs = server.processor_seconds(), self.counts.fsyncs
        load.go()
        said = json.loads(load.line())
        cpu, fsyncs = server.processor_seconds() - cpu, self.counts.fsyncs - fsyncs
        load.wait()
        count = said["operations"]
        return {
            "rate": count / said["seconds"], "cpu": cpu * 1e6 / count, "p50": said["p50_us"], "p99": said["p99_us"],
            "fsyncs": fsyncs * 1000 / count,
        }

    def record(self, work):
        """Has the writer's statements written down, and keeps the database as it was before them."""
        record, copy = f"{self.folder}/{work}.record", f"{self.folder}/{work}.before"
        server = Server(self.spanwire, self.data, witness=self.witness, counts=self.counts, record=record)
        load = self.begin_load(server, work, max(self.options.callers), "--count", self.options.recorded)
        time.sleep(1)  # the journeys' own beginnings
        os.mkdir(copy)
        for name in os.listdir(self.data):
            if name.startswith("spanwire.db") and not name.endswith((".lock", "-shm")):
                shutil.copy(f"{self.data}/{name}", copy)
        self.counts.write_down(True)
        load.go()
        count = json.loads(load.line())["operations"]
        load.wait()
        time.sleep(0.5)
        self.counts.write_down(False)
        server.stop()
        return record, copy, count

    def replay(self, recorded, batch, *more):
        record, copy, count = recorded
        best = None
        for _ in range(self.options.reps):
            folder = f"{self.folder}/replay"
            shutil.copytree(copy, folder)
            os.sync()
            out = subprocess.run(
                [f"{self.options.build}/replay", f"{folder}/spanwire.db", record, str(count), str(batch), *more], capture_output=True, text=True)
            if out.returncode != 0:
                sys.exit(out.stderr)
            said = json.loads(out.stdout)
            shutil.rmtree(folder)
            row = {
                "rate": count / said["seconds"], "cpu": said["cpu_seconds"] * 1e6 / count, "commits": said["commits"] * 1000 / count,
                "rows": said["rows"] / count,
            }
            if not best or row["cpu"] < best["cpu"]:
                best = row
        return best

    def run(self):
        results = {}
        try:
            server = Server(self.spanwire, self.data, witness=self.witness, counts=self.counts)
            for bundle in ["Samples/vienna-coffee-pass.yaml", "Benchmarks/Store/turns.yaml"]:
                server.command("registry", "apply", f"{self.options.home}/{bundle}")
            for work in WORKS:
                rows = results[work] = {}
                for callers in self.options.callers:
                    self.measure(server, work, callers)  # what is warm later is warm now
                    rows[callers] = min((self.measure(server, work, callers) for _ in range(self.options.reps)), key=lambda row: row["cpu"])
            server.stop()
            for work in WORKS:
                recorded = self.record(work)
                alone = self.replay(recorded, 1)
                for callers, row in results[work].items():
                    # Each commit is one fsync; those of checkpoints are few beside them.
                    batch = max(1, round(1000 / row["fsyncs"]))
                    row["batch"], row["raw"], row["alone"] = batch, self.replay(recorded, batch), alone
                    row["whole"] = self.replay(recorded, batch, "all")
        finally:
            shutil.rmtree(self.folder)
        return results


def table(results):
    missed = []
    for work, rows in results.items():
        print(f"\n{WORKS[work]}, {next(iter(rows.values()))['raw']['rows']:.1f} rows written for each")
        print(f"{'callers':>8}{'a second':>10}{'p50 ms':>8}{'p99 ms':>8}{'CPU us':>8}{'fsyncs/1000':>13}"
              f" | {'SQLite, batches of':>18}{'a second':>10}{'CPU us':>8}{'share':>8}{'by CPU':>8} | {'one by one':>10}{'CPU us':>8}"
              f" | {'with its reads':>14}")
        for callers, row in rows.items():
            raw, alone = row["raw"], row["alone"]
            share, by_cpu = row["rate"] / raw["rate"], raw["cpu"] / row["cpu"]
            print(f"{callers:>8}{row['rate']:>10,.0f}{row['p50'] / 1e3:>8.2f}{row['p99'] / 1e3:>8.2f}{row['cpu']:>8.0f}{row['fsyncs']:>13.0f}"
                  f" | {row['batch']:>18}{raw['rate']:>10,.0f}{raw['cpu']:>8.1f}{share:>8.0%}{by_cpu:>8.0%}"
                  f" | {alone['rate']:>10,.0f}{alone['cpu']:>8.1f} | {row['whole']['cpu']:>11.1f} us")
            if callers == 256 and min(share, by_cpu) < WANTED:
                missed.append(f"{WORKS[work]} at 256 callers: {share:.0%} by throughput, {by_cpu:.0%} by processor time; {WANTED:.0%} are wanted")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["home", "bin", "build"]:
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--callers", type=lambda text: [int(each) for each in text.split(",")], default=[1, 16, 256])
    parser.add_argument("--seconds", type=float, default=4, help="how long each measurement takes")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--recorded", type=int, default=20_480, help="operations whose statements are written down")
    parser.add_argument("--quick", action="store_true", help="shows that it works; no shares are asked for")
    parser.add_argument("--json", help="writes the figures there as well")
    parser.add_argument("--data", help="a folder on the disk that is meant; default is the checkout's")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.reps, options.recorded = 0.5, 1, 2_048
    results = Bench(options).run()
    missed = table(results)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)
    for miss in missed:
        print(f"store: {miss}", file=sys.stderr)
    sys.exit(1 if missed and not options.quick else 0)


sys.stdout.reconfigure(line_buffering=True)
main()
