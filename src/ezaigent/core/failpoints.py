"""Named places where a test can kill the process, so that recovery is tested at every transition.

``EZAIGENT_FAILPOINTS="run.claimed=kill,run.committed=kill@2"`` makes the process send itself SIGKILL when it reaches
the place (for the second time, with ``@2``); ``=stop`` sends SIGSTOP. Without the variable a call costs one
dictionary look-up and does nothing.
"""

from __future__ import annotations

import os
import signal

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def _parse(text: str) -> dict[str, tuple[signal.Signals, int]]:
    armed: dict[str, tuple[signal.Signals, int]] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, action = part.partition("=")
        verb, _, count = action.partition("@")
        armed[name] = (_SIGNALS[verb], int(count or 1))
    return armed


_armed = _parse(os.environ.get("EZAIGENT_FAILPOINTS", ""))


def reach(name: str) -> None:
    """Mark that the process has come to the place ``name``."""
    if name not in _armed:
        return
    action, left = _armed[name]
    if left > 1:
        _armed[name] = (action, left - 1)
        return
    del _armed[name]
    os.kill(os.getpid(), action)
