"""Loads gRPC servers that serve echo.proto, and prints what a request costs each of them, with ratios to the first.

  measure.py [--reps N] [--scale F] NAME=COMMAND ...     {port} in a command becomes the port

Processor time is the server's own, user and system, all threads. Of several repetitions the cheapest counts.
"""

import argparse
import glob
import json
import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
import time

HEADERS = [
    "content-type: application/grpc",
    "te: trailers",
    "user-agent: grpc-python/1.85.1 grpc-c/53.0.0 (linux; chttp2)",
    "grpc-timeout: 10S",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "x-request-tag: 7f3c9a52-0d1e-4c57-9a8e-2f9d6b1c4e11",
]
# connections, streams on each, requests
UNARY = [(1, 1, 10_000), (8, 1, 40_000), (8, 32, 200_000), (32, 100, 200_000)]
MESSAGES = 100_000


def frame(message):
    return b"\0" + struct.pack(">I", len(message)) + message


def varint(number):
    out = b""
    while True:
        byte, number = number & 0x7F, number >> 7
        out += bytes([byte | (0x80 if number else 0)])
        if not number:
            return out


def processor_seconds(pid):
    """The kernel's count, in nanoseconds, over all threads."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            with open(path) as file:
                total += int(file.read().split()[0])
        except OSError:
            pass
    return total / 1e9


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


class Server:
    def __init__(self, name, command):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.name = name
        words = [word.replace("{port}", str(self.port)) for word in shlex.split(command)]
        self.process = subprocess.Popen(["taskset", "-c", "0", *words], stdout=subprocess.DEVNULL)
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        sys.exit(f"{name} does not serve")

    def load(self, connections, streams, requests, path, body, log=None):
        """Requests a second, and processor microseconds for each."""
        command = ["taskset", "-c", str(min(1, os.cpu_count() - 1)), "h2load", "-t", "1", "-c", str(connections), "-m", str(streams)]
        command += ["-n", str(requests), "-w", "22", "-W", "24", "-d", body]
        for header in HEADERS:
            command += ["-H", header]
        if log:
            command += ["--log-file", log]
        before = processor_seconds(self.process.pid)
        out = subprocess.run(command + [f"http://127.0.0.1:{self.port}{path}"], capture_output=True, text=True, timeout=400).stdout
        cost = (processor_seconds(self.process.pid) - before) * 1e6 / requests
        answered = int(re.search(r"status codes: (\d+) 2xx", out).group(1))
        if answered != requests:
            sys.exit(f"{self.name}: only {answered} of {requests} answered")
        return float(re.search(r"finished in .*?, ([\d.]+) req/s", out).group(1)), cost

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def latencies(log):
    with open(log) as file:
        values = sorted(int(line.split("\t")[2]) for line in file if line.count("\t") >= 2)
    return values[len(values) // 2], values[len(values) * 99 // 100]


def measure(server, bodies, repetitions, scale):
    """Figures by the name of the load."""
    figures = {}
    for connections, streams, requests in UNARY:
        requests = max(connections * streams * 4, int(requests * scale))
        server.load(connections, streams, max(connections * streams, requests // 20), "/echo.Echo/Get", bodies["unary"])
        best = None
        for _ in range(repetitions):
            log = tempfile.mktemp() if streams == 1 else None
            rate, cost = server.load(connections, streams, requests, "/echo.Echo/Get", bodies["unary"], log)
            row = {"rate": rate, "cost": cost}
            if log:
                row["p50"], row["p99"] = latencies(log)
                os.unlink(log)
            if best is None or cost < best["cost"]:
                best = row
        figures[f"unary {connections}x{streams}"] = best
    if server.name != "floor":
        streams = max(1, int(20 * scale))
        best = min(
            (server.load(1, 1, streams, "/echo.Echo/Expand", bodies["stream"]) for _ in range(repetitions)), key=lambda pair: pair[1])
        figures["stream"] = {"rate": best[0] * MESSAGES, "cost": best[1] / MESSAGES}
    figures["resident"] = resident_mib(server.process.pid)
    return figures


def table(results):
    names = list(results)
    loads = [load for load in results[names[0]] if load != "resident"]
    for load in loads:
        print(f"\n{load}: processor microseconds for each {'message' if load == 'stream' else 'request'}")
        ours = results[names[0]][load]["cost"]
        for name in names:
            row = results[name].get(load)
            if not row:
                continue
            ratio = f"{row['cost'] / ours:6.2f} x ours" if name != names[0] else ""
            times = f"  p50 {row['p50']} us, p99 {row['p99']} us" if "p50" in row else ""
            print(f"  {name:12s} {row['cost']:9.3f}  {row['rate']:11.0f}/s  {ratio}{times}")
    print("\nresident MiB: " + ", ".join(f"{name} {results[name]['resident']:.0f}" for name in names))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="fewer or more requests")
    parser.add_argument("--json", help="writes the figures there as well")
    parser.add_argument("contenders", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bodies = {}
        for name, message in {"unary": b"\x0a\x28" + b"x" * 40, "stream": b"\x08" + varint(MESSAGES)}.items():
            bodies[name] = os.path.join(folder, name)
            with open(bodies[name], "wb") as file:
                file.write(frame(message))
        results = {}
        for contender in options.contenders:
            name, command = contender.split("=", 1)
            server = Server(name, command)
            try:
                results[name] = measure(server, bodies, options.reps, options.scale)
            finally:
                server.stop()
    table(results)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


main()
