"""Ez Aigent: a fleet of AI coding agents off one durable task queue.

::

    async with Fleet.embedded() as fleet:
        task = await fleet.submit("Fix the lint errors", repo="~/shop", checks=["ruff check ."])
        change = await task.wait()
        print(change.branch, change.commit)

Importing this package imports nothing heavy: each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ezaigent.core.change import Change, CheckResult
    from ezaigent.core.errors import EzAigentError, RunError, UnavailableError, UsageError
    from ezaigent.core.events import Event
    from ezaigent.core.settings import Settings
    from ezaigent.tasks import NewTask, Priority, State, Task
    from ezaigent.wiring import Fleet, TaskHandle

__version__ = "0.1.0"

__all__ = [
    "Change",
    "CheckResult",
    "Event",
    "EzAigentError",
    "Fleet",
    "NewTask",
    "Priority",
    "RunError",
    "Settings",
    "State",
    "Task",
    "TaskHandle",
    "UnavailableError",
    "UsageError",
    "__version__",
]

_HOMES = {
    "Change": "core.change",
    "CheckResult": "core.change",
    "Event": "core.events",
    "EzAigentError": "core.errors",
    "Fleet": "wiring",
    "NewTask": "tasks",
    "Priority": "tasks",
    "RunError": "core.errors",
    "Settings": "core.settings",
    "State": "tasks",
    "Task": "tasks",
    "TaskHandle": "wiring",
    "UnavailableError": "core.errors",
    "UsageError": "core.errors",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
