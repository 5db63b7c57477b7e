#!/usr/bin/env python3
"""PyPI openfeature-flagd-core as the judge of our evaluator: flagd_oracle.py < questions > answers

A question is a line of JSON with a flagd configuration, a flag's key, the type it is asked for as, and a context. The answer is a line of
JSON: value, variant and reason, or error.
"""
import json
import logging
import sys

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

logging.disable(logging.CRITICAL)
core = FlagdCore()
defaults = {"boolean": False, "string": "mine", "integer": -1, "float": -1.5, "object": {"mine": True}}

for line in sys.stdin:
    question = json.loads(line)
    kind = question["type"]
    attributes = question["context"]
    context = EvaluationContext(targeting_key=attributes.pop("targetingKey", None), attributes=attributes)
    try:
        core.set_flags(question["flags"])
        found = getattr(core, f"resolve_{kind}_value")(question["key"], defaults[kind], context)
        answer = {"value": found.value, "variant": found.variant, "reason": str(found.reason.value)}
    except OpenFeatureError as error:
        answer = {"error": error.error_code.value}
    print(json.dumps(answer))
