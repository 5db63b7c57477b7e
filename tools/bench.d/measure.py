"""Loads gRPC servers that serve echo.proto, and prints what a request costs each of them beside the targets.

Processor time is a process's own, user and system, all its threads; the server has processor 0 and the load processor 1. Of several
repetitions the cheapest counts. Loads are named connections x streams on each. A client calls a server of its own kind.
"""

import argparse
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile

from processes import on_processor, processor_seconds, resident_mib
from serving import await_serving, free_port

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
SLOW_READERS = 100
CLIENT_STREAMS = 100

# What each contender can do besides unary calls in the clear, and how much of the load it gets: the slow would take all day.
ABILITIES = {
    "spanwire": ({"stream", "tls", "client"}, 1),
    "floor": (set(), 1),
    "grpc-cpp": ({"stream", "tls", "client"}, 0.3),
    "grpc-swift": ({"stream", "client"}, 0.1),
}

# What is compared, to whom, and by how much ours must be less; or, below 1, by how much it may be more.
TARGETS = [
    ("unary, processor time, 8x32", "unary 8x32", "cost", "floor", 1 / 1.6),
    ("unary, processor time, 8x32", "unary 8x32", "cost", "grpc-cpp", 6),
    ("unary, processor time, 8x32", "unary 8x32", "cost", "grpc-swift", 40),
    ("unary, p50, 1x1", "unary 1x1", "p50", "grpc-cpp", 1),
    ("unary, p50, 1x1", "unary 1x1", "p50", "grpc-swift", 4),
    ("streaming, processor time a message", "stream", "cost", "grpc-cpp", 20),
    ("streaming, processor time a message", "stream", "cost", "grpc-swift", 20),
    ("client and server, processor time, 1x100", "client", "cost", "grpc-swift", 5),
]


def frame(message):
    return b"\0" + struct.pack(">I", len(message)) + message


def varint(number):
    out = b""
    while True:
        byte, number = number & 0x7F, number >> 7
        out += bytes([byte | (0x80 if number else 0)])
        if not number:
            return out


class Server:
    def __init__(self, name, program, credentials=()):
        self.port = free_port()
        self.name, self.program = name, program
        self.scheme = "https" if credentials else "http"
        self.process = subprocess.Popen(on_processor(0) + [program, str(self.port), *credentials], stdout=subprocess.DEVNULL)
        if not await_serving(self.port, self.process):
            sys.exit(f"{name} does not serve")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.name == "spanwire" and self.process.returncode != 0:
            sys.exit(f"spanwire did not end in good order: {self.process.returncode}")

    def h2load(self, connections, streams, requests, path, body, log=None):
        """Requests a second, and processor microseconds for each."""
        command = on_processor(1) + ["h2load", "-t", "1", "-c", str(connections), "-m", str(streams)]
        command += ["-n", str(requests), "-w", "22", "-W", "24", "-d", body]
        for header in HEADERS:
            command += ["-H", header]
        if log:
            command += ["--log-file", log]
        before = processor_seconds(self.process.pid)
        url = f"{self.scheme}://127.0.0.1:{self.port}{path}"
        out = subprocess.run(command + [url], capture_output=True, text=True, timeout=400).stdout
        cost = (processor_seconds(self.process.pid) - before) * 1e6 / requests
        answered = int(re.search(r"status codes: (\d+) 2xx", out).group(1))
        if answered != requests:
            sys.exit(f"{self.name}: only {answered} of {requests} answered")
        return {"rate": float(re.search(r"finished in .*?, ([\d.]+) req/s", out).group(1)), "cost": cost}

    def unary(self, shape, body, options, share):
        connections, streams, requests = shape
        requests = max(connections * streams * 4, int(requests * options.scale * share))
        self.h2load(connections, streams, max(connections * streams, requests // 20), "/echo.Echo/Get", body)
        rows = []
        for _ in range(options.reps):
            log = tempfile.mktemp() if streams == 1 else None
            row = self.h2load(connections, streams, requests, "/echo.Echo/Get", body, log)
            if log:
                row["p50"], row["p99"] = latencies(log)
                os.unlink(log)
            rows.append(row)
        best = min(rows, key=lambda row: row["cost"])
        if "p50" in best:
            best["p50"] = min(row["p50"] for row in rows)
        return best

    def stream(self, body, options, share):
        streams = max(2, int(20 * options.scale * share))
        self.h2load(1, 1, 1, "/echo.Echo/Expand", body)
        best = min((self.h2load(1, 1, streams, "/echo.Echo/Expand", body) for _ in range(options.reps)), key=lambda row: row["cost"])
        return {"rate": best["rate"] * MESSAGES, "cost": best["cost"] / MESSAGES}

    def client(self, options):
        """The cost at both ends of calls by the contender's own client."""
        rows = []
        for _ in range(options.reps):
            before = processor_seconds(self.process.pid)
            command = [self.program, "client", "--port", str(self.port), "--connections", "1", "--streams", str(CLIENT_STREAMS)]
            out = subprocess.run(
                on_processor(1) + command + ["--seconds", str(3 if options.scale >= 1 else 1)], capture_output=True, text=True, timeout=60)
            if out.returncode != 0:
                sys.exit(f"{self.name}: its client failed: {out.stdout}{out.stderr}")
            said = json.loads(out.stdout)
            # The client warms up for a tenth of its time, which its own figures leave out.
            server = (processor_seconds(self.process.pid) - before) * 1e6 / (said["requests"] * 1.1)
            own = said["cpu_us_per_request"]
            rows.append({"rate": said["requests_per_second"], "cost": own + server, "client": own, "server": server})
        return min(rows, key=lambda row: row["cost"])

    def slow_readers(self):
        """Opens streams of many messages that nobody reads, and returns their sockets."""
        fields = b"\x83\x86\x04" + text("/echo.Echo/Expand") + b"\x01" + text("localhost")
        fields += b"\0" + text("content-type") + text("application/grpc") + b"\0" + text("te") + text("trailers")
        body = frame(b"\x08" + varint(10_000))
        hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame_of(4, 0, 0, b"") + frame_of(1, 4, 1, fields) + frame_of(0, 1, 1, body)
        sockets = []
        for _ in range(SLOW_READERS):
            each = socket.create_connection(("127.0.0.1", self.port))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            each.sendall(hello)
            sockets.append(each)
        for each in sockets:
            each.recv(1)
        return sockets


def frame_of(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text(value):
    return bytes([len(value)]) + value.encode()


def latencies(log):
    with open(log) as file:
        values = sorted(int(line.split("\t")[2]) for line in file if line.count("\t") >= 2)
    return values[len(values) // 2], values[len(values) * 99 // 100]


def measure(name, program, bodies, credentials, options):
    """Figures by the name of the load."""
    abilities, share = ABILITIES[name]
    print(f"bench: {name}", file=sys.stderr)
    figures = {}
    with Server(name, program) as server:
        for shape in UNARY[: 3 if options.quick else None]:
            figures[f"unary {shape[0]}x{shape[1]}"] = server.unary(shape, bodies["unary"], options, share)
        if "stream" in abilities:
            figures["stream"] = server.stream(bodies["stream"], options, share)
        if "client" in abilities:
            figures["client"] = server.client(options)
        if "stream" in abilities:
            before = resident_mib(server.process.pid)
            sockets = server.slow_readers()
            row = server.unary((8, 32, 200_000), bodies["unary"], options, share)
            row["grown"] = resident_mib(server.process.pid) - before
            figures["slow readers, unary 8x32"] = row
            for each in sockets:
                each.close()
    if "tls" in abilities:
        with Server(name, program, credentials) as server:
            figures["TLS unary 8x32"] = server.unary((8, 32, 200_000), bodies["unary"], options, share)
            figures["TLS stream"] = server.stream(bodies["stream"], options, share)
    return figures


def table(results):
    names = list(results)
    for load, ours in results[names[0]].items():
        unit = "message" if "stream" in load else "request, at both ends" if load == "client" else "request"
        print(f"\n{load}: processor microseconds for each {unit}")
        for name in names:
            row = results[name].get(load)
            if not row:
                continue
            ratio = f"{row['cost'] / ours['cost']:6.2f} x ours" if name != names[0] else " " * 13
            more = f"  p50 {row['p50']} us, p99 {row['p99']} us" if "p50" in row else ""
            more += f"  client {row['client']:.2f}, server {row['server']:.2f}" if "client" in row else ""
            more += f"  {SLOW_READERS} streams unread: {row['grown']:+.1f} MiB" if "grown" in row else ""
            print(f"  {name:12s} {row['cost']:9.3f}  {row['rate']:11.0f}/s  {ratio}{more}")


def verdicts(results):
    """Rows of the table of targets: what, ours, theirs, wanted, got, met."""
    ours = results["spanwire"]
    for what, load, figure, peer, factor in TARGETS:
        theirs = results.get(peer, {}).get(load)
        if load not in ours or not theirs:
            continue
        mine, their = ours[load][figure], theirs[figure]
        if factor < 1:
            wanted, got = f"at most {1 / factor:.1f} x {peer}", f"{mine / their:.2f} x"
        else:
            wanted, got = f"{factor} x less than {peer}" if factor > 1 else f"at most {peer}", f"{their / mine:.1f} x less"
        yield what, f"{mine:.3g}", f"{their:.3g}", wanted, got, their / mine >= factor
    if "TLS stream" in ours:
        clear, secure = ours["stream"]["cost"], ours["TLS stream"]["cost"]
        got = f"{secure / clear:.2f} x"
        yield "streaming over TLS, processor time", f"{secure:.3g}", f"{clear:.3g}", "at most 2.0 x in the clear", got, secure <= 2 * clear


def main():
    parser = argparse.ArgumentParser(prog="tools/bench rpc", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="fewer or more requests")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, once: shows that it works, not how well")
    parser.add_argument("--json", help="writes the figures there as well")
    parser.add_argument("--markdown", action="store_true", help="the table of targets as README has it")
    parser.add_argument("--credentials", nargs=2, metavar=("CERTIFICATE", "KEY"), required=True, help=argparse.SUPPRESS)
    parser.add_argument("contenders", nargs="+", metavar="NAME=PROGRAM", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.reps, options.scale = 1, 0.1
    with tempfile.TemporaryDirectory() as folder:
        bodies = {}
        for name, message in {"unary": b"\x0a\x28" + b"x" * 40, "stream": b"\x08" + varint(MESSAGES)}.items():
            bodies[name] = os.path.join(folder, name)
            with open(bodies[name], "wb") as file:
                file.write(frame(message))
        results = {}
        for contender in options.contenders:
            name, program = contender.split("=", 1)
            results[name] = measure(name, program, bodies, options.credentials, options)
    table(results)
    rows = list(verdicts(results))
    print("\ntargets: microseconds, ours and theirs")
    if options.markdown:
        print("| what | ours, µs | theirs, µs | target | measured | |\n|---|---|---|---|---|---|")
    for *cells, met in rows:
        cells.append("met" if met else "missed")
        print("| " + " | ".join(cells) + " |" if options.markdown else "  {:42s} {:>8s} {:>8s}  {:28s} {:>12s}  {}".format(*cells))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"figures": results, "targets": rows}, file, indent=1)


if __name__ == "__main__":
    main()
