"""Runs codecs over the messages of Benchmarks/Codec and prints what each way of decoding and encoding costs, with ratios and targets.

  codec.py [--reps N] [--scale F] [--instructions] [--json FILE] FOLDER NAME=PROGRAM ...     ours first

Nanoseconds of processor time; the contenders take turns, and of several repetitions the cheapest counts. A ratio says how many times as
long the peer takes; a target stands in brackets, and a ratio below it is marked.
"""

import argparse
import json
import subprocess
import sys

from count import per_operation

OPERATIONS = {"envelope": 40_000, "request": 400_000, "batch": 500}
DECODES = ["cstruct", "view", "value"]
PATHS = DECODES + ["encode", "relay"]
NAMES = {
    "cstruct": "decode to the C struct", "view": "decode to an owned view", "value": "decode to a value",
    "encode": "encode a value", "relay": "encode (relay) the C struct",
}
# Ratios wanted, against swift-protobuf and against C++ with arenas.
TARGETS = {
    "envelope": {"cstruct": (14.6, 4.0), "view": (11.3, 3.1), "value": (2.7, 0.74), "encode": (11, 1.2), "relay": (10, 1.2)},
    "request": {"cstruct": (5.2, 3.5), "view": (1.8, 1.2), "value": (2.2, 1.4), "encode": (8, 1.0), "relay": (6, 0.8)},
    "batch": {"cstruct": (14.9, 4.5), "view": (14, 4.3), "value": (2.1, 0.63), "encode": (5, 0.9), "relay": (10, 1.1)},
}


def cost(program, folder, shape, path, count):
    run = subprocess.run([program, folder, shape, path, str(count)], capture_output=True, text=True, timeout=300)
    if run.returncode != 0:
        sys.exit(f"{program} {shape} {path}: {run.stderr}")
    return float(run.stdout.split()[0]) / count


def measure(contenders, folder, repetitions, scale):
    """Nanoseconds by shape, contender and path."""
    best = {}
    ours = next(iter(contenders))
    for _ in range(repetitions):
        for shape, count in OPERATIONS.items():
            count = max(1, int(count * scale))
            for name, program in contenders.items():
                for path in PATHS if name == ours else ["decode", "encode"]:
                    figures = best.setdefault(shape, {}).setdefault(name, {})
                    figures[path] = min(figures.get(path, float("inf")), cost(program, folder, shape, path, count))
    return best


def ratio(value, target):
    if target is None:
        return f"{value:6.2f} x" + " " * 11
    return f"{value:6.2f} x [{target:g}]".ljust(18) + ("<" if value < target else " ")


def table(best, contenders):
    ours, *peers = contenders
    for shape, figures in best.items():
        print(f"\n{shape}".ljust(31) + "ours, ns".rjust(11) + "".join(peer.rjust(21) for peer in peers))
        for path in PATHS:
            mine = figures[ours][path]
            row = f"  {NAMES[path]:28s}{mine:11,.0f}"
            for index, peer in enumerate(peers):
                theirs = figures[peer]["decode" if path in DECODES else "encode"]
                target = {"swift-protobuf": 0, "C++ arenas": 1}.get(peer)
                row += "  " + ratio(theirs / mine, None if target is None else TARGETS[shape][path][target])
            print(row.rstrip())


def counts(contenders, folder):
    """Instructions and allocations of one operation."""
    ours = next(iter(contenders))
    result = {}
    for shape in OPERATIONS:
        few = 20 if shape == "batch" else 200
        for name, program in contenders.items():
            for path in PATHS if name == ours else ["decode", "encode"]:
                command = lambda count: [program, folder, shape, path, str(count)]
                result.setdefault(shape, {}).setdefault(name, {})[path] = per_operation(command, few, 3 * few, warm=1.1)
    print("\ninstructions and allocations of one operation")
    for shape, figures in result.items():
        for name, paths in figures.items():
            for path, counted in paths.items():
                print(f"  {shape:10s}{name:16s}{path:10s}{counted.instructions:12,.0f}{counted.allocations:10.2f}")
    return {shape: {name: {path: vars(each) for path, each in paths.items()} for name, paths in figures.items()}
            for shape, figures in result.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="fewer or more operations")
    parser.add_argument("--instructions", action="store_true", help="counts instructions and allocations as well, under callgrind")
    parser.add_argument("--json", help="writes the figures there as well")
    parser.add_argument("folder", nargs="?")
    parser.add_argument("contenders", nargs="*")
    options = parser.parse_args()
    contenders = dict(contender.split("=", 1) for contender in options.contenders)
    best = measure(contenders, options.folder, options.reps, options.scale)
    table(best, contenders)
    results = {"nanoseconds": best}
    if options.instructions:
        results["counts"] = counts(contenders, options.folder)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


main()
