"""What is done with a task whose runs get nowhere: from rung to rung, derived from how its earlier runs ended.

A run that stood still: resumed; resumed on another worker; with the profile's next model; a dead letter. A run that
went in circles fails its attempt: tried again; the attempt after the next one has the next model; a dead letter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from ezaigent.agents import Profile
from ezaigent.tasks import Run, Task

RESUME: Final = "it is resumed"
ELSEWHERE: Final = "it is resumed on another worker"
OTHER_MODEL: Final = "it goes on with another model"
_HANDOVER: Final = 30.0
"""Seconds for which a worker leaves a task to the others; then, where there are none, it takes it itself."""


def rungs(profile: Profile | None) -> tuple[str, ...]:
    """Return what is done when a run stands still: for the first time, the second time, and so on."""
    more = (OTHER_MODEL,) if profile is not None and profile.fallbacks else ()
    return (RESUME, ELSEWHERE, *more)


def models_to_skip(task: Task, runs: Sequence[Run]) -> int:
    """Return how many of the profile's models have had their chances in this series of attempts."""
    series = [run.outcome for run in runs if run.session > task.session - task.attempts]
    return max(0, series.count("stalled") - 2) + max(0, series.count("stuck") - 1)


class Elsewhere:
    """The tasks that this worker leaves to the others for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` counts seconds."""
        self._clock = clock
        self._until: dict[str, float] = {}

    def add(self, task: str) -> None:
        """Leave ``task`` to the others."""
        self._until[task] = self._clock() + _HANDOVER

    def tasks(self) -> list[str]:
        """Return the ids of the tasks to be left alone now."""
        now = self._clock()
        self._until = {task: until for task, until in self._until.items() if until > now}
        return list(self._until)
