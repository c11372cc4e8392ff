"""Find runs that make no progress, and stop them: their tasks are moved on, step by step.

Time is counted by looks: what passes while this process itself stands still (a debugger, SIGSTOP, a laptop asleep) is
nobody's fault, so a look counts for two periods at most.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from ezaigent.agents import Controls
from ezaigent.core.settings import RecoverySettings

log = structlog.get_logger(__name__)

PERIOD: Final = 2.0
"""Seconds between two looks."""
PATIENCE: Final = 30.0
"""Seconds that a stopped run gets to end before it is given up."""


@dataclass(slots=True)
class _Seen:
    marks: int
    still: float = 0.0
    stopped: bool = False


class StallWatch:
    """Counts for how long each run has stood still."""

    def __init__(self, settings: RecoverySettings, command_limit: float) -> None:
        """``command_limit`` is how many seconds the sandbox gives one command."""
        self._settings = settings
        self._command = command_limit
        self._seen: dict[str, _Seen] = {}

    def look(self, runs: Mapping[str, Controls], passed: float) -> set[str]:
        """Stop the runs that stand still; return those that did not end when they were stopped.

        ``passed`` is the number of seconds since the last look.
        """
        passed = min(passed, 2 * PERIOD)
        self._seen = {name: self._seen.get(name) or _Seen(run.progress.marks) for name, run in runs.items()}
        given_up: set[str] = set()
        for name, controls in runs.items():
            seen, progress = self._seen[name], controls.progress
            if not seen.stopped and (progress.marks != seen.marks or controls.paused):
                seen.marks, seen.still = progress.marks, 0.0
                continue
            seen.still += passed
            if seen.stopped:
                if seen.still > PATIENCE:
                    given_up.add(name)
            elif controls.stopping is None and seen.still > self._allowed(controls):
                where = "" if progress.activity == "between steps" else f", in: {progress.activity}"
                controls.stall(f"no step for {seen.still:.0f} s{where}")
                seen.stopped, seen.still = True, 0.0
        return given_up

    def _allowed(self, controls: Controls) -> float:
        match controls.progress.activity:
            case "process of its own":
                return math.inf  # it watches itself
            case "model call":
                return self._settings.model_call
            case "command" | "checks":
                return self._settings.step + self._command * controls.progress.commands
            case "between steps":
                return self._settings.step


async def watch(
    runs: Callable[[], Mapping[str, Controls]],
    settings: RecoverySettings,
    command_limit: float,
    give_up: Callable[[str], None] = lambda _: None,
) -> None:
    """Look again and again, without end; ``give_up`` is told of each run that does not end when it is stopped."""
    stalls = StallWatch(settings, command_limit)
    looked = time.monotonic()
    while True:
        await asyncio.sleep(PERIOD)
        now = time.monotonic()
        for name in stalls.look(runs(), now - looked):
            log.error("a run that stands still does not end; its lease is given up", run=name)
            give_up(name)
        looked = now
