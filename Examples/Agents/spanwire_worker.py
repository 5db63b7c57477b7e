"""Do agents' work for Spanwire, in Python: one file over stock gRPC (pip install grpcio grpcio-tools).

    import spanwire_worker

    @spanwire_worker.agent("vienna-journey-guide")
    def guide(task):
        return spanwire_worker.Answer("Have a coffee.")

    spanwire_worker.run("127.0.0.1:7300", token="…", worker_id="guide-1")

A function gets a Task and returns an Answer. What it raises is a failure, after which the platform tries again, here or elsewhere;
GiveUp says that this would not help. The contract is Protos/spanwire/agents/v1/worker.proto.

    @spanwire_worker.handler("ingest_file", "my-files")
    def ingest(run):
        sized = run.step("measure", {"name": run.parameters["name"]}, lambda scratch: {"bytes": 12})
        return spanwire_worker.Result(sized, [run.store("copy", "file", "text/plain", b"Hello world!")])

serves an intent: it gets a Run and returns a Result. A step that is done is not done again, whoever goes on with the execution.
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

import google.protobuf.json_format as json_format
import google.protobuf.struct_pb2 as struct_pb2
import grpc
import grpc_tools

# The contracts: google's own, then ours, beside this checkout's examples or where SPANWIRE_PROTOS says.
sys.path.append(str(pathlib.Path(grpc_tools.__file__).parent / "_proto"))
sys.path.append(os.environ.get("SPANWIRE_PROTOS") or str(pathlib.Path(__file__).resolve().parents[2] / "Protos"))
wire, services = grpc.protos_and_services("spanwire/agents/v1/worker.proto")
agents = grpc.protos("spanwire/agents/v1/agents.proto")
executions, execution_services = grpc.protos_and_services("spanwire/executions/v1/executions.proto")
artifacts = grpc.protos("spanwire/executions/v1/artifacts.proto")

Proposal = agents.Proposal
# After these the same attachment may succeed a moment later; after any other it will not.
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED)
_functions, _handlers = {}, {}
PIECE = 256 << 10  # content goes out in pieces of this size


class GiveUp(Exception):
    """The task cannot be done, now or later, by anybody."""


@dataclasses.dataclass
class Answer:
    """What comes of a task: words for whoever asked, and proposals for others to decide."""

    text: str = ""
    proposals: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Result:
    """What comes of an execution: its output, the ids of artifacts, and records to append, each a name and an object."""

    output: dict = dataclasses.field(default_factory=dict)
    artifacts: list = dataclasses.field(default_factory=list)
    events: list = dataclasses.field(default_factory=list)


def _object(value):
    """A dict as JSON's object on the wire."""
    message = struct_pb2.Struct()
    message.update(value or {})
    return message


def _dict(message):
    return json_format.MessageToDict(message)


def handler(intent_type, handler_name, priority=0):
    """Makes a function the one that serves an intent, under the name of a handler that the credential names."""

    def register(function):
        _handlers[(intent_type, handler_name)] = (function, priority)
        return function

    return register


class Run:
    """An execution in our hands: its context, and the only ways to state, artifacts and records. All of it is under the claim's epoch."""

    def __init__(self, work, stub):
        self.claim, self.context, self.timeout_ms = work.claim, work.execution, work.timeout_ms
        self.cancelled = threading.Event()  # nobody wants the result any more
        self.parameters = _dict(self.context.intent.parameters)
        self._stub, self._under, self._scratch = stub, self.context.claim, {}

    def step(self, step_id, input, body):
        """Does a step once: what body(scratch) returned is given again wherever the execution begins anew with the same input."""
        if self.cancelled.is_set():
            raise RuntimeError("cancelled")
        begun = self._stub.BeginStep(executions.BeginStepRequest(claim=self._under, step_id=step_id, input=_object(input)))
        if begun.done:
            return _dict(begun.step.output)
        output = body(self._scratch.setdefault(step_id, {})) or {}
        self._stub.CompleteStep(executions.CompleteStepRequest(claim=self._under, step_id=step_id, output=_object(output)))
        return output

    def progress(self, step_id, percent, message=""):
        """Tells those who follow how far it is."""
        self._stub.ReportProgress(executions.ReportProgressRequest(
            claim=self._under, step_id=step_id, percent=percent, message=message))

    def session(self):
        """The session's state, and the revision it is at: 0 when there is none."""
        document = self._stub.GetState(artifacts.GetStateRequest(claim=self._under, key=self._session))
        return _dict(document.state), document.revision

    def set_session(self, state, revision, ttl_ms=0):
        """Writes the session's state, if it is at that revision still: ABORTED otherwise."""
        return self._stub.SetState(artifacts.SetStateRequest(
            claim=self._under, key=self._session, state=_object(state), expected_revision=revision, ttl_ms=ttl_ms)).revision

    def append(self, record_type, payload, key):
        """Appends a record to the execution's chain; under a key that is there already, it is there once."""
        self._stub.AppendRecord(artifacts.AppendRecordRequest(
            idempotency_key=key, claim=self._under, record_type=record_type, payload=_object(payload)))

    def store(self, name, artifact_type, media_type, content, described_by=None, parents=()):
        """Keeps content as an artifact; the same name again is the same artifact. Returns its id."""
        artifact_id = "ART-" + self.context.execution_id.partition("-")[2] + "-" + name
        known = self._stub.RegisterArtifact(artifacts.RegisterArtifactRequest(
            idempotency_key=artifact_id, claim=self._under, artifact_id=artifact_id, artifact_type=artifact_type,
            semantic_descriptor=_object(described_by), parent_artifacts=parents))
        if known.lifecycle_state == artifacts.ARTIFACT_STATE_PENDING:
            self._stub.UploadArtifact(self._pieces(artifact_id, media_type, content))
        return artifact_id

    def read(self, artifact_id):
        """The content of an artifact."""
        return b"".join(chunk.data for chunk in self._stub.ReadArtifact(
            artifacts.ReadArtifactRequest(claim=self._under, artifact_id=artifact_id)))

    @property
    def _session(self):
        return artifacts.StateKey(session_id=self.context.session_id)

    def _pieces(self, artifact_id, media_type, content):
        yield artifacts.UploadArtifactRequest(header=artifacts.UploadHeader(
            claim=self._under, artifact_id=artifact_id, format=media_type))
        for start in range(0, len(content), PIECE):
            yield artifacts.UploadArtifactRequest(chunk=content[start:start + PIECE])


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

    def __init__(self, stub, execution_stub, registration, pool, leaving):
        self.execution_stub = execution_stub
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
                        task = self.tasks.get(_name(said.cancel.claim))
                    if task:
                        task.cancelled.set()
                elif kind == "drain":
                    self.drain()
                elif kind == "refused":
                    print(f"{_name(said.refused.claim)[0]}: {said.refused.reason}", file=sys.stderr, flush=True)
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
        task = Run(work, self.execution_stub) if work.claim.execution_id else Task(work, self.say)
        task.handler_name = work.handler_name
        with self.lock:
            self.tasks[_name(work.claim)] = task
        self.pool.submit(self.perform, task)

    def perform(self, task):
        try:
            if isinstance(task, Run):
                self.say(result=wire.WorkResult(claim=task.claim, execution=self.serve(task)))
            elif not task.cancelled.is_set():
                answer = _functions[task.agent](task)
                self.say(result=wire.WorkResult(claim=task.claim, text=answer.text, proposals=answer.proposals))
        except Exception as error:  # whatever an agent raises is its failure, not the worker's
            self.say(failure=wire.WorkFailure(
                claim=task.claim, reason=type(error).__name__, message=str(error), is_final=isinstance(error, GiveUp)))
        finally:
            with self.lock:
                del self.tasks[_name(task.claim)]
                if self.draining and not self.tasks:
                    self.outgoing.put(None)

    def serve(self, run):
        function, _ = _handlers[(run.context.intent.intent_type, run.handler_name)]
        result = function(run)
        return executions.HandlerResult(
            output=_object(result.output), artifact_ids=result.artifacts,
            events=[executions.DomainEvent(record_type=name, payload=_object(payload)) for name, payload in result.events])


def _name(claim):
    """What work is known by: the task or the execution, and the epoch."""
    return claim.execution_id or claim.agent_task_id, claim.lease_epoch


def run(server, token, worker_id, concurrency=4, max_claim_ms=0, max_resident_bytes=0, version="", credentials=None):
    """Attaches and works; attaches again when the stream breaks. Returns after SIGTERM or SIGINT, or when asked to drain."""
    registration = wire.WorkerRegistration(
        worker_id=worker_id, agent_slugs=list(_functions), concurrency=concurrency, max_claim_ms=max_claim_ms,
        max_resident_bytes=max_resident_bytes, version=version, handlers=[
            wire.HandlerOffer(intent_type=intent_type, handler_name=name, priority=priority)
            for (intent_type, name), (_, priority) in _handlers.items()])
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
        authorized = _Authorized(channel, token)
        stub, execution_stub = services.AgentWorkerStub(authorized), execution_services.ExecutionsStub(authorized)
        while not stopped.is_set():
            begun = time.monotonic()
            try:
                return _Attachment(stub, execution_stub, registration, pool, leaving).run()
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
