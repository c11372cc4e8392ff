"""What one run is doing now, so that a run that stands still can be told from one that takes long."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

Activity = Literal["between steps", "model call", "command", "checks", "process of its own"]


class Progress:
    """Kept up by the run, looked at from outside."""

    def __init__(self) -> None:
        self.marks = 0
        """Grows whenever something begins or ends."""
        self.activity: Activity = "between steps"
        self.commands = 0
        """Commands that the activity may run one after the other, each within the sandbox's own limit."""

    @contextmanager
    def doing(self, activity: Activity, *, commands: int = 0) -> Generator[None]:
        """Note that the run is at this while the block runs."""
        self.marks += 1
        self.activity, self.commands = activity, commands
        try:
            yield
        finally:
            self.marks += 1
            self.activity, self.commands = "between steps", 0
