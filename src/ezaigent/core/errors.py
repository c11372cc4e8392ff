"""Every error that the product raises on purpose, in three families.

::

    EzAigentError
    ├── UsageError              the caller's mistake: bad value, unknown id, forbidden transition   (exit 2)
    │   ├── NotFoundError       no such task, agent, run
    │   └── ConflictError       the request contradicts the present state
    ├── UnavailableError        something needed cannot be reached or is missing                    (exit 3)
    │   ├── StoreUnavailable    the store: what was done is journaled, another run goes on with it
    │   ├── SandboxUnavailable  no sandbox level works here and the operator did not switch it off
    │   └── LauncherError       workers cannot be started or stopped where they should run
    ├── RunError                one run cannot go on; says whether another attempt may help         (exit 1)
    │   ├── BudgetExceeded      the next model call could pass the task's cap
    │   ├── StuckError          the agent repeats itself or makes no progress
    │   └── ModelsParked        quota or money of all its models is used up: the task waits in the queue
    └── ControlSignal           not a failure: the run must stop here
        ├── StaleFence          another run owns the task now; nothing more may be written
        ├── Cancelled           a person cancelled the task
        ├── Drained             the worker is going away; the task goes back to the queue
        └── Stalled             the run stands still; it is ended, and its task moved on

Texts are one line: what happened, with which value, what to do next. They never hold secrets.
"""

from __future__ import annotations


class EzAigentError(Exception):
    """Base of all errors raised on purpose."""


class UsageError(EzAigentError):
    """The caller asked for something that cannot be: nothing was changed."""


class NotFoundError(UsageError):
    """Nothing has this id or name."""


class ConflictError(UsageError):
    """The request contradicts the present state, such as a transition that the table does not allow."""


class UnavailableError(EzAigentError):
    """A database, server, repository or program that is needed cannot be reached."""


class StoreUnavailable(UnavailableError):
    """The database that holds the fleet's state cannot be used now; no attempt of a task failed by it."""


class SandboxUnavailable(UnavailableError):
    """Neither bubblewrap nor Landlock works here, and ``sandbox = "off"`` was not set."""


class LauncherError(UnavailableError):
    """The place where workers are started refuses, or cannot be reached."""


class RunError(EzAigentError):
    """One run cannot go on.

    ``retryable`` is false where another attempt would meet the same wall (a recipe that cannot do this, a
    permanent provider error, a budget that is used up).
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        """Say ``message`` in one line; ``retryable`` tells the queue whether another attempt may help."""
        super().__init__(message)
        self.retryable = retryable


class BudgetExceeded(RunError):
    """The worst case of the next model call does not fit into what is left of the task's budget."""

    def __init__(self, message: str) -> None:
        """Budget stops are never retried by themselves: the cap would be met again."""
        super().__init__(message, retryable=False)


class StuckError(RunError):
    """The agent repeats the same call with the same result, or made no progress in many steps."""


class ModelsParked(RunError):
    """Every model that the run may ask is parked: a quota or a purse is empty, and nothing of the task has failed."""

    def __init__(self, message: str) -> None:
        """Another attempt would find the same before the models answer again."""
        super().__init__(message, retryable=False)


class ControlSignal(EzAigentError):
    """Not a failure: the run must stop at this point."""


class StaleFence(ControlSignal):
    """A later run owns the task: this one may not write any more."""


class Cancelled(ControlSignal):
    """A person cancelled the task."""


class Drained(ControlSignal):
    """The worker stops: the task is requeued with everything it has done so far."""


class Stalled(ControlSignal):
    """The run made no progress for too long: whatever it does is ended, and its task is moved on."""
