"""Servers that are told their port: finding one that is free, and waiting until a process serves there."""

import socket
import time

# An interpreter or callgrind may have to load first, on a machine that is busy.
START_SECONDS = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_serving(port, process):
    """Whether the process takes connections on that port; not if it ends, or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False
