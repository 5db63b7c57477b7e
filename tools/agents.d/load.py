"""Gives thousands of tasks of two tenants to eight workers that misbehave, cancels some, and counts.

Every task must end exactly once: completed, failed or timed out into the dead letters, or cancelled. The states of the rows, the events of
the log, the dead letters and what was given must add up, no queue may ever hold more than it may, and no answer may count that came twice
or late. Exits with 1 if something does not hold.
"""
import argparse
import collections
import concurrent.futures
import itertools
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

HOME = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(HOME / "tools/bench.d"))
from server import Server  # noqa: E402

TENANTS = ["vienna", "graz"]
WORKERS = 8
# What may be open at a time, of a tenant: OrchestratorLimits.openTasksPerTenant.
OPEN = 2048
ENDS = {
    "agent.task.result": "completed", "agent.task.failed": "failed", "agent.task.timed_out": "timed_out", "agent.task.cancelled": "cancelled",
}
TURNS = ["turn_open", "output_accepted", "turn_commit", "turn_close", "turn_stale_epoch_reject"]
BUNDLE = """
bundle_id: BND-AGENTS
agents:
  - {agent_slug: vienna-journey-guide, agent_type: journey_guide, title: Guide, intents: [suggest_next_stop], capability_tiers: [read], by_workers: true}
"""


def operator(tenant):
    return f"dev:ops:OPS-0001:{tenant}:ops_lead"


class Workers:
    """Eight processes; one that dies is started anew."""

    def __init__(self, server, seed):
        self.server, self.deaths, self.stopped = server, 0, False
        self.seeds = itertools.count(seed + 1)
        self.processes = [None] * WORKERS
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.keep, args=(number,)) for number in range(WORKERS)]
        for thread in self.threads:
            thread.start()

    def keep(self, number):
        """One after the other, until they are stopped."""
        while True:
            with self.lock:
                if self.stopped:
                    return
                program = [sys.executable, str(HOME / "tools/agents.d/wild.py"), self.server.address, f"wild-{number}", str(next(self.seeds))]
                process = self.processes[number] = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
            errors = process.communicate()[1]
            if self.stopped:
                return
            if process.returncode != 9:
                print(f"agents: a worker ended with {process.returncode}: {errors}", file=sys.stderr)
                os._exit(1)
            with self.lock:
                self.deaths += 1

    def stop(self):
        with self.lock:
            self.stopped = True
            for process in self.processes:
                if process:
                    process.kill()
        for thread in self.threads:
            thread.join()


class Tenant:
    """One tenant's side: it gives its tasks, cancels some, and counts what came of them."""

    def __init__(self, name, server, library):
        import grpc
        self.grpc, self.name, self.library = grpc, name, library
        self.channel = grpc.insecure_channel(server.address)
        authorized = library._Authorized(self.channel, operator(name))
        orchestrator = grpc.services("spanwire/agents/v1/agents.proto")
        self.agents, self.workers = orchestrator.AgentOrchestratorStub(authorized), library.services.AgentWorkerStub(authorized)
        self.events_proto, services = grpc.protos_and_services("spanwire/events/v1/events.proto")
        self.events = services.EventsStub(authorized)
        self.given, self.refused, self.cancelled = set(), 0, 0
        self.lock = threading.Condition()
        # As the log tells it: what has ended, and how many were open at a time.
        self.ended, self.open, self.most = set(), 0, 0
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        proto = self.events_proto
        request = proto.SubscribeRequest(filter=proto.EventFilter(types=["agent.task.received", *ENDS]))
        try:
            for response in self.events.Subscribe(request):
                if response.WhichOneof("item") != "event":
                    continue
                event = response.event
                with self.lock:
                    if event.type == "agent.task.received":
                        self.open += 1
                        self.most = max(self.most, self.open)
                    else:
                        self.open -= 1
                        self.ended.add(event.agent_task_id)
                    self.lock.notify_all()
        except self.grpc.RpcError:
            pass  # the server has gone, at the end or before it: then what is missing tells

    def wait(self, until):
        """Until every task that was given has ended; false when that does not come about in time."""
        with self.lock:
            return self.lock.wait_for(lambda: self.given <= self.ended, max(0, until - time.monotonic()))

    def give(self, number, chance, full):
        messages = self.library.agents
        request = messages.RunTaskRequest(
            idempotency_key=f"{self.name}-{number}", invoker="ops_console",
            context=messages.AgentContext(market_code="AT-VIE", product_runtime_session_id=f"PRS-{number % 500}"),
            task=messages.AgentTaskSpec(
                agent_type="journey_guide", intent="suggest_next_stop", constraints=messages.AgentConstraints(timeout_ms=60_000)))
        while True:
            try:
                task = self.agents.SubmitTask(request, timeout=60)
                break
            except self.grpc.RpcError as error:
                if error.code() != self.grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                if not any(key == "grpc-status-details-bin" and b"RetryInfo" in value for key, value in error.trailing_metadata()):
                    raise SystemExit("a refusal for want of room says when to try again")
                with self.lock:
                    self.refused += 1
                full.set()
                # As it was told, and not all at once.
                time.sleep(0.2 + chance / 2)
        with self.lock:
            self.given.add(task.agent_task_id)
        if chance < 0.02:
            cancel = messages.CancelTaskRequest(
                idempotency_key=f"C-{self.name}-{number}", agent_task_id=task.agent_task_id, reason="not needed")
            try:
                self.agents.CancelTask(cancel, timeout=60)
                with self.lock:
                    self.cancelled += 1
            except self.grpc.RpcError as error:
                if error.code() != self.grpc.StatusCode.FAILED_PRECONDITION:
                    raise

    def tasks(self):
        request = self.library.agents.ListTasksRequest(page_size=500)
        while True:
            page = self.agents.ListTasks(request, timeout=60)
            yield from page.tasks
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def letters(self):
        request = self.library.agents.ListDeadLettersRequest(page_size=500)
        while True:
            page = self.agents.ListDeadLetters(request, timeout=60)
            yield from page.items
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def ends(self):
        proto = self.events_proto
        request = proto.ListEventsRequest(filter=proto.EventFilter(types=[*ENDS, *TURNS]), page_size=1000)
        while True:
            page = self.events.ListEvents(request, timeout=60)
            for event in page.events:
                yield event.type, event.agent_task_id
            if page.at_end:
                return
            request.cursor = page.next_cursor


def count(tenant, faults):
    """What came of a tenant's tasks, by state."""
    def check(holds, text):
        if not holds:
            faults.append(f"{tenant.name}: {text}")

    rows = {task.agent_task_id: tenant.library.agents.AgentTaskState.Name(task.state)[len("AGENT_TASK_STATE_"):].lower() for task in tenant.tasks()}
    states = collections.Counter(rows.values())
    ends = collections.defaultdict(list)
    turns = {type: collections.Counter() for type in TURNS}
    for type, task in tenant.ends():
        if type in ENDS:
            ends[task].append(ENDS[type])
        else:
            turns[type][task] += 1
    stale = turns["turn_stale_epoch_reject"].total()
    letters = collections.Counter(item.task.agent_task_id for item in tenant.letters())
    check(set(rows) == tenant.given, f"{len(rows)} rows for {len(tenant.given)} tasks given")
    check(not states.keys() - set(ENDS.values()), f"not all ended: {dict(states)}")
    wrong = [task for task, state in rows.items() if ends[task] != [state]]
    check(not wrong, f"{len(wrong)} ended not once, or otherwise than their row says: {[(t, rows[t], ends[t]) for t in wrong[:3]]}")
    dead = {task for task, state in rows.items() if state in ("failed", "timed_out")}
    check(set(letters) == dead and all(n == 1 for n in letters.values()), f"{len(letters)} dead letters for {len(dead)} tasks that failed")
    check(states["cancelled"] == tenant.cancelled, f"{states['cancelled']} cancelled, of which {tenant.cancelled} were acknowledged")
    # One output of one turn for each task that completed, none for any other: whatever came late or twice.
    completed = {task: 1 for task, state in rows.items() if state == "completed"}
    for type in ("output_accepted", "turn_commit"):
        check(turns[type] == completed, f"{turns[type].total()} {type} for {len(completed)} tasks that completed")
    check(turns["turn_open"] == turns["turn_close"], f"{turns['turn_open'].total()} turns opened, {turns['turn_close'].total()} closed")
    check(tenant.most <= OPEN, f"{tenant.most} were open at a time, {OPEN} may be")
    return states, stale


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", help=argparse.SUPPRESS)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=None, help="of what goes wrong; printed")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 31)
    import spanwire_worker as library
    with tempfile.TemporaryDirectory(dir=HOME / ".build") as folder:
        bundle = pathlib.Path(folder) / "agents.yaml"
        bundle.write_text(BUNDLE)
        server = Server(f"{options.bin}/spanwire", folder)
        try:
            for tenant in TENANTS:
                server.command("registry", "apply", str(bundle), "--reason", "load", "--token", operator(tenant))
                # What fails here fails by chance, and not because the agent is down: its circuit stays out of it.
                server.command("breakers", "set", "agent:vienna-journey-guide", "--mode", "disabled", "--reason", "load", "--token", operator(tenant))
            sys.exit(drive(options, seed, server, library))
        finally:
            server.kill()


def drive(options, seed, server, library):
    print(f"{options.tasks} tasks of {len(TENANTS)} tenants, {WORKERS} workers, seed {seed}")
    tenants = [Tenant(name, server, library) for name in TENANTS]
    workers = None
    chances = random.Random(seed)
    begin = time.monotonic()
    try:
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            # The first tenant is greedy: three of four tasks are its. Nobody works until there is no room left for them.
            full = threading.Event()
            jobs = [
                pool.submit(tenants[0 if number % 4 else 1].give, number, chances.random(), full) for number in range(options.tasks)]
            given = threading.Thread(target=lambda: (concurrent.futures.wait(jobs), full.set()))
            given.start()
            full.wait()
            workers = Workers(server, seed)
            given.join()
            for job in jobs:
                job.result()
        # A task lasts a minute at most: what is open longer than that never ends.
        for tenant in tenants:
            tenant.wait(begin + 240)
    finally:
        if workers:
            workers.stop()
    seconds = time.monotonic() - begin
    faults = []
    total, stale = collections.Counter(), 0
    for tenant in tenants:
        states, late = count(tenant, faults)
        total += states
        stale += late
    print(f"{seconds:.0f} s; {', '.join(f'{number} {state}' for state, number in sorted(total.items()))}")
    print(f"{workers.deaths} workers crashed; {stale} late or second answers were refused; "
          f"{sum(tenant.refused for tenant in tenants)} times there was no room, with at most {max(tenant.most for tenant in tenants)} open of a tenant")
    server.command("verify")
    print("the server's own verification finds nothing")
    for fault in faults:
        print(f"agents: {fault}", file=sys.stderr)
    return 1 if faults else 0


sys.stdout.reconfigure(line_buffering=True)
main()
