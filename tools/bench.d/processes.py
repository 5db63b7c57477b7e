"""What a process costs, and where it runs."""

import contextlib
import glob
import os


def processor_seconds(pid):
    """The kernel's count, over all threads."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with contextlib.suppress(OSError), open(path) as file:
            total += int(file.read().split()[0])
    return total / 1e9


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def on_processor(number):
    return ["taskset", "-c", str(min(number, os.cpu_count() - 1))]
