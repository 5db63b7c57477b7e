#!/usr/bin/env python3
"""The stock flagd provider of OpenFeature against our server, asking remotely and evaluating by itself: flags.py HOST:PORT SPANWIRE

SPANWIRE is the command, by which an operator sets the flags. Prints one line for each mode; any other outcome is a failure.
"""
import json
import subprocess
import sys
import tempfile
import threading
import time

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import CacheType, ResolverType
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode

address, spanwire = sys.argv[1:3]
host, port = address.rsplit(":", 1)


def flags(menu):
    gold = {"in": [{"var": "tier"}, ["gold", "staff"]]}
    switch = {"variants": {"on": True, "off": False}, "default_variant": "off", "rollout_variant": "on"}
    return {
        "menu": {"variants": {"old": "Melange", "new": "Einspänner"}, "default_variant": menu},
        "open": {**switch, "default_variant": "on"},
        "cups": {"variants": {"few": 3, "many": 12}, "default_variant": "few", "targeting": {"if": [gold, "many", None]}},
        "tip": {"variants": {"usual": 0.1}, "default_variant": "usual"},
        "cake": {"variants": {"sacher": {"name": "Sacher", "layers": 2}}, "default_variant": "sacher"},
        "gone": {**switch, "default_variant": "on", "enabled": False},
        "split": {"variants": {"a": "a", "b": "b"}, "default_variant": "a", "targeting": {"fractional": [["a", 50], ["b", 50]]}},
        "share": {**switch, "rollout_pct": 30},
        "staff": {**switch, "rollout_stage": "ROLLOUT_STAGE_INTERNAL"},
        "pilot": {**switch, "rollout_stage": "ROLLOUT_STAGE_PILOT", "pilot_tenants": ["graz", "vienna"]},
        "paused": {**switch, "rollout_stage": "ROLLOUT_STAGE_PAUSED", "tenant_overrides": {"vienna": "on"}},
        "mine": {**switch, "user_overrides": {"anna": "on"}, "tenant_overrides": {"graz": "on"}},
        "over": {**switch, "rollout_stage": "ROLLOUT_STAGE_FULL", "expires_at": "2020-01-01T00:00:00Z"},
        "leaning": {**switch, "rollout_stage": "ROLLOUT_STAGE_FULL", "depends_on": ["staff", "share"]},
    }


# A file as flagd reads it: a shared rule, metadata of the set and of a flag, a flag without a default, shares in short.
FLAGD = {
    "$evaluators": {"is_ballmer": {"==": ["ballmer@macrosoft.com", {"var": ["email"]}]}},
    "metadata": {"set": "vienna", "both": 1},
    "flags": {
        "email": {"state": "ENABLED", "variants": {"hi": "hi", "bye": "bye", "none": "none"}, "defaultVariant": "none",
                  "targeting": {"if": [{"$ref": "is_ballmer"}, "hi", "bye"]}, "metadata": {"both": 2, "own": True}},
        "nobody": {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": None},
        "inventor": {"state": "ENABLED", "variants": {"normal": "CFO", "special": "CEO"},
                     "targeting": {"if": [{"==": ["jobs@orange.com", {"var": ["email"]}]}, "special"]}},
        "coin": {"state": "ENABLED", "variants": {"heads": "heads", "tails": "tails", "draw": "draw"}, "defaultVariant": "draw",
                 "targeting": {"fractional": [["heads"], ["tails", 1]]}},
    },
}


def take_over(configuration):
    converted = subprocess.run([spanwire, "flags", "convert", "-"], input=json.dumps(configuration), text=True, capture_output=True)
    assert converted.returncode == 0, converted.stderr
    done = subprocess.run(
        [spanwire, "registry", "apply", "-", "--reason", "from flagd", "--server", address, "--token", "dev:ops:olga:vienna:ops_lead"],
        input=converted.stdout, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def apply(definitions, reason):
    bundle = {"bundle_id": "BND-FLAGS", "flags": [{"flag_key": key, "enabled": True, **flag} for key, flag in definitions.items()]}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(bundle, file)
        file.flush()
        done = subprocess.run(
            [spanwire, "registry", "apply", file.name, "--reason", reason, "--server", address, "--token", "dev:ops:olga:vienna:ops_lead"],
            text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def check(found, value, reason, variant=None, error=None):
    told = (found.value, str(getattr(found.reason, "value", found.reason)), found.variant, found.error_code)
    assert told == (value, reason, variant, error), f"{found.flag_key}: {told}, not {(value, reason, variant, error)}"


def shares(client):
    users = [EvaluationContext(f"user-{n}", {"tier": "staff"}) for n in range(200)]
    return ([client.get_string_value("split", "?", user) for user in users],
            [client.get_boolean_value("share", False, user) for user in users],
            [client.get_boolean_value("leaning", False, user) for user in users])


apply(flags("old"), "before anybody asks")
take_over(FLAGD)
core = FlagdCore()  # the judge of shares: flagd's own evaluator, of the file as it is
core.set_flags(json.dumps(FLAGD))
split = []
for mode in (ResolverType.RPC, ResolverType.IN_PROCESS):
    apply(flags("old"), "the old menu")
    provider = FlagdProvider(host=host, port=int(port), resolver_type=mode, cache=CacheType.DISABLED, deadline_ms=20_000)
    api.set_provider_and_wait(provider)
    client = api.get_client()
    gold, anna = EvaluationContext("anna", {"tier": "gold"}), EvaluationContext("anna", {})
    check(client.get_string_details("menu", "?"), "Melange", "STATIC", "old")
    check(client.get_boolean_details("open", False), True, "STATIC", "on")
    check(client.get_integer_details("cups", 0, gold), 12, "TARGETING_MATCH", "many")
    check(client.get_integer_details("cups", 0, anna), 3, "DEFAULT", "few")
    check(client.get_float_details("tip", 0.0), 0.1, "STATIC", "usual")
    check(client.get_object_details("cake", {}), {"name": "Sacher", "layers": 2}, "STATIC", "sacher")
    check(client.get_boolean_details("gone", True), True, "DISABLED")
    check(client.get_boolean_details("nothing", True), True, "ERROR", None, ErrorCode.FLAG_NOT_FOUND)
    check(client.get_boolean_details("menu", True), True, "ERROR", None, ErrorCode.TYPE_MISMATCH)
    staff = EvaluationContext("olga", {"tier": "staff"})
    check(client.get_boolean_details("staff", False, staff), True, "TARGETING_MATCH", "on")
    check(client.get_boolean_details("staff", True, gold), False, "DEFAULT", "off")
    check(client.get_boolean_details("pilot", False), True, "STATIC", "on")
    check(client.get_boolean_details("paused", True), False, "STATIC", "off")
    check(client.get_boolean_details("mine", False, anna), True, "TARGETING_MATCH", "on")
    check(client.get_boolean_details("mine", True, staff), False, "DEFAULT", "off")
    check(client.get_boolean_details("over", True), False, "DEFAULT", "off")
    ballmer, jobs = (EvaluationContext("b", {"email": email}) for email in ("ballmer@macrosoft.com", "jobs@orange.com"))
    check(client.get_string_details("email", "?", ballmer), "hi", "TARGETING_MATCH", "hi")
    check(client.get_string_details("email", "?", jobs), "bye", "TARGETING_MATCH", "bye")
    if mode == ResolverType.IN_PROCESS:  # the provider passes none on when it asks
        told = client.get_string_details("email", "?", jobs).flag_metadata
        assert dict(told) == {"set": "vienna", "both": 2, "own": True}, told
    assert not client.get_string_details("menu", "?").flag_metadata, "what has no metadata is given none"
    for default in (True, False):
        check(client.get_boolean_details("nobody", default), default, "DEFAULT")
    check(client.get_string_details("inventor", "?", jobs), "CEO", "TARGETING_MATCH", "special")
    check(client.get_string_details("inventor", "Inventor", ballmer), "Inventor", "DEFAULT")
    for number in range(50):
        user = EvaluationContext(f"user-{number}@company.com", {})
        side = core.resolve_string_value("coin", "?", user).value
        check(client.get_string_details("coin", "?", user), side, "TARGETING_MATCH", side)
    split.append(shares(client))
    assert 60 < split[-1][0].count("a") < 140 and 30 < split[-1][1].count(True) < 90, split
    assert split[-1][1] == split[-1][2], "who has what a flag depends on has the flag, and nobody else"

    changed = threading.Event()
    told = []

    def note(details):
        told.extend(details.flags_changed or [])
        if "menu" in told:
            changed.set()

    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, note)
    apply(flags("new"), "the new menu")
    before = time.monotonic()
    assert changed.wait(10), "nobody was told"
    waited = time.monotonic() - before
    check(client.get_string_details("menu", "?"), "Einspänner", "STATIC", "new")
    client.remove_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, note)
    api.shutdown()
    print(f"{mode.value}: told of the change after {waited * 1000:.0f} ms")
assert split[0] == split[1], "the same caller saw two things"
