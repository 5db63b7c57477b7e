"""Instructions and allocations of a program, counted by callgrind: nearly the same on every run and every machine of a kind, unlike time."""

import os
import signal
import subprocess
import sys
import tempfile

ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"}


class Counts:
    """What a program did: instructions, allocations of nghttp2's, and all the others."""

    def __init__(self, instructions=0.0, allocations=0.0, nghttp2=0.0):
        self.instructions, self.allocations, self.nghttp2 = instructions, allocations, nghttp2

    def per_operation(self, fewer, operations):
        """What one of the operations took by which this run had more than another."""
        return Counts(
            (self.instructions - fewer.instructions) / operations, (self.allocations - fewer.allocations) / operations,
            (self.nghttp2 - fewer.nghttp2) / operations)


def read_profile(path):
    """Of a callgrind.out file. A name is written out where it comes first, and stands as its number from then on."""
    functions, objects = {}, {}
    counts = Counts()
    caller, callee = "", ""

    def name(table, text):
        number, _, written = text.strip().partition(" ")
        return table.setdefault(number, written) if written else table.get(number, "")

    with open(path, errors="replace") as file:
        for line in file:
            kind, _, value = line.partition("=")
            if kind == "ob":
                caller = name(objects, value)
            elif kind == "cob":
                name(objects, value)
            elif kind == "fn":
                name(functions, value)
            elif kind == "cfn":
                callee = name(functions, value).split("'")[0]
            elif kind == "calls" and callee in ALLOCATORS:
                if "nghttp2" in caller:
                    counts.nghttp2 += int(value.split()[0])
                else:
                    counts.allocations += int(value.split()[0])
            elif line.startswith("totals:"):
                counts.instructions = int(line.split()[1])
    return counts


def count(command, during=None):
    """Runs a command under callgrind to its end; `during` gets the process while it runs, and must see to its end."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "profile")
        log = os.path.join(folder, "log")
        process = subprocess.Popen(
            # Fair: a thread that never gets its turn would leave the process without what that thread sets up.
            ["valgrind", "--tool=callgrind", "--fair-sched=try", f"--callgrind-out-file={out}", f"--log-file={log}", *command], stdout=subprocess.DEVNULL)
        try:
            if during:
                during(process)
            process.wait(500)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        # A server told to end before it listens for that ends all the same, and its profile is there.
        if process.returncode not in (0, -signal.SIGTERM) or not os.path.exists(out):
            with open(log) as file:
                sys.exit(f"{' '.join(command)} under callgrind: exit {process.returncode}\n{file.read()[-2000:]}")
        return read_profile(out)


def per_operation(command, few, many, warm=1.0):
    """What one operation takes: two runs that differ in their number alone, so that starting up does not count.

    `command(n)` is the command that does n operations, times `warm` if it does some more before.
    """
    return count(command(many)).per_operation(count(command(few)), (many - few) * warm)
