#!/usr/bin/env python3
"""Sends malformed requests to a server that played the day, by stock gRPC, and checks how each is refused.

    bad_input.py --server HOST:PORT --stubs DIR --database FILE

Every row says: who calls, which method, with what, and the status code and the field paths (or words of the message) that must come
back. Afterwards the server's tables must hold as many rows as before: a refused request changes nothing.
"""
import argparse
import importlib
import sqlite3
import sys

import grpc

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--server", required=True)
parser.add_argument("--stubs", required=True)
parser.add_argument("--database", required=True)
options = parser.parse_args()
sys.path.insert(0, options.stubs)

from google.protobuf import json_format  # noqa: E402
from google.rpc import error_details_pb2, status_pb2  # noqa: E402

USER = "dev:user:USR-0009:vienna:traveller"
STRANGER = "dev:user:USR-0010:elsewhere:traveller"
OPS = "dev:ops:OPS-0001:vienna:ops_lead"
PRG = "spanwire.gateway.v1.ProductRuntimeGateway"
REGISTRY = "spanwire.registry.v1.Registry"
LEM = "spanwire.city.v1.Lem"
EVENTS = "spanwire.events.v1.Events"
POLICY = "spanwire.policy.v1.Policy"
TRUTTA = "spanwire.entitlements.v1.Trutta"
AO = "spanwire.agents.v1.AgentOrchestrator"
COLLECTOR = "spanwire.observability.v1.Collector"
MODULES = {
    PRG: ("spanwire.gateway.v1.gateway_pb2", "ProductRuntimeGateway"),
    REGISTRY: ("spanwire.registry.v1.registry_pb2", "Registry"),
    LEM: ("spanwire.city.v1.lem_pb2", "Lem"),
    EVENTS: ("spanwire.events.v1.events_pb2", "Events"),
    POLICY: ("spanwire.policy.v1.policy_pb2", "Policy"),
    TRUTTA: ("spanwire.entitlements.v1.trutta_pb2", "Trutta"),
    AO: ("spanwire.agents.v1.agents_pb2", "AgentOrchestrator"),
    COLLECTOR: ("spanwire.observability.v1.collector_pb2", "Collector"),
}
INVALID, NOT_FOUND, DENIED, UNAUTHENTICATED, INTERNAL, UNIMPLEMENTED = (
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED,
)

FIVE_MISTAKES = """
bundle_id: BND-BAD
markets:
  - {market_code: AT-GRZ, name: Graz, time_zone: Mars/Olympus, currency: EUR, country: AT}
products:
  - {product_id: PRD-BAD, title: Bad, current_version_id: PRDV-NOWHERE}
  - {product_id: PRD-BAD, title: Again, current_version_id: PRDV-NOWHERE}
product_versions:
  - {product_version_id: PRDV-BAD-1, product_id: PRD-BAD, version: 1, market_codes: [XX-NONE], journey_doc_id: TJM-BAD}
journey_documents:
  - journey_doc_id: TJM-BAD
    version: 1
    entry_points: [{name: start, node_id: start}]
    nodes: [{node_id: start, start: {}}, {node_id: lost, message: {text: hi}}]
    edges: []
service_points:
  - {service_point_id: "SP BAD", name: Bad, market_code: AT-VIE, colour: blue}
"""
K = {"idempotency_key": "bad-1"}
NOBODY = "PRS-01ARZ3NDEKTSV4RRFFQ69G5FAV"
LONG = "x" * 5000

# (who, service, method, request, code, field paths or words)
ROWS = [
    (USER, PRG, "OpenSession", {}, INVALID, ["idempotency_key", "product_id", "market_code"]),
    (USER, PRG, "OpenSession", {**K, "product_id": "PRD VIEN", "market_code": "AT-VIE"}, INVALID, ["product_id"]),
    (USER, PRG, "OpenSession", {**K, "product_id": "PRD-VIEN-COFFEE-PASS", "market_code": "AT/VIE"}, INVALID, ["market_code"]),
    (USER, PRG, "OpenSession", {"idempotency_key": "k" * 129, "product_id": "P", "market_code": "M"}, INVALID, ["idempotency_key"]),
    (USER, PRG, "OpenSession", {**K, "product_id": "P", "market_code": "M", "segments": ["ok", LONG]}, INVALID, ["segments[1]"]),
    (USER, PRG, "GetSession", {}, INVALID, ["product_runtime_session_id"]),
    (USER, PRG, "GetSession", {"product_runtime_session_id": NOBODY}, NOT_FOUND, []),
    (STRANGER, PRG, "GetSession", {"product_runtime_session_id": "@SESSION"}, NOT_FOUND, []),
    (USER, PRG, "ListSessions", {"page_size": 100000}, INVALID, ["page_size"]),
    (USER, PRG, "ListSessions", {"state": 99}, INVALID, ["state"]),
    (USER, PRG, "ListSessions", {"page_token": "garbage!"}, INVALID, ["page_token"]),
    (USER, PRG, "Purchase", {}, INVALID, ["idempotency_key", "product_runtime_session_id", "payment_reference"]),
    (USER, PRG, "Purchase", {**K, "product_runtime_session_id": NOBODY, "payment_reference": "PAY-1"}, NOT_FOUND, []),
    (USER, PRG, "Purchase", {**K, "product_runtime_session_id": "@SESSION", "payment_reference": LONG}, INVALID, ["payment_reference"]),
    (USER, PRG, "Purchase", {**K, "product_runtime_session_id": "@SESSION", "payment_reference": "P", "variant_id": "VAR-NONE"}, NOT_FOUND, []),
    (USER, PRG, "StartJourney", {}, INVALID, ["idempotency_key", "product_runtime_session_id"]),
    (USER, PRG, "StartJourney", {**K, "product_runtime_session_id": NOBODY}, NOT_FOUND, []),
    (USER, PRG, "AdvanceJourney", {**K, "product_runtime_session_id": "@SESSION"}, INVALID, ["node_id", "step"]),
    (USER, PRG, "AskAgent", {**K, "product_runtime_session_id": "@SESSION"}, INVALID, ["task"]),
    (USER, PRG, "AskAgent", {**K, "product_runtime_session_id": "@SESSION", "task": {"agent_type": "oracle", "intent": "suggest_next_stop"}}, INVALID, ["task.agent_type"]),
    (USER, PRG, "AskAgent", {**K, "product_runtime_session_id": "@SESSION", "task": {"agent_type": "support", "intent": "conquer"}}, INVALID, ["task.intent"]),
    (USER, PRG, "AskAgent", {**K, "product_runtime_session_id": "@SESSION", "task": {"agent_type": "support", "intent": "explain_limits", "constraints": {"max_suggestions": 1000}}}, INVALID, ["task.constraints.max_suggestions"]),
    (USER, PRG, "AskAgent", {**K, "product_runtime_session_id": "@SESSION", "task": {"agent_type": "support", "intent": "explain_limits", "message": LONG}}, INVALID, ["task.message"]),
    (USER, PRG, "AskAgent", {**K, "product_runtime_session_id": "@SESSION", "task": {"agent_type": "trip_planner", "intent": "build_initial_route"}, "position": {"latitude": 200}}, INVALID, ["position.latitude"]),
    (USER, PRG, "AcceptProposal", {}, INVALID, ["idempotency_key", "product_runtime_session_id", "proposal_id"]),
    (USER, PRG, "AcceptProposal", {**K, "product_runtime_session_id": "@SESSION", "proposal_id": "PRP-01ARZ3NDEKTSV4RRFFQ69G5FAV"}, NOT_FOUND, []),
    (USER, PRG, "CloseSession", {**K}, INVALID, ["product_runtime_session_id"]),
    (STRANGER, PRG, "CloseSession", {**K, "product_runtime_session_id": "@SESSION"}, NOT_FOUND, []),
    (OPS, PRG, "ApplyControl", {**K, "reason": "why"}, INVALID, ["action"]),
    (OPS, PRG, "ApplyControl", {**K, "cancel_session": {"product_runtime_session_id": "@SESSION"}}, INVALID, ["reason"]),
    (OPS, PRG, "ApplyControl", {**K, "reason": LONG, "cancel_session": {"product_runtime_session_id": "@SESSION"}}, INVALID, ["reason"]),
    (USER, PRG, "ApplyControl", {**K, "reason": "why", "cancel_session": {"product_runtime_session_id": "@SESSION"}}, DENIED, []),
    (None, PRG, "GetSession", {"product_runtime_session_id": "@SESSION"}, UNAUTHENTICATED, []),
    ("dev:god:X:vienna:all", PRG, "GetSession", {"product_runtime_session_id": "@SESSION"}, UNAUTHENTICATED, []),
    (OPS, REGISTRY, "Apply", {**K}, INVALID, ["bundle_yaml"]),
    (OPS, REGISTRY, "Apply", {**K, "bundle_yaml": "markets: ["}, INVALID, ["bundle_yaml"]),
    (
        OPS, REGISTRY, "Apply", {**K, "bundle_yaml": FIVE_MISTAKES}, INVALID,
        ["markets[0].time_zone", "products[1].product_id", "product_versions[0].market_codes[0]", "journey_documents[0]", "service_points[0]"],
    ),
    (OPS, REGISTRY, "GetDefinition", {}, INVALID, ["kind", "id"]),
    (OPS, REGISTRY, "GetDefinition", {"kind": 99, "id": "X"}, INVALID, ["kind"]),
    (OPS, REGISTRY, "ResolveRuntimeConfig", {}, INVALID, ["product_id", "market_code"]),
    (OPS, EVENTS, "ListEvents", {"page_size": 5000}, INVALID, ["page_size"]),
    (OPS, EVENTS, "ListEvents", {"cursor": "not a position"}, INVALID, ["cursor"]),
    (OPS, EVENTS, "Subscribe", {"filter": {"lanes": [9]}}, INVALID, ["filter.lanes[0]"]),
    (OPS, EVENTS, "Subscribe", {"filter": {"trace_id": "AQID"}}, INVALID, ["filter.trace_id"]),
    (OPS, LEM, "ComputeRoute", {}, INVALID, ["market_code"]),
    (OPS, LEM, "ComputeRoute", {"market_code": "AT-VIE", "max_stops": 1000}, INVALID, ["max_stops"]),
    (OPS, LEM, "ComputeRoute", {"market_code": "AT-VIE", "start": {"latitude": 91, "longitude": 0}}, INVALID, ["start.latitude"]),
    (OPS, LEM, "ComputeRoute", {"market_code": "AT-VIE", "walking_metres_per_second": -1}, INVALID, ["walking_metres_per_second"]),
    (OPS, LEM, "GetServicePoint", {"service_point_id": "SP-NOWHERE"}, NOT_FOUND, []),
    (OPS, POLICY, "CheckAccess", {}, INVALID, ["context"]),
    (OPS, POLICY, "CheckAccess", {"context": {"actor_role": "ops_lead", "field_category": "x", "requested_action": 77}}, INVALID, ["context.requested_action"]),
    (OPS, POLICY, "CheckAccess", {"context": {"actor_role": "ops_lead", "field_category": "x", "now_iso": "yesterday"}}, INVALID, ["context.now_iso"]),
    (OPS, TRUTTA, "ListLedger", {"page_size": 1000000}, INVALID, ["page_size"]),
    (OPS, AO, "RunTask", {"task": {"agent_type": "ops_analyst", "intent": "explain_incident"}}, INVALID, ["idempotency_key"]),
    (OPS, AO, "GetTask", {"agent_task_id": "ATASK-01ARZ3NDEKTSV4RRFFQ69G5FAV"}, NOT_FOUND, []),
    (OPS, COLLECTOR, "GetTrace", {"trace_id": "AQID"}, INVALID, ["trace_id"]),
    (OPS, COLLECTOR, "SearchTraces", {"page_size": 100000}, INVALID, ["page_size"]),
    (USER, PRG, "GetSession", b"\x0a\x04PR\xff\xfe", INTERNAL, ["product_runtime_session_id"]),
    (USER, PRG, "GetSession", b"\x0a\x7fPR", INTERNAL, ["product_runtime_session_id"]),
    (OPS, PRG, "NoSuchMethod", b"", UNIMPLEMENTED, []),
]

channel = grpc.insecure_channel(options.server)


def call(who, service, method, payload):
    metadata = [("authorization", f"Bearer {who}")] if who else []
    if method in ("Subscribe", "AskAgent", "RunTask"):
        stub = channel.unary_stream(f"/{service}/{method}", request_serializer=lambda b: b, response_deserializer=lambda b: b)
        for _ in stub(payload, metadata=metadata, timeout=20):
            break
    else:
        channel.unary_unary(f"/{service}/{method}", request_serializer=lambda b: b, response_deserializer=lambda b: b)(
            payload, metadata=metadata, timeout=20
        )


def encode(service, method, request):
    if isinstance(request, bytes):
        return request
    module, name = MODULES[service]
    descriptor = importlib.import_module(module).DESCRIPTOR.services_by_name[name].methods_by_name[method]
    message_module = importlib.import_module(descriptor.input_type.file.name.replace("/", ".").removesuffix(".proto") + "_pb2")
    message = getattr(message_module, descriptor.input_type.name)()
    return json_format.ParseDict(request, message).SerializeToString()


def rows():
    """How many rows each table holds; what passes without a request (effects' bookkeeping, consumers' cursors) is none here."""
    with sqlite3.connect(f"file:{options.database}?mode=ro", uri=True) as database:
        tables = [r[0] for r in database.execute("select name from sqlite_master where type = 'table' order by name")]
        return {t: database.execute(f'select count(*) from "{t}"').fetchone()[0] for t in tables if not t.startswith("sqlite_")}


def substitute(value, session):
    if isinstance(value, dict):
        return {k: substitute(v, session) for k, v in value.items()}
    return session if value == "@SESSION" else value


# A session of USER's for the rows that need one.
gateway = importlib.import_module("spanwire.gateway.v1.gateway_pb2")
opened = gateway.ProductRuntimeSession.FromString(
    channel.unary_unary(f"/{PRG}/OpenSession", request_serializer=lambda b: b, response_deserializer=lambda b: b)(
        encode(PRG, "OpenSession", {"idempotency_key": "bad-input", "product_id": "PRD-VIEN-COFFEE-PASS", "market_code": "AT-VIE", "segments": ["tourist"]}),
        metadata=[("authorization", f"Bearer {USER}")], timeout=20,
    )
)
session = opened.product_runtime_session_id
before, failures = rows(), 0
for who, service, method, request, code, wanted in ROWS:
    problem = None
    try:
        call(who, service, method, encode(service, method, substitute(request, session)))
        problem = "it was accepted"
    except grpc.RpcError as error:
        fields, text = [], error.details() or ""
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                for detail in status_pb2.Status.FromString(value).details:
                    bad = error_details_pb2.BadRequest()
                    if detail.Unpack(bad):
                        fields += [v.field for v in bad.field_violations]
        if error.code() != code:
            problem = f"{error.code().name} instead of {code.name}: {text} {fields}"
        elif code == INTERNAL:
            missing = [w for w in wanted if w not in text]
            problem = f"the message does not name {missing}: {text}" if missing else None
        else:
            missing = [w for w in wanted if not any(f == w or f.startswith((w + ".", w + "[")) for f in fields)]
            problem = f"no violation of {missing}, only of {fields}: {text}" if missing else None
    if problem:
        failures += 1
        print(f"{service}/{method} {str(request)[:100]}: {problem}")
after = rows()
# The refusals of R- and exposure rules are audited: those events are the one thing that may be added.
events = {t: (before.get(t), n) for t, n in after.items() if before.get(t) != n}
allowed = {"event_log", "event_stream"}
changed = {t: n for t, n in events.items() if t not in allowed}
if changed:
    failures += 1
    print(f"rows changed: {changed}")
print(f"{len(ROWS)} malformed requests, {failures} problems")
sys.exit(1 if failures else 0)
