#!/usr/bin/env python3
"""The stock flagd provider of OpenFeature against our server, asking remotely and evaluating by itself: flags.py HOST:PORT SPANWIRE

SPANWIRE is the command, by which an operator sets the flags. Prints one line for each mode; any other outcome is a failure.
"""
import json
import subprocess
import sys
import threading
import time

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import CacheType, ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode

address, spanwire = sys.argv[1:3]
host, port = address.rsplit(":", 1)


def flags(menu):
    return {
        "flags": {
            "menu": {"state": "ENABLED", "variants": {"old": "Melange", "new": "Einspänner"}, "defaultVariant": menu},
            "open": {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"},
            "cups": {"state": "ENABLED", "variants": {"few": 3, "many": 12}, "defaultVariant": "few",
                     "targeting": {"if": [{"in": [{"var": "tier"}, ["gold", "staff"]]}, "many", None]}},
            "tip": {"state": "ENABLED", "variants": {"usual": 0.1}, "defaultVariant": "usual"},
            "cake": {"state": "ENABLED", "variants": {"sacher": {"name": "Sacher", "layers": 2}}, "defaultVariant": "sacher"},
            "gone": {"state": "DISABLED", "variants": {"on": True}, "defaultVariant": "on"},
            "yours": {"state": "ENABLED", "variants": {"on": True}},
            "split": {"state": "ENABLED", "variants": {"a": "a", "b": "b"}, "defaultVariant": "a",
                      "targeting": {"fractional": [["a", 50], ["b", 50]]}},
            "wrong": {"state": "ENABLED", "variants": {"on": True}, "defaultVariant": "on", "targeting": {"no_such_thing": 1}},
        }
    }


def apply(configuration, reason):
    done = subprocess.run(
        [spanwire, "flags", "apply", "-", "--reason", reason, "--server", address, "--token", "dev:ops:olga:vienna:ops_lead"],
        input=json.dumps(configuration), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def check(found, value, reason, variant=None, error=None):
    told = (found.value, str(getattr(found.reason, "value", found.reason)), found.variant, found.error_code)
    assert told == (value, reason, variant, error), f"{found.flag_key}: {told}, not {(value, reason, variant, error)}"


def shares(client):
    return [client.get_string_value("split", "?", EvaluationContext(f"user-{n}")) for n in range(200)]


apply(flags("old"), "before anybody asks")
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
    check(client.get_boolean_details("yours", True), True, "DEFAULT")
    check(client.get_boolean_details("nothing", True), True, "ERROR", None, ErrorCode.FLAG_NOT_FOUND)
    check(client.get_boolean_details("menu", True), True, "ERROR", None, ErrorCode.TYPE_MISMATCH)
    check(client.get_boolean_details("wrong", False), False, "ERROR", None, ErrorCode.PARSE_ERROR)
    split.append(shares(client))
    assert 60 < split[-1].count("a") < 140

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
