"""Loaded by schemathesis: most requests to a route are about something that exists, and answers are counted."""

# pyright: reportUnknownMemberType=false
# schemathesis leaves what its decorator takes untyped.

from __future__ import annotations

import atexit
import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import schemathesis

_THERE: dict[str, dict[str, Any]] = json.loads(os.environ["CONTRACT_THERE"])
"""By route (``GET /api/v1/tasks/{task_id}``): the ``path_parameters`` and ``headers`` to ask with."""
_MADE_UP = 4
"""One request of so many stays as it was made up."""
_asked = Counter[str]()
_answers: dict[str, Counter[int]] = defaultdict(Counter[int])


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Ask for what exists, in turn with what was made up."""
    del context, kwargs
    route = case.operation.label
    if route in _THERE and case.method.upper() == route.partition(" ")[0]:
        _asked[route] += 1
        if _asked[route] % _MADE_UP:
            for part, given in _THERE[route].items():
                getattr(case, part).update(given)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Count the answer."""
    del context
    if case.method.upper() == case.operation.label.partition(" ")[0]:
        _answers[case.operation.label][response.status_code] += 1


@atexit.register
def _report() -> None:
    Path(os.environ["CONTRACT_REPORT"]).write_text(json.dumps(_answers), encoding="utf-8")
