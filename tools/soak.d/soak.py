"""Mixed load on test servers in the clear and over TLS, for as long as is wished, and then a look at what they kept.

  soak.py [--minutes N] [--seed N] [--workers N] SPANWIRE-INTEROP

Calls of all kinds, cancelled, slow, late or refused as the seed says; connections that come and go, or break off in the middle of a frame;
new certificates every few seconds. Exits with 1 if a call ended otherwise than meant, or if a server kept descriptors, streams or memory.
"""

import argparse
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from wire import HEADERS, RST_STREAM, Connection, frame, request

# Above what the server had allocated after a tenth of the run: pools of stream objects and tables fill up as the load has its peaks. A leak
# of ten bytes a call is as much in half an hour.
GROWTH_ALLOCATED_MIB = 4
# Above what it held then, with what the allocator keeps between the blocks that live long.
GROWTH_MIB = 24
# Connections, streams and descriptors are counted once all clients have gone, or after so long.
SETTLE_SECONDS = 20


def status(pid, name):
    with open(f"/proc/{pid}/status") as file:
        return int(next(line for line in file if line.startswith(name)).split()[1])


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Server:
    def __init__(self, binary, name, flags):
        self.name = name
        self.process = subprocess.Popen(
            [binary, "server", "--port=0", "--host=127.0.0.1", *flags], stdout=subprocess.PIPE, text=True, bufsize=1)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    @property
    def pid(self):
        return self.process.pid

    def look(self):
        """Connections, calls ever, calls open, descriptors, MiB allocated and MiB resident."""
        self.process.send_signal(signal.SIGUSR1)
        words = self.process.stdout.readline().split()
        return {
            "connections": int(words[1]), "calls": int(words[3]), "open": int(words[5]), "descriptors": descriptors(self.pid),
            "allocated": int(words[7]) / 2**20, "memory": status(self.pid, "VmRSS") / 1024,
        }

    def stop(self):
        self.process.terminate()
        return self.process.wait(30)


def certificates(folder):
    """An authority once, and a server's certificate anew, under the names of the interop tests."""
    script = os.path.join(os.path.dirname(__file__), "..", "interop.d", "certificates")
    if os.path.exists(f"{folder}/server1.pem"):
        os.unlink(f"{folder}/server1.pem")
        keep = {name: open(f"{folder}/{name}").read() for name in ("ca.pem", "ca.key")}
        key = subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"], capture_output=True, text=True, check=True).stdout
        write(f"{folder}/server1.key.new", key)
        sign = f"openssl req -new -key {folder}/server1.key.new -subj '/O=Spanwire/CN=*.test.google.com' | openssl x509 -req -days 30 "
        sign += f"-CA {folder}/ca.pem -CAkey {folder}/ca.key -CAcreateserial -extfile {folder}/names -out {folder}/server1.pem.new"
        subprocess.run(["bash", "-c", sign], check=True, capture_output=True)
        os.rename(f"{folder}/server1.key.new", f"{folder}/server1.key")
        os.rename(f"{folder}/server1.pem.new", f"{folder}/server1.pem")
        assert keep["ca.pem"] == open(f"{folder}/ca.pem").read()
    else:
        subprocess.run([script, folder], check=True)
        write(f"{folder}/names", "subjectAltName=DNS:*.test.google.fr\n")


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def rude(port, seed, stop):
    """A client with no manners: resets at once, leaves in the middle of frames, never finishes, says nothing."""
    draw = random.Random(seed)
    path = b"/grpc.testing.TestService/StreamingOutputCall"
    # StreamingOutputCallRequest: 50 responses of 20,000 bytes, of which nobody reads any.
    wanted = (b"\x12\x04\x08\xa0\x9c\x01") * 50
    held = []
    while not stop.wait(draw.uniform(0.01, 0.2)):
        try:
            kind = draw.randrange(5)
            if kind == 0:  # resets as soon as asked
                connection = Connection(port)
                calls = [request(2 * number + 1, path, wanted) for number in range(draw.randrange(1, 40))]
                resets = [frame(RST_STREAM, 0, 2 * number + 1, struct.pack(">I", 8)) for number in range(len(calls))]
                connection.send(b"".join(call + reset for call, reset in zip(calls, resets)))
                connection.close()
            elif kind == 1:  # gone without a word, in the middle of a frame
                connection = Connection(port)
                connection.send(request(1, path, wanted)[: draw.randrange(1, 120)])
                abort(connection)
            elif kind == 2:  # asks and does not read, for a while
                connection = Connection(port)
                connection.send(b"".join(request(2 * number + 1, path, wanted) for number in range(20)))
                held.append(connection)
                if len(held) > 5:
                    abort(held.pop(0))
            elif kind == 3:  # no HTTP/2 at all
                connection = socket.create_connection(("127.0.0.1", port))
                connection.sendall(draw.randbytes(draw.randrange(1, 2_000)))
                connection.close()
            else:  # half a request, and then nothing
                connection = Connection(port)
                connection.send(frame(HEADERS, 0, 1, b"\x83\x86"))
                connection.close()
        except OSError:
            pass  # the server had enough of it first
    for connection in held:
        connection.close()


def abort(connection):
    """Closes with a reset of TCP."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def settle(server):
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        now = server.look()
        if now["connections"] == 0 and now["open"] == 0:
            return now
        if time.monotonic() > deadline:
            return now
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=6, help="of each server")
    parser.add_argument("binary")
    options = parser.parse_args()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        certificates(folder)
        secure = ["--use_tls=true", f"--test_certificates={folder}"]
        servers = [Server(options.binary, "clear", []), Server(options.binary, "TLS", secure)]
        flags = {"clear": [], "TLS": [*secure, "--use_test_ca=true", "--server_host_override=foo.test.google.fr"]}
        stop = threading.Event()
        begin = time.monotonic()
        seconds = options.minutes * 60
        try:
            # The first tenth warms up; what the servers hold after it, with nobody there, is what they may hold at the end.
            for part, (share, seed) in enumerate([(0.1, options.seed), (0.9, options.seed + 1)]):
                stop.clear()
                rudes = [threading.Thread(target=rude, args=(server.port, seed + index, stop)) for index, server in enumerate(servers)]
                for thread in rudes:
                    thread.start()
                loads = [
                    subprocess.Popen(
                        [options.binary, "load", "--server_host=127.0.0.1", f"--server_port={server.port}", f"--workers={options.workers}",
                         f"--seconds={max(1, round(seconds * share))}", f"--seed={seed}", *flags[server.name]],
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                    for server in servers
                ]
                last = time.monotonic()
                while any(load.poll() is None for load in loads):
                    time.sleep(min(5, seconds * share / 4))
                    certificates(folder)
                    servers[1].process.send_signal(signal.SIGHUP)
                    if time.monotonic() - last > 30:
                        last = time.monotonic()
                        for server in servers:
                            print(f"{last - begin:6.0f} s  {server.name:5s} {describe(server.look())}")
                stop.set()
                for thread in rudes:
                    thread.join()
                for server, load in zip(servers, loads):
                    said = load.stdout.read().strip()
                    if load.returncode:
                        failures.append(f"{server.name}: a call ended otherwise than meant: {said}")
                    elif part == 1:
                        print(f"{server.name}: " + ", ".join(said.splitlines()))
                for server in servers:
                    now = settle(server)
                    print(f"{time.monotonic() - begin:6.0f} s  {server.name:5s} {describe(now)}, {'warm' if part == 0 else 'at the end'}")
                    if part == 0:
                        server.warm = {**now, "connections": 0, "open": 0}
                        continue
                    for what in ["connections", "open", "descriptors"]:
                        if now[what] > server.warm[what]:
                            failures.append(f"{server.name}: {now[what]} {what} at the end, {server.warm[what]} at the beginning")
                    for what, bound in [("allocated", GROWTH_ALLOCATED_MIB), ("memory", GROWTH_MIB)]:
                        if now[what] > server.warm[what] + bound:
                            failures.append(f"{server.name}: {what}: {now[what]:.1f} MiB at the end, {server.warm[what]:.1f} when warm")
        finally:
            stop.set()
            for server in servers:
                code = server.stop()
                if code:
                    failures.append(f"{server.name}: exit {code}")
    for failure in failures:
        print(f"soak: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


def describe(look):
    return (f"{look['connections']:4d} connections, {look['calls']:8d} calls, {look['open']:3d} open, {look['descriptors']:4d} descriptors, "
            f"{look['allocated']:5.1f} MiB allocated, {look['memory']:5.1f} resident")


sys.stdout.reconfigure(line_buffering=True)
main()
