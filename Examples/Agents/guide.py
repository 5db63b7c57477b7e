#!/usr/bin/env python3
# An agent in Python: it explains what a traveller asks about, and proposes the next stop of those it was shown.
import os

import spanwire_worker
from spanwire_worker import Answer, Proposal


@spanwire_worker.agent("vienna-journey-guide")
def guide(task):
    task.progress("reading", 30, f"session {task.context.product_runtime_session_id or 'none'}")
    if task.task.intent == "explain_limits":
        return Answer("You may visit whatever is open, and as often as your pass has coffees.")
    task.partial("Let me see… ")
    stop = Proposal(summary="The Café Central, it is near", rationale="It is open and five minutes away.", confidence=0.7)
    stop.route.service_point_ids.append("SP-VIE-CAFE-CENTRAL")
    return Answer("I would go to the Café Central.", [stop])


spanwire_worker.run(
    os.environ.get("SPANWIRE_SERVER", "127.0.0.1:7300"), worker_id=os.environ.get("WORKER_ID", "guide-1"), concurrency=4,
    token=os.environ.get("SPANWIRE_TOKEN", "dev:worker:guide:vienna:vienna-journey-guide"))
