"""What connections that do nothing and streams that nobody reads cost a server, and everybody else.

  idle.py [--connections N] [--streams N] SERVER

SERVER serves echo.proto on the port that it is given. Exits with 1 when a target is missed: 100 MiB resident for 10,000 idle
connections, slow streams that do not grow, and a fresh unary call (on a connection of its own) within 5 times its calm median.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

from processes import resident_mib
from serving import await_serving, free_port
from wire import Connection, request, window

IDLE_MIB = 100
# Its writer waits at 64 KiB queued, in a block a quarter to a half larger; its own objects, and the call's, are a few KiB.
STREAM_KIB = 112
FLAT_MIB = 4
SLOWDOWN = 5
CALLS = 400
STREAMS_EACH = 100
MESSAGES = 5_000_000


def varint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def fresh_call(port):
    """Microseconds from no connection to the status of a call."""
    start = time.perf_counter_ns()
    connection = Connection(port)
    connection.send(request(1, b"/echo.Echo/Get", b"\x0a\x04ping"))
    connection.finish(1)
    took = (time.perf_counter_ns() - start) / 1e3
    connection.close()
    return took


def median(port, calls=CALLS):
    values = sorted(fresh_call(port) for _ in range(calls))
    return values[calls // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("server")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.connections + options.streams // STREAMS_EACH + 100
    if hard < wanted:
        sys.exit(f"idle: {wanted} descriptors are needed, and the hard limit is {hard}")
    port = free_port()
    # The server raises its own limit; it starts with the usual one.
    server = subprocess.Popen([options.server, str(port)], stdout=subprocess.DEVNULL)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    missed = []
    try:
        if not await_serving(port, server):
            sys.exit("idle: the server does not serve")
        median(port)
        calm, base = median(port), resident_mib(server.pid)
        print(f"calm: a fresh call takes {calm:.0f} us at the median, {base:.1f} MiB resident")

        idle = []
        for _ in range(options.connections):
            connection = Connection(port)
            connection.settle()
            idle.append(connection)
        after = resident_mib(server.pid)
        each = (after - base) * 1024 / max(1, options.connections)
        print(f"{options.connections} idle connections: {after:.1f} MiB resident, {each:.1f} KiB each")
        if after > IDLE_MIB * options.connections / 10_000 + base * (options.connections < 10_000):
            missed.append(f"more than {IDLE_MIB} MiB for 10,000 idle connections")

        slow = []
        for _ in range(options.streams // STREAMS_EACH):
            connection = Connection(port)
            connection.send(window(0, 1 << 30))
            for number in range(STREAMS_EACH):
                connection.send(request(2 * number + 1, b"/echo.Echo/Expand", b"\x08" + varint(MESSAGES)))
            slow.append(connection)
        sizes = []
        for round in range(12):
            # What arrives is read, and each stream gets room for some messages more.
            quiet = time.monotonic() + 0.5
            while time.monotonic() < quiet:
                read_some(slow)
            if round > 5:  # every queue has gone round once
                sizes.append(resident_mib(server.pid))
            for connection in slow:
                connection.socket.setblocking(True)
                connection.send(b"".join(window(2 * number + 1, 20_000) for number in range(STREAMS_EACH)))
        each = (sizes[0] - after) * 1024 / max(1, options.streams)
        print(f"{options.streams} slow streams: {sizes[-1]:.1f} MiB resident, {each:.1f} KiB each, {sizes[-1] - sizes[0]:+.1f} MiB as they go on")
        if each > STREAM_KIB:
            missed.append(f"more than {STREAM_KIB} KiB for a slow stream")
        if sizes[-1] - sizes[0] > FLAT_MIB:
            missed.append("slow streams are not flat")

        loaded = median(port)
        print(f"with both: a fresh call takes {loaded:.0f} us at the median, {loaded / calm:.2f} x calm")
        if loaded > calm * SLOWDOWN:
            missed.append(f"a fresh call takes more than {SLOWDOWN} x its calm median")

        for connection in idle + slow:
            connection.close()
        deadline = time.monotonic() + 20
        while len(os.listdir(f"/proc/{server.pid}/fd")) > 64 and time.monotonic() < deadline:
            time.sleep(0.1)
        print(f"all gone: {resident_mib(server.pid):.1f} MiB resident, {len(os.listdir(f'/proc/{server.pid}/fd'))} descriptors")
    finally:
        server.terminate()
        if server.wait(20) != 0:
            missed.append(f"the server ended with {server.returncode} when it was told to end")
    for miss in missed:
        print(f"idle: {miss}", file=sys.stderr)
    sys.exit(1 if missed else 0)


def read_some(connections):
    for connection in connections:
        connection.socket.setblocking(False)
        try:
            while connection.socket.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
    time.sleep(0.01)


sys.stdout.reconfigure(line_buffering=True)
main()
