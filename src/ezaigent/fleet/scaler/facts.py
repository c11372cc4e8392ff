"""Events become facts: what came, began, ended and became ready in each pool since the last look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from ezaigent.core.events import Event
from ezaigent.fleet.roster import profile_of
from ezaigent.fleet.scaling import Finish, Start

ANY: Final = "*"
"""Pool of the tasks that name no profile."""
Meters: TypeAlias = dict[str, tuple[float, float]]
"""What an account may use of a model, by meter: units, and the seconds in which they come back."""
SLICE: Final = 10.0
"""Seconds by which calls at a provider's limit are counted."""

_CAME: Final = frozenset({"task.submitted", "task.queued", "task.requeued"})
_ENDED: Final = frozenset({"task.review", "task.done", "task.failed", "task.retrying", "task.blocked"})
_FREED: Final = _ENDED | {"task.cancelled", "task.requeued"}
_LIMITED: Final = frozenset({"rate_limit", "quota", "billing"})
_AGENTS: Final = frozenset({"agent.ready", "agent.left", "agent.unhosted", "agent.paused", "agent.resumed"})
_ORDERED: Final = frozenset({"scaler.configured", "scaler.started", "scaler.stopped", "worker.lost", "worker.stopped"})
_LOOKED_AT: Final = frozenset(
    {
        "task.claimed",
        "run.provider_error",
        "model.waiting",
        "model.parked",
        "model.still_parked",
        "model.unparked",
        "model.limits",
        "launcher.failed",
    }
)
WAKING: Final = _CAME | _FREED | _AGENTS | _ORDERED
"""Events after which the next look is now, not at the end of the period."""
KINDS: Final = sorted(WAKING | _LOOKED_AT)


@dataclass(slots=True)
class Facts:
    """What happened since the last look, by pool; told exactly once."""

    came: Counter[str] = field(default_factory=Counter[str])
    """Tasks that became claimable; ``*`` for those that name no profile."""
    starts: dict[str, list[Start]] = field(default_factory=dict[str, list[Start]])
    ends: list[Event] = field(default_factory=list[Event])
    """Events that may be the end of a run."""
    freed: dict[str, float] = field(default_factory=dict[str, float])
    """When agents got rid of their task."""
    startups: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    failed_starts: int = 0
    """Workers that never got ready, whichever pools their agents are of."""
    limited: dict[str, Counter[int]] = field(default_factory=dict[str, Counter[int]])
    """Calls at a provider's limit, by slices of ten seconds."""
    parked: dict[str, dict[str, float | None]] = field(default_factory=dict[str, dict[str, float | None]])
    """Accounts parked since then, by model."""
    limits: dict[str, dict[str, Meters]] = field(default_factory=dict[str, dict[str, Meters]])
    """What providers told that they allow, by model and account."""
    unparked: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    waking: bool = False

    def tell(self, events: Iterable[Event]) -> None:
        """Add what these events say."""
        for event in events:
            self.waking = self.waking or event.kind in WAKING
            self._tell(event, event.data)

    def _tell(self, event: Event, data: Mapping[str, Any]) -> None:
        match event.kind:
            case "task.submitted" if data.get("state") == "queued":
                self.came[data.get("profile") or ANY] += 1
            case "task.queued" | "task.requeued":
                self.came[data.get("pool") or ANY] += 1
            case "task.claimed" if event.agent:
                start = Start(event.at, float(data.get("waited") or 0.0))
                self.starts.setdefault(profile_of(event.agent), []).append(start)
            case "agent.ready":
                self.startups.setdefault(_pool(event), []).append(max(0.0, float(data.get("seconds") or 0.0)))
            case "launcher.failed" if not data.get("ready"):
                self.failed_starts += 1
            case _:
                self._tell_of_models(event, data)
        if event.kind in _ENDED:
            self.ends.append(event)
        if event.kind in _FREED and event.agent:
            self.freed[event.agent] = event.at

    def _tell_of_models(self, event: Event, data: Mapping[str, Any]) -> None:
        model, account = f"{data.get('provider')}:{data.get('model')}", str(data.get("account"))
        limited = event.kind == "model.waiting" or (
            event.kind == "run.provider_error" and data.get("kind") == "rate_limit"
        )
        if limited and event.agent:
            self.limited.setdefault(profile_of(event.agent), Counter())[int(event.at // SLICE)] += 1
        elif event.kind == "model.limits":
            told: Mapping[str, Sequence[float]] = data.get("limits") or {}
            self.limits.setdefault(model, {})[account] = {
                meter: (float(units), float(seconds)) for meter, (units, seconds) in told.items()
            }
        elif event.kind in ("model.parked", "model.still_parked"):
            self.parked.setdefault(model, {})[account] = data.get("until")
            self.unparked.discard((model, account))
        elif event.kind == "model.unparked":
            self.parked.get(model, {}).pop(account, None)
            self.unparked.add((model, account))


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended, as the store has it."""

    pool: str
    started_at: float
    ended_at: float
    outcome: str
    limited: bool
    """Whether the last thing that went wrong in it was a provider's limit."""


_TAUGHT: Final = {"task.review": "review", "task.done": "done", "task.failed": "failed", "task.retrying": "failed"}


def finishes(events: Iterable[Event], runs: Mapping[str, RunEnd]) -> dict[str, list[Finish]]:
    """Return the runs that ended with these events, by pool.

    Runs that were lost, given back or cancelled are left out: they say nothing of how long a task takes. A person's
    word over a task whose run had ended before is not an end of a run, which its time tells.
    """
    found: dict[str, list[Finish]] = {}
    for event in events:
        run = runs.get(event.run_id or "")
        if run is None or abs(run.ended_at - event.at) > 0.001:  # noqa: PLR2004 - both are written from one value
            continue
        if run.outcome != _TAUGHT.get(event.kind, "blocked"):
            continue
        failed = run.outcome == "failed"
        seconds = max(0.0, run.ended_at - run.started_at)
        found.setdefault(run.pool, []).append(Finish(event.at, seconds, failed, failed and run.limited))
    return found


def is_limit(kind: object) -> bool:
    """Say whether a provider error of this kind is one that more agents cannot mend."""
    return kind in _LIMITED


def _pool(event: Event) -> str:
    return str(event.data.get("profile") or profile_of(event.agent or ""))
