#!/usr/bin/env python3
"""The traveller of the day in Vienna: a Python program on stock gRPC.

    traveller.py --server HOST:PORT --stubs DIR [--journal FILE] [--run ID] [--json] [--no-operator]

Stubs are made by grpcio-tools from Protos/. Every mutating call carries an idempotency key made of the run and the step, so a
call whose answer was lost is simply made again; FILE records what the server acknowledged, one JSON line a step. The exit
code is 0 only if every step did what it should.
"""
import argparse
import json
import os
import sys
import time

import grpc

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--server", default="127.0.0.1:7300")
parser.add_argument("--stubs", required=True, help="folder of the generated stubs")
parser.add_argument("--journal", help="where to record what was acknowledged")
parser.add_argument("--run", default=None, help="names this day; the same run repeats nothing that was done")
parser.add_argument("--tenant", default="vienna")
parser.add_argument("--user", default="USR-0001")
parser.add_argument("--patience", type=float, default=60, help="seconds to keep trying while the server is away")
parser.add_argument("--no-operator", action="store_true", help="nobody blocks a café: go to the third one")
parser.add_argument("--json", action="store_true", help="print one JSON object a step")
options = parser.parse_args()
sys.path.insert(0, options.stubs)

from google.protobuf.json_format import MessageToDict  # noqa: E402
from google.rpc import error_details_pb2, status_pb2  # noqa: E402
from opentelemetry import trace as otel  # noqa: E402
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: E402
from opentelemetry.sdk.resources import Resource  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.id_generator import IdGenerator  # noqa: E402
from spanwire.agents.v1 import agents_pb2  # noqa: E402
from spanwire.city.v1 import lem_pb2  # noqa: E402
from spanwire.entitlements.v1 import trutta_pb2, trutta_pb2_grpc  # noqa: E402
from spanwire.gateway.v1 import gateway_pb2 as pb, gateway_pb2_grpc  # noqa: E402
from spanwire.journeys.v1 import journeys_pb2  # noqa: E402

RUN = options.run or os.urandom(6).hex()
TOKEN = f"dev:user:{options.user}:{options.tenant}:traveller"
AGENT_TOKEN = f"dev:agent:vienna-trip-planner:{options.tenant}:external_agent"


class Failed(Exception):
    """A step did not do what it should."""


class DayIds(IdGenerator):
    """One trace for the whole day, the same when the run is taken up again."""

    def __init__(self):
        halves = []
        for value in (0xCBF29CE484222325, 0x84222325CBF29CE4):  # FNV-1a, as the operator computes it
            for byte in f"spanwire-day-{RUN}".encode():
                value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
            halves.append(value)
        self.trace = halves[0] << 64 | halves[1]

    def generate_trace_id(self):
        return self.trace

    def generate_span_id(self):
        return int.from_bytes(os.urandom(8), "big") or 1


provider = TracerProvider(resource=Resource.create({"service.name": "traveller"}), id_generator=DayIds())
provider.add_span_processor(
    SimpleSpanProcessor(
        OTLPSpanExporter(endpoint=options.server, insecure=True, headers=(("authorization", f"Bearer {TOKEN}"),), timeout=5)
    )
)
tracer = provider.get_tracer("traveller")


def say(step, text, **facts):
    if options.json:
        print(json.dumps({"step": step, "text": text, **facts}), flush=True)
    else:
        print(f"  traveller  {text}", flush=True)


def check(condition, complaint):
    if not condition:
        raise Failed(complaint)


def journal(step, key, response):
    if options.journal:
        with open(options.journal, "a") as f:
            f.write(json.dumps({"step": step, "key": key, "response": MessageToDict(response)}) + "\n")
            f.flush()
            os.fsync(f.fileno())


channel = grpc.insecure_channel(
    options.server,
    options=[("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)],
)
prg = gateway_pb2_grpc.ProductRuntimeGatewayStub(channel)
trutta = trutta_pb2_grpc.TruttaStub(channel)


def metadata(token=TOKEN):
    span = otel.get_current_span().get_span_context()
    return [("authorization", f"Bearer {token}"), ("traceparent", f"00-{span.trace_id:032x}-{span.span_id:016x}-01")]


AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


def insist(step, attempt):
    """Makes a call again while the server is away; the idempotency key makes that safe."""
    end = time.monotonic() + options.patience
    while True:
        try:
            return attempt()
        except grpc.RpcError as error:
            away = error.code() in AWAY and ("Socket closed" in error.details() or "connect" in error.details().lower() or error.code() == grpc.StatusCode.UNAVAILABLE)
            if not away or time.monotonic() > end:
                raise
            try:
                grpc.channel_ready_future(channel).result(timeout=max(0.1, end - time.monotonic()))
            except grpc.FutureTimeoutError:
                raise error from None


def do(step, method, request, quiet=False):
    """One unary call of the day: traced, repeated while the server is away, and journaled once acknowledged."""
    key = f"{RUN}-{step}"
    if "idempotency_key" in request.DESCRIPTOR.fields_by_name:
        request.idempotency_key = key
    with tracer.start_as_current_span(step):
        response = insist(step, lambda: method(request, timeout=30, metadata=metadata()))
    if not quiet:
        journal(step, key, response)
    return response


def ask(step, session, task, **more):
    """Asks an agent and returns (updates by kind, proposals, result)."""
    request = pb.AskAgentRequest(idempotency_key=f"{RUN}-{step}", product_runtime_session_id=session, task=task, **more)

    def attempt():
        kinds, proposals, result = [], [], None
        for update in prg.AskAgent(request, timeout=30, metadata=metadata()):
            kind = update.WhichOneof("update")
            kinds.append(kind)
            if kind == "proposal":
                proposals.append(update.proposal)
            elif kind == "result":
                result = update.result
            elif kind == "progress":
                say(step, f"… {update.progress.message or update.progress.stage}")
        return kinds, proposals, result

    with tracer.start_as_current_span(step):
        kinds, proposals, result = insist(step, attempt)
    check(kinds and kinds[0] == "receipt", f"{step}: the answer must begin with a receipt, it began with {kinds[:1]}")
    check(kinds[-1] == "result", f"{step}: the answer must end with the result, it ended with {kinds[-1:]}")
    journal(step, request.idempotency_key, result)
    return kinds, proposals, result


def active(journey):
    """The node the traveller stands at."""
    nodes = [n for n in journey.nodes if n.state in (journeys_pb2.NODE_STATE_ACTIVE, journeys_pb2.NODE_STATE_BLOCKED)]
    check(nodes, f"no node is active; the journey is {journeys_pb2.JourneyState.Name(journey.state)}")
    return nodes[0]


def advance(step, session, node, **kind):
    return do(step, prg.AdvanceJourney, pb.AdvanceSessionJourneyRequest(product_runtime_session_id=session, node_id=node, **kind))


def journey_of(session):
    return do("look", prg.GetJourney, pb.GetSessionJourneyRequest(product_runtime_session_id=session), quiet=True)


def await_node(session, wanted):
    """Follows the session's events until the traveller stands at one of `wanted`."""
    end = time.monotonic() + options.patience
    cursor = ""
    while time.monotonic() < end:
        journey = journey_of(session)
        node = active(journey)
        if (node.node_id, node.state) in wanted or (node.node_id, None) in wanted:
            return journey, node
        request = pb.WatchSessionRequest(product_runtime_session_id=session, cursor=cursor, types=["journey.*"])
        try:
            for item in prg.WatchSession(request, timeout=max(1, end - time.monotonic()), metadata=metadata()):
                if item.WhichOneof("item") == "event":
                    cursor = item.event.log_position
                    node = active(journey_of(session))
                    if (node.node_id, node.state) in wanted or (node.node_id, None) in wanted:
                        return journey_of(session), node
        except grpc.RpcError as error:
            if error.code() not in AWAY:
                raise
            grpc.channel_ready_future(channel).result(timeout=options.patience)
    raise Failed(f"waited in vain for {wanted}")


def refusal(error):
    """The rule that refused, from the status details."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            for detail in status.details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason, info.metadata.get("rule", "")
    return "", ""


def visit_and_redeem(number, session, entitlement):
    journey = journey_of(session)
    node = active(journey)
    place = node.service_point_id or journey.current_service_point_id
    if node.node_id == "visit":
        status = do("hours", prg.GetServicePoint, lem_pb2.GetServicePointRequest(service_point_id=place), quiet=True)
        check(status.open_state == lem_pb2.OPEN_STATE_OPEN, f"{place} is not open: the route must respect opening hours")
        advance(f"arrive-{number}", session, "visit", arrived=journeys_pb2.Arrived(service_point_id=place))
        say(f"arrive-{number}", f"arrives at {status.service_point.name}, open until {status.open_until.ToJsonString()}")
    journey = advance(f"redeem-{number}", session, "redeem", redeem=journeys_pb2.Redeem())
    node = active(journey)
    check(node.node_id == "more", f"after redeeming the journey should ask for more, it stands at {node.node_id}")
    say(f"redeem-{number}", "has a coffee: one token redeemed", service_point=place)


def day():
    opened = do(
        "open",
        prg.OpenSession,
        pb.OpenSessionRequest(
            product_id="PRD-VIEN-COFFEE-PASS", market_code="AT-VIE", segments=["tourist"], experiment_keys=["EXP-PASS-SIZE"]
        ),
    )
    session = opened.product_runtime_session_id
    check(opened.state == pb.SESSION_STATE_READY, f"the session should be ready, it is {pb.SessionState.Name(opened.state)}: {opened.state_reason}")
    say("open", f"opens a session on the Vienna Coffee Pass: {session}", session=session)

    bought = do("buy", prg.Purchase, pb.PurchaseRequest(product_runtime_session_id=session, payment_reference=f"PAY-{RUN}"))
    check(len(bought.entitlements) == 1 and bought.entitlements[0].issued == 3, "the pass should hold three coffees")
    entitlement = bought.entitlements[0].entitlement_id
    say("buy", f"buys {bought.variant_id}: {bought.entitlements[0].issued} coffees", entitlement=entitlement)

    journey = do("start", prg.StartJourney, pb.StartSessionJourneyRequest(product_runtime_session_id=session))
    check(active(journey).node_id == "plan", f"the journey should wait for a plan, it stands at {active(journey).node_id}")
    say("start", f"starts the journey {journey.journey_instance_id}", journey=journey.journey_instance_id)

    here = lem_pb2.GeoPoint(latitude=48.2085, longitude=16.3721)  # Stephansplatz
    say("plan", "asks the trip planner for a route")
    kinds, proposals, result = ask(
        "plan", session, agents_pb2.AgentTaskSpec(agent_type="trip_planner", intent="build_initial_route"), position=here
    )
    routes = [p for p in proposals if p.WhichOneof("kind") == "route"]
    check(routes, "the trip planner should propose a route")
    for stop in routes[0].route.route.stops:
        check(stop.leave_at.ToNanoseconds() <= stop.open_until.ToNanoseconds(), f"{stop.name} closes before the visit ends")
        say("plan", f"   {stop.arrive_at.ToJsonString()}  {stop.name}, {stop.walking_metres:.0f} m on foot")
    accepted = do("accept", prg.AcceptProposal, pb.DecideProposalRequest(product_runtime_session_id=session, proposal_id=routes[0].proposal_id))
    check(list(accepted.journey.route)[-len(routes[0].route.service_point_ids) :] == list(routes[0].route.service_point_ids), "the route should be the accepted one")
    say("accept", f"accepts it: {len(routes[0].route.service_point_ids)} stops")

    visit_and_redeem(1, session, entitlement)
    advance("more-1", session, "more", choose=journeys_pb2.Choose(option="next_stop"))
    visit_and_redeem(2, session, entitlement)

    say("forbidden", "asks support to redeem the last coffee for her")
    kinds, proposals, result = ask(
        "forbidden", session, agents_pb2.AgentTaskSpec(agent_type="support", intent="explain_limits", message="Please redeem my last coffee for me.")
    )
    refused = [p for p in proposals if p.WhichOneof("kind") == "requested_action"]
    check(refused and refused[0].state == agents_pb2.PROPOSAL_STATE_REFUSED, "an agent's wish to redeem must be refused")
    check(refused[0].refused_rule == "AGENT-FORBIDDEN-REDEEM", f"refused by {refused[0].refused_rule}")
    try:
        do("forbidden-accept", prg.AcceptProposal, pb.DecideProposalRequest(product_runtime_session_id=session, proposal_id=refused[0].proposal_id))
        raise Failed("a refused action was accepted")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.PERMISSION_DENIED, f"expected PERMISSION_DENIED, got {error.code()}: {error.details()}")
        check(refusal(error)[1] == "AGENT-FORBIDDEN-REDEEM", f"the details should name the rule, they say {refusal(error)}")
    with tracer.start_as_current_span("agent-redeems"):
        try:
            insist("agent-redeems", lambda: trutta.Redeem(
                trutta_pb2.RedeemRequest(idempotency_key=f"{RUN}-theft", entitlement_id=entitlement, quantity=1), timeout=10, metadata=metadata(AGENT_TOKEN)))
            raise Failed("an agent redeemed a token")
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.PERMISSION_DENIED, f"expected PERMISSION_DENIED, got {error.code()}: {error.details()}")
            check(refusal(error)[1] == "AGENT-FORBIDDEN-REDEEM", f"the details should name the rule, they say {refusal(error)}")
    say("forbidden", "sees it refused: AGENT-FORBIDDEN-REDEEM, for the proposal and for the agent's own credential")

    say("next", "asks the guide for the next stop")
    kinds, proposals, result = ask("next", session, agents_pb2.AgentTaskSpec(agent_type="journey_guide", intent="suggest_next_stop"))
    routes = [p for p in proposals if p.WhichOneof("kind") == "route"]
    check(routes, "the guide should suggest a stop")
    accepted = do("accept-next", prg.AcceptProposal, pb.DecideProposalRequest(product_runtime_session_id=session, proposal_id=routes[0].proposal_id))
    say("next", f"accepts: {routes[0].summary}")
    advance("more-2", session, "more", choose=journeys_pb2.Choose(option="next_stop"))
    if options.no_operator:
        visit_and_redeem(3, session, entitlement)
    else:
        journey, node = await_node(session, {("more", None)})
        say("blocked", "finds the third café closed by the operator, and is led on")
    advance("more-3", session, "more", choose=journeys_pb2.Choose(option="finish"))
    advance("sight", session, "sight", arrived=journeys_pb2.Arrived(service_point_id="SP-VIE-SIGHT-MICHAELERKIRCHE"))
    say("sight", "sees the Michaelerkirche")
    journey = advance("goodbye", session, "goodbye", acknowledge=journeys_pb2.Acknowledge())
    check(journey.state == journeys_pb2.JOURNEY_STATE_COMPLETED, f"the journey should be completed, it is {journeys_pb2.JourneyState.Name(journey.state)}")
    say("goodbye", "completes the journey")

    closed = do("close", prg.CloseSession, pb.CloseSessionRequest(product_runtime_session_id=session, reason="the day is over"))
    check(closed.state == pb.SESSION_STATE_COMPLETED, f"the session should be completed, it is {pb.SessionState.Name(closed.state)}")
    say("close", "closes the session", session=session, trace_id=f"{provider.id_generator.trace:032x}", entitlement=entitlement)


try:
    day()
except Failed as failure:
    print(f"traveller: {failure}", file=sys.stderr)
    sys.exit(1)
except grpc.RpcError as error:
    print(f"traveller: {error.code().name}: {error.details()}", file=sys.stderr)
    sys.exit(1)
finally:
    provider.shutdown()
