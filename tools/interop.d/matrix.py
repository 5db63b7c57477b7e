"""Puts our client before the peers' servers and the peers' clients before ours, case by case, and prints what came of it."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from peers import BUILD, CASES, PEERS, ours
from serving import await_serving, free_port

# The name that the certificate of every server here bears.
SERVER_NAME = "foo.test.google.fr"
# A case that has not ended by then hangs.
CASE_SECONDS = 60
# What servers printed.
LOGS = f"{BUILD}/logs"
# For clients that take more than the public flags: enough calls at a time to fill a connection, and soaks that stand a busy machine.
EXTRAS = ["--concurrent_calls=100", "--soak_per_iteration_max_acceptable_latency_ms=10000"]


class Server:
    """A server's process, from when it listens until the end of the block."""

    def __init__(self, peer, tls, certificates, log):
        self.port = free_port()
        command = peer.server + [f"--port={self.port}", f"--use_tls={str(tls).lower()}"]
        if tls and not peer.is_public:
            command += [f"--tls_cert_file={certificates}/server1.pem", f"--tls_key_file={certificates}/server1.key"]
        self.log = log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                command, env=os.environ | peer.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def __enter__(self):
        if await_serving(self.port, self.process):
            return self
        self.__exit__()
        raise RuntimeError(f"the server did not start: {self.log}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run_case(peer, case, port, tls, certificates):
    """Runs a client once; the result is an empty text, or what went wrong."""
    command = peer.client + ["--server_host=127.0.0.1", f"--server_port={port}", f"--test_case={case}", f"--use_tls={str(tls).lower()}"]
    if tls:
        command.append(f"--server_host_override={SERVER_NAME}")
        command.append("--use_test_ca=true" if peer.is_public else f"--ca_file={certificates}/ca.pem")
    if not peer.is_public:
        command += EXTRAS
    try:
        done = subprocess.run(
            command, env=os.environ | peer.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=CASE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"did not end within {CASE_SECONDS} s"
    if done.returncode == 0:
        return ""
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return " | ".join(lines[-4:]) or f"exit {done.returncode}"


def run_column(name, role, cases, peer, us):
    """One peer in one role: all cases in the clear, then all over TLS."""
    server, client = (peer, us) if role == "server" else (us, peer)
    results = []
    for tls in (False, True):
        todo = [case for case in cases if (role, case) not in peer.cannot]
        outcomes = {}
        try:
            with Server(server, tls, peer.certificates, f"{LOGS}/{name}-{role}{'-tls' if tls else ''}.log") as running:
                for case in todo:
                    start = time.monotonic()
                    outcomes[case] = (run_case(client, case, running.port, tls, peer.certificates), time.monotonic() - start)
            if server is us and running.process.returncode != 0:
                raise RuntimeError(f"our server ended with {running.process.returncode} when it was told to end")
        except RuntimeError as error:
            outcomes = {case: (str(error), 0) for case in todo}
        for case in cases:
            detail, seconds = outcomes.get(case, (peer.cannot.get((role, case)), 0))
            outcome = "n/a" if case not in outcomes else "failed" if detail else "ok"
            results.append(dict(peer=name, role=role, tls=tls, case=case, outcome=outcome, detail=detail, seconds=round(seconds, 3)))
    return results


def title(name, role):
    if name == "self":
        return "ours to ours"
    return f"{name} to ours" if role == "client" else f"ours to {name}"


def paint(text, colour, width):
    text = text.ljust(width)
    return f"\033[{colour}m{text}\033[0m" if sys.stdout.isatty() else text


def print_matrix(columns, cases, results):
    width = max(len(case) for case in cases) + 2
    print(" " * width + "  ".join(title(*column).ljust(14) for column in columns))
    for case in cases:
        cells = []
        for name, role in columns:
            outcomes = {each["tls"]: each["outcome"] for each in results if (each["peer"], each["role"], each["case"]) == (name, role, case)}
            broken = [label for tls, label in ((False, "clear"), (True, "TLS")) if outcomes[tls] == "failed"]
            text = "failed " + ",".join(broken) if broken else outcomes[False]
            cells.append(paint(text, {"ok": 32, "n/a": 90}.get(text, 31), 14))
        print(case.ljust(width) + "  ".join(cells))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", action="append", choices=["self", *PEERS])
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--json")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--ours")
    options = parser.parse_args()
    peers = {name: make() for name, make in PEERS.items() if not options.peer or name in options.peer}
    if options.list:
        for name, peer in peers.items():
            for (role, case), reason in peer.cannot.items():
                print(f"{title(name, role):16}{case:30}{reason}")
        return 0
    us = ours(options.ours)
    if not options.peer or "self" in options.peer:
        peers = {"self": us} | peers
    cases = [case for case in CASES if not options.case or case in options.case]
    columns = [(name, role) for name in peers for role in (["server"] if name == "self" else ["server", "client"])]
    os.makedirs(LOGS, exist_ok=True)
    start = time.monotonic()
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = sum(pool.map(lambda column: run_column(*column, cases, peers[column[0]], us), columns), [])
    print_matrix(columns, cases, results)
    # What is alike is said once.
    alike = {}
    for each in results:
        if each["outcome"] == "n/a" and not each["tls"]:
            alike.setdefault((title(each["peer"], each["role"]), "n/a", "", each["detail"]), []).append(each["case"])
        elif each["outcome"] == "failed":
            over = " over TLS" if each["tls"] else ""
            alike.setdefault((title(each["peer"], each["role"]), "failed", over, each["detail"]), []).append(each["case"])
    for (who, outcome, over, detail), which in alike.items():
        print(f"{outcome}  {who}{over}, {', '.join(which)}: {detail}")
    counts = {outcome: sum(each["outcome"] == outcome for each in results) for outcome in ("ok", "failed", "n/a")}
    print(f"{counts['ok']} ok, {counts['failed']} failed, {counts['n/a']} n/a in {time.monotonic() - start:.0f} s")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=2)
    return 1 if counts["failed"] else 0


signal.signal(signal.SIGPIPE, signal.SIG_DFL)
sys.exit(main())
