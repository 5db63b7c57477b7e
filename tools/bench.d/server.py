"""A release server on a data folder, for what drives it from outside: its processor time, its fsyncs, its death."""

import mmap
import os
import signal
import struct
import subprocess
import time

import processes

# A Tuesday morning: the sample's cafés are open.
CLOCK = "2026-05-19T09:00:00+02:00"
OPERATOR = "dev:ops:OPS-0001:vienna:ops_lead"


class Counts:
    """What witness.so counts, in a file that it and we have mapped: fsyncs, and whether statements are written down."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as file:
            file.write(bytes(16))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 16)

    @property
    def fsyncs(self):
        return struct.unpack_from("q", self.map, 0)[0]

    def write_down(self, wanted):
        struct.pack_into("q", self.map, 8, int(wanted))


class Server:
    def __init__(self, program, data, port=0, witness=None, counts=None, record=None):
        environment = dict(os.environ)
        if witness:
            environment.update(LD_PRELOAD=witness, WITNESS_COUNTS=counts.path)
        if record:
            environment.update(WITNESS_RECORD=record, WITNESS_DATABASE="/spanwire.db")
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [program, "serve", "--dev", "--data", data, "--listen", f"127.0.0.1:{port}", "--clock", CLOCK],
            stdout=subprocess.PIPE, text=True, env=environment)
        line = self.process.stdout.readline()
        self.start_seconds = time.monotonic() - begin
        if not line.startswith("listening on "):
            raise SystemExit(f"the server did not start: {line}")
        self.program, self.address = program, line.split()[2]
        self.port = int(self.address.rsplit(":", 1)[1])

    def command(self, *arguments):
        """The output of a command for this server."""
        run = subprocess.run(
            [self.program, *arguments, "--server", self.address], capture_output=True, text=True,
            env=dict(os.environ, SPANWIRE_TOKEN=OPERATOR), timeout=300)
        if run.returncode != 0:
            raise SystemExit(f"spanwire {' '.join(arguments)}: exit {run.returncode}\n{run.stdout}{run.stderr}")
        return run.stdout

    def processor_seconds(self):
        return processes.processor_seconds(self.process.pid)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()


class Load:
    """spanwire-storeload: made ready by its constructor, begun and ended by its caller."""

    def __init__(self, program, server, *arguments):
        self.process = subprocess.Popen(
            [program, "--server", server.address, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.line() != "ready":
            raise SystemExit("the load did not get ready")

    def line(self):
        return self.process.stdout.readline().strip()

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    stop = go

    def wait(self):
        if self.process.wait(120) != 0:
            raise SystemExit("the load failed")
