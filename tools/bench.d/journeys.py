"""Many journeys at once, through real RPC on a data folder on disk: what they take of memory and processor, waiting and walking.

  journeys.py [--journeys N] [--callers N] [--data DIR] [--home DIR --stubs DIR] SPANWIRE

Starts N journeys, takes a step in each that sets a timer of an hour, looks what the server does while all of them wait, kills it
with SIGKILL, and starts it again on a clock that is three hours on: every timer has come due, and must fire once. Exits with 1 when
one does not, or fires twice, or when waiting takes processor time.
"""

import argparse
import collections
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import processes

# Tuesday: before the journeys, and when their timers have come due.
MORNING, NOON = "2026-05-19T09:00:00+02:00", "2026-05-19T12:00:00+02:00"
OPERATOR = "dev:ops:OPS-0001:vienna:ops_lead"
TRAVELLER = "dev:user:USR-{}:vienna:traveller"
# Processor time of a second in which nothing happens: heartbeats, and the alarm for the next timer.
IDLE_SHARE = 0.05

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--journeys", type=int, default=10_000)
parser.add_argument("--callers", type=int, default=16)
parser.add_argument("--data", help="the server's data folder; a fresh one under .build unless told, which is removed")
parser.add_argument("--home", default=".")
parser.add_argument("--stubs", default=".build/journeys-stubs")
parser.add_argument("program")
options = parser.parse_args()
sys.path.insert(0, options.stubs)

from spanwire.events.v1 import events_pb2, events_pb2_grpc  # noqa: E402
from spanwire.gateway.v1 import gateway_pb2, gateway_pb2_grpc  # noqa: E402
from spanwire.journeys.v1 import journeys_pb2, journeys_pb2_grpc  # noqa: E402


class Server:
    def __init__(self, data, clock):
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [options.program, "serve", "--dev", "--data", data, "--listen", "127.0.0.1:0", "--clock", clock],
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.start_seconds = time.monotonic() - begin
        if not line.startswith("listening on "):
            sys.exit(f"journeys: the server did not start: {line}")
        self.address = line.split()[2]

    def apply(self, bundle):
        subprocess.run(
            [options.program, "registry", "apply", bundle, "--server", self.address], check=True, stdout=subprocess.DEVNULL,
            env=dict(os.environ, SPANWIRE_TOKEN=OPERATOR))

    def processor_seconds(self):
        return processes.processor_seconds(self.process.pid)

    def resident_mib(self):
        return processes.resident_mib(self.process.pid)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


class Clients:
    """Each caller's own connection, and the operator's."""

    def __init__(self, server):
        self.channels = [
            grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(options.callers)
        ]
        self.gateways = [gateway_pb2_grpc.ProductRuntimeGatewayStub(channel) for channel in self.channels]
        self.journeys = journeys_pb2_grpc.JourneyRuntimeStub(self.channels[0])
        self.events = events_pb2_grpc.EventsStub(self.channels[0])
        self.operator = [("authorization", f"Bearer {OPERATOR}")]

    def each(self, count, work):
        """Does work(number, gateway, metadata) for every number, each caller one call after the other; returns the answers."""

        def caller(index):
            gateway, answers = self.gateways[index], {}
            metadata = [("authorization", f"Bearer {TRAVELLER.format(index)}")]
            for number in range(index, count, options.callers):
                answers[number] = work(number, gateway, metadata)
            return answers

        merged = {}
        with ThreadPoolExecutor(options.callers) as pool:
            for answers in pool.map(caller, range(options.callers)):
                merged.update(answers)
        return merged

    def timers_fired(self):
        """How often each journey's timer has fired, as the log tells."""
        request = events_pb2.SubscribeRequest(
            filter=events_pb2.EventFilter(types=["journey.timer.fired"]), until_end=True)
        fired = collections.Counter()
        for response in self.events.Subscribe(request, metadata=self.operator):
            if response.WhichOneof("item") == "event":
                fired[response.event.journey_instance_id] += 1
        return fired

    def close(self):
        for channel in self.channels:
            channel.close()


def measured(name, server, count, work):
    cpu, begin = server.processor_seconds(), time.monotonic()
    answers = work()
    seconds, cpu = time.monotonic() - begin, server.processor_seconds() - cpu
    print(
        f"{name}: {count / seconds:.0f}/s, {cpu / count * 1e6:.0f} us of processor each, {server.resident_mib():.1f} MiB resident",
        flush=True)
    return answers


def open_session(number, gateway, metadata):
    request = gateway_pb2.OpenSessionRequest(
        idempotency_key=f"open-{number}", product_id="PRD-WAITS", market_code="AT-VIE", segments=["tourist"])
    return gateway.OpenSession(request, metadata=metadata).product_runtime_session_id


def main():
    data = options.data or tempfile.mkdtemp(prefix="journeys-", dir=os.path.join(options.home, ".build"))
    count, missed = options.journeys, []
    server = Server(data, MORNING)
    try:
        for bundle in ("Samples/vienna-coffee-pass.yaml", "Benchmarks/Journeys/waits.yaml"):
            server.apply(os.path.join(options.home, bundle))
        clients = Clients(server)
        print(f"{count} journeys, {options.callers} callers; {server.resident_mib():.1f} MiB resident before")
        sessions = measured("sessions opened", server, count, lambda: clients.each(count, open_session))

        def start(number, gateway, metadata):
            request = gateway_pb2.StartSessionJourneyRequest(
                idempotency_key=f"start-{number}", product_runtime_session_id=sessions[number])
            return gateway.StartJourney(request, metadata=metadata).journey_instance_id

        journeys = measured("journeys started", server, count, lambda: clients.each(count, start))

        def step(number, gateway, metadata):
            request = gateway_pb2.AdvanceSessionJourneyRequest(
                idempotency_key=f"step-{number}", product_runtime_session_id=sessions[number], node_id="ready",
                choose=journeys_pb2.Choose(option="yes"))
            gateway.AdvanceJourney(request, metadata=metadata)

        measured("steps that set a timer", server, count, lambda: clients.each(count, step))

        cpu, begin = server.processor_seconds(), time.monotonic()
        time.sleep(5)
        share = (server.processor_seconds() - cpu) / (time.monotonic() - begin)
        print(f"all of them waiting: {share * 100:.2f} % of a processor, {server.resident_mib():.1f} MiB resident")
        if share > IDLE_SHARE:
            missed.append(f"waiting takes {share * 100:.1f} % of a processor")
        begin = time.monotonic()
        page = clients.journeys.ListJourneys(
            journeys_pb2.ListJourneysRequest(state=journeys_pb2.JOURNEY_STATE_RUNNING, page_size=50), metadata=clients.operator)
        print(f"a page of 50 of the running ones: {(time.monotonic() - begin) * 1e3:.1f} ms")
        if len(page.journeys) != min(50, count):
            missed.append("the list is short")
        clients.close()
        server.kill()

        server = Server(data, NOON)
        begin = time.monotonic()
        clients = Clients(server)
        fired = collections.Counter()
        while len(fired) < count and time.monotonic() < begin + 120 + count / 100:
            time.sleep(0.5)
            fired = clients.timers_fired()
        seconds, cpu = time.monotonic() - begin, server.processor_seconds()
        print(
            f"killed and started again in {server.start_seconds:.2f} s: {len(fired)} timers fired in {seconds:.1f} s, "
            f"{cpu / max(1, len(fired)) * 1e6:.0f} us of processor each, {server.resident_mib():.1f} MiB resident")
        # A second look, after all that could still fire.
        time.sleep(1)
        fired = clients.timers_fired()
        if set(fired) != set(journeys.values()):
            missed.append(f"{count - len(fired)} timers did not fire")
        if any(times > 1 for times in fired.values()):
            missed.append("timers fired twice")

        def read(number, gateway, metadata):
            request = gateway_pb2.AdvanceSessionJourneyRequest(
                idempotency_key=f"read-{number}", product_runtime_session_id=sessions[number], node_id="over",
                acknowledge=journeys_pb2.Acknowledge())
            return gateway.AdvanceJourney(request, metadata=metadata).state

        states = measured("steps that end a journey", server, count, lambda: clients.each(count, read))
        if set(states.values()) != {journeys_pb2.JOURNEY_STATE_COMPLETED}:
            missed.append("not every journey was completed")
        clients.close()
    finally:
        server.kill()
        if not options.data:
            subprocess.run(["rm", "-rf", data], check=False)
    for text in missed:
        print(f"missed: {text}")
    return 1 if missed else 0


sys.exit(main())
