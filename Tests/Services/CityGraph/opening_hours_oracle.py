#!/usr/bin/env python3
"""PyPI opening-hours-py as the judge of our evaluator: opening_hours_oracle.py < requests > answers

A request is a line "FROM<tab>UNTIL<tab>HOURS", moments in seconds since 1970; the answer is the JSON list of the stretches that are
open, as pairs of seconds, or a JSON string with why the hours can't be read. The place is Stephansplatz in Vienna.
"""
import datetime
import json
import sys
import zoneinfo

from opening_hours import OpeningHours, State

VIENNA = zoneinfo.ZoneInfo("Europe/Vienna")

for line in sys.stdin:
    start, end, hours = line.rstrip("\n").split("\t")
    start, end = int(start), int(end)
    try:
        parsed = OpeningHours(hours, timezone=VIENNA, country="AT", coords=(48.2085, 16.3731))
    except Exception as error:
        print(json.dumps(str(error)))
        continue
    open_stretches = []
    local = [datetime.datetime.fromtimestamp(moment, VIENNA) for moment in (start, end)]
    for begins, ends, state, _ in parsed.intervals(*local):
        if state != State.OPEN:
            continue
        begins, ends = max(start, int(begins.timestamp())), min(end, int(ends.timestamp()) if ends else end)
        if open_stretches and open_stretches[-1][1] == begins:
            open_stretches[-1][1] = ends
        else:
            open_stretches.append([begins, ends])
    print(json.dumps(open_stretches))
