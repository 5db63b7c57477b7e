"""A server of the platform with a data folder of its own, for measurements."""

import os
import signal
import subprocess
import sys
import tempfile


def folder_mib(path):
    return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file()) / (1 << 20)


class Platform:
    """`spanwire serve --dev`, on a free port, with the Vienna Coffee Pass applied. Without a folder it has one that goes with it."""

    CLOCK = "2026-05-19T09:00:00+02:00"

    def __init__(self, spanwire, data=None, prefix=(), options=()):
        self.spanwire, self.prefix, self.options = spanwire, list(prefix), list(options)
        self.temporary = None if data else tempfile.TemporaryDirectory(prefix="spanwire-bench-")
        self.data = data or self.temporary.name

    def __enter__(self):
        self.process = subprocess.Popen(
            self.prefix + [self.spanwire, "serve", "--dev", "--data", self.data, "--listen", "127.0.0.1:0", "--clock", self.CLOCK] + self.options,
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"bench: the server said: {line}")
        self.address = line.split()[2]
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        if self.temporary:
            self.temporary.cleanup()

    def apply(self, bundle="Samples/vienna-coffee-pass.yaml"):
        environment = dict(os.environ, SPANWIRE_TOKEN="dev:ops:OPS-0001:vienna:ops_lead")
        subprocess.run(
            [self.spanwire, "registry", "apply", bundle, "--server", self.address], check=True, env=environment, stdout=subprocess.DEVNULL)

    @property
    def pid(self):
        return self.process.pid
