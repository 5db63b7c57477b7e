"""Do agents' work for Spanwire, in Python: one file over stock gRPC (pip install grpcio grpcio-tools).

    import spanwire_worker

    @spanwire_worker.agent("vienna-journey-guide")
    def guide(task):
        return spanwire_worker.Answer("Have a coffee.")

    spanwire_worker.run("127.0.0.1:7300", token="…", worker_id="guide-1")

A function gets a Task and returns an Answer. What it raises is a failure, after which the platform tries again, here or elsewhere;
GiveUp says that this would not help. The contract is Protos/spanwire/agents/v1/worker.proto.
"""
import concurrent.futures
import dataclasses
import os
import pathlib
import queue
import random
import resource
import signal
import sys
import threading
import time

import grpc
import grpc_tools

# The contracts: google's own, then ours, beside this checkout's examples or where SPANWIRE_PROTOS says.
sys.path.append(str(pathlib.Path(grpc_tools.__file__).parent / "_proto"))
sys.path.append(os.environ.get("SPANWIRE_PROTOS") or str(pathlib.Path(__file__).resolve().parents[2] / "Protos"))
wire, services = grpc.protos_and_services("spanwire/agents/v1/worker.proto")
agents = grpc.protos("spanwire/agents/v1/agents.proto")

Proposal = agents.Proposal
# After these the same attachment may succeed a moment later; after any other it will not.
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED)
_functions = {}


class GiveUp(Exception):
    """The task cannot be done, now or later, by anybody."""


@dataclasses.dataclass
class Answer:
    """What comes of a task: words for whoever asked, and proposals for others to decide."""

    text: str = ""
    proposals: list = dataclasses.field(default_factory=list)


def agent(slug):
    """Makes a function the one that does an agent's tasks."""

    def register(function):
        _functions[slug] = function
        return function

    return register


class Task:
    """A task in our hands: what is asked (task), in which session and place (context), and until when (seconds left at its start)."""

    def __init__(self, work, say):
        self.claim, self.agent, self.context, self.task = work.claim, work.agent_slug, work.context, work.task
        self.seconds, self.traceparent = work.timeout_ms / 1000, work.traceparent
        self.cancelled = threading.Event()  # nobody wants the answer any more
        self._say = say

    def progress(self, stage, percent, message=""):
        """Tells whoever asked how far it is."""
        self._say(progress=wire.WorkProgress(
            claim=self.claim, progress=agents.Progress(stage=stage, percent=percent, message=message)))

    def partial(self, text):
        """Sends a piece of the answer ahead."""
        self._say(partial=wire.WorkPartial(claim=self.claim, partial=agents.Partial(text=text)))


class _Attachment:
    """One stream to the platform, from registration to its end."""

    def __init__(self, stub, registration, pool, leaving):
        self.stub, self.registration, self.pool, self.leaving = stub, registration, pool, leaving
        self.outgoing, self.tasks, self.lock = queue.Queue(), {}, threading.Lock()
        self.draining = False

    def say(self, **kind):
        self.outgoing.put(wire.AttachRequest(**kind))

    def run(self):
        """Works until the stream ends; returns when the platform or a signal asked for that."""
        self.say(registration=self.registration)
        self.leaving.add(self.drain)
        ended = threading.Event()
        try:
            for said in self.stub.Attach(iter(self.outgoing.get, None)):
                kind = said.WhichOneof("kind")
                if kind == "registered":
                    threading.Thread(target=self.beat, args=(said.registered.heartbeat_ms / 1000, ended), daemon=True).start()
                elif kind == "work":
                    self.begin(said.work)
                elif kind == "cancel":
                    with self.lock:
                        task = self.tasks.get((said.cancel.claim.agent_task_id, said.cancel.claim.lease_epoch))
                    if task:
                        task.cancelled.set()
                elif kind == "drain":
                    self.drain()
                elif kind == "refused":
                    print(f"{said.refused.claim.agent_task_id}: {said.refused.reason}", file=sys.stderr, flush=True)
        finally:
            ended.set()
            self.leaving.discard(self.drain)
            self.outgoing.put(None)
            with self.lock:
                for task in self.tasks.values():
                    task.cancelled.set()

    def beat(self, seconds, ended):
        while not ended.wait(seconds):
            with open("/proc/self/statm") as statm:
                resident = int(statm.read().split()[1]) * resource.getpagesize()
            self.say(heartbeat=wire.WorkerHeartbeat(resident_bytes=resident))

    def drain(self):
        """Takes no more work; the stream ends with the last answer."""
        with self.lock:
            if self.draining:
                return
            self.draining = True
            self.say(draining=wire.WorkerDraining())
            if not self.tasks:
                self.outgoing.put(None)

    def begin(self, work):
        task = Task(work, self.say)
        with self.lock:
            self.tasks[(work.claim.agent_task_id, work.claim.lease_epoch)] = task
        self.pool.submit(self.perform, task)

    def perform(self, task):
        try:
            if not task.cancelled.is_set():
                answer = _functions[task.agent](task)
                self.say(result=wire.WorkResult(claim=task.claim, text=answer.text, proposals=answer.proposals))
        except Exception as error:  # whatever an agent raises is its failure, not the worker's
            self.say(failure=wire.WorkFailure(
                claim=task.claim, reason=type(error).__name__, message=str(error), is_final=isinstance(error, GiveUp)))
        finally:
            with self.lock:
                del self.tasks[(task.claim.agent_task_id, task.claim.lease_epoch)]
                if self.draining and not self.tasks:
                    self.outgoing.put(None)


def run(server, token, worker_id, concurrency=4, max_claim_ms=0, max_resident_bytes=0, version="", credentials=None):
    """Attaches and works; attaches again when the stream breaks. Returns after SIGTERM or SIGINT, or when asked to drain."""
    registration = wire.WorkerRegistration(
        worker_id=worker_id, agent_slugs=list(_functions), concurrency=concurrency, max_claim_ms=max_claim_ms,
        max_resident_bytes=max_resident_bytes, version=version)
    leaving, stopped = set(), threading.Event()

    def leave(*_):
        stopped.set()
        # A signal's handler runs between any two instructions: what takes locks is done elsewhere.
        for drain in list(leaving):
            threading.Thread(target=drain).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    # Whoever started this program may have had them blocked.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    channel = grpc.secure_channel(server, credentials) if credentials else grpc.insecure_channel(server)
    pause = 0.1
    with channel, concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        stub = services.AgentWorkerStub(_Authorized(channel, token))
        while not stopped.is_set():
            begun = time.monotonic()
            try:
                return _Attachment(stub, registration, pool, leaving).run()
            except grpc.RpcError as error:
                if error.code() not in PASSING:
                    raise
            pause = 0.1 if time.monotonic() - begun > 10 else min(pause * 2, 5)
            stopped.wait(pause * random.uniform(0.5, 1))


class _Authorized:
    """A channel that sends the credential along."""

    def __init__(self, channel, token):
        self.channel, self.metadata = channel, (("authorization", f"Bearer {token}"),)

    def __getattr__(self, name):
        make = getattr(self.channel, name)

        def made(*arguments, **options):
            call = make(*arguments, **options)
            return lambda request, **more: call(request, metadata=self.metadata, **more)

        return made
