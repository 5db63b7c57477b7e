"""Instructions and allocations of a program, counted by callgrind: the same on every run and every machine of a kind, unlike time."""

import os
import re
import subprocess
import sys
import tempfile

ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"}


def read_profile(path):
    """Instructions, and calls of the C library's allocators, of one callgrind.out file."""
    names = {}
    total = calls = 0
    callee = None
    with open(path, errors="replace") as file:
        for line in file:
            if line.startswith("cfn="):
                number, _, name = line[4:].strip().partition(" ")
                if name:
                    names[number] = name
                callee = names.get(number, "")
            elif line.startswith("fn="):
                number, _, name = line[3:].strip().partition(" ")
                if name:
                    names[number] = name
            elif line.startswith("calls=") and callee.split("'")[0] in ALLOCATORS:
                calls += int(line[6:].split()[0])
            elif line.startswith(("summary:", "totals:")):
                total = max(total, int(line.split()[1]))
    return total, calls


def count(command):
    """Runs a command to its end under callgrind."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "profile")
        run = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *command], capture_output=True, text=True, timeout=500)
        if run.returncode != 0 or not os.path.exists(out):
            sys.exit(f"{' '.join(command)} under callgrind: {run.stderr[-2000:]}")
        return read_profile(out)


def per_operation(command, few, many, warm=1.0):
    """What one operation takes: two runs that differ in their number alone, so that starting up does not count.

    `command(n)` is the command that does n operations, times `warm` if it does some more before.
    """
    (instructions, allocations), (more_instructions, more_allocations) = count(command(few)), count(command(many))
    done = (many - few) * warm
    return (more_instructions - instructions) / done, (more_allocations - allocations) / done
