"""From what the store says and what happened to the snapshot that the policies decide about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ezaigent.core.scaling import PoolScaling, ScalingSettings
from ezaigent.fleet import seats as rows
from ezaigent.fleet.scaler.facts import ANY, SLICE, Facts, Meters, RunEnd, finishes
from ezaigent.fleet.scaler.memory import Memory, Used
from ezaigent.fleet.scaler.pools import Catalog
from ezaigent.fleet.scaler.queries import Look
from ezaigent.fleet.scaler.sharing import share
from ezaigent.fleet.scaling import Ceilings, FleetSnapshot, Leaving, PoolSnapshot, Seat, Spending

GAP: Final = 60.0
"""Seconds without a look that agents are counted for at most: nobody knows what was there while nobody looked."""
MINUTE: Final = int(60 / SLICE)
_DATED: Final = re.compile(r"[-@]\d[\d-]*")
"""What a provider's answer adds to the name of the model that was asked for: its date."""
FINDING_OUT: Final = 120.0
"""Seconds after the end of a park in which one call finds out for all; more agents would only wait for it."""
MOST_SECONDS: Final = 120.0
"""A quota that takes longer to come back says little about what may be used in a minute."""


@dataclass(slots=True)
class _Groups:
    busy: list[Seat]
    idle: list[Seat]
    starting: list[Seat]
    leaving: list[Leaving]


@dataclass(frozen=True, slots=True)
class View:
    """What is decided about, and what is remembered of it."""

    snapshot: FleetSnapshot
    memory: Memory
    settings: ScalingSettings
    """With room for the agents that persons asked for."""


def view(
    look: Look,
    facts: Facts,
    runs: Mapping[str, RunEnd],
    memory: Memory,
    *,
    settings: ScalingSettings,
    catalog: Catalog,
    strained: bool = False,
    spent: bool = False,
) -> View:
    """Return the pools as they are. ``strained``: this host bears no more; ``spent``: today's budget is used up."""
    groups = _groups(look, facts, memory, catalog)
    pools = sorted(name for name in catalog.pools if _moves(look, name))
    settings = _with_pinned(settings, groups, pools)
    parked = _parked(memory, facts, look.at)
    limited = _limited(memory, facts, look.at)
    limits = {
        model: {**memory.limits.get(model, {}), **facts.limits.get(model, {})}
        for model in (*memory.limits, *facts.limits)
    }
    own = {name: settings.pool(name) for name in pools}
    queued, came = _shared(look, facts, groups, settings=own, catalog=catalog, parked=parked)
    used: dict[str, Used] = {}
    made: list[PoolSnapshot] = []
    ended = finishes(facts.ends, runs)
    for name in pools:
        mine = groups[name]
        size = len(mine.busy) + len(mine.idle) + len(mine.starting) + len(mine.leaving)
        used[name] = memory.used.get(name, Used(look.at)).after(look.at, size, GAP)
        hour, day = look.spent.get(name, (0, 0))
        met = sum(limited.get(name, {}).values())
        shut = _shut(name, catalog, parked)
        made.append(
            PoolSnapshot(
                name=name,
                queued=queued[name],
                busy=tuple(mine.busy),
                idle=_with_finder(mine.idle, look.at) if shut and queued[name] else tuple(mine.idle),
                starting=tuple(mine.starting),
                draining=tuple(mine.leaving),
                arrivals=came[name],
                starts=tuple(facts.starts.get(name, ())),
                finishes=tuple(ended.get(name, ())),
                startups=tuple(facts.startups.get(name, ())),
                failed_starts=facts.failed_starts if mine.starting else 0,
                quota_left=_quota_left(catalog.pools[name].models, catalog, limits, parked, look),
                limited_share=met / (met + look.answers.get(name, 0)) if met else 0.0,
                ceilings=Ceilings(
                    budget=0 if spent and catalog.pools[name].paid else None,
                    provider=1 if shut else None,
                    host=size - len(mine.leaving) if strained else None,
                ),
                spending=Spending(used[name].hour, used[name].day, hour, day),
            )
        )
    kept = replace(
        memory,
        idle={seat.agent: seat.since for mine in groups.values() for seat in mine.idle},
        parked=parked,
        limits=limits,
        limited=limited,
        used={**memory.used, **used},
    )
    return View(FleetSnapshot(look.at, tuple(made)), kept, settings)


def _groups(look: Look, facts: Facts, memory: Memory, catalog: Catalog) -> dict[str, _Groups]:
    groups = {name: _Groups([], [], [], []) for name in catalog.pools}
    for seat in look.seats:
        mine = groups.get(seat.profile)
        if mine is None:
            continue
        since = look.busy.get(seat.agent)
        if seat.leaving is not None:
            mine.leaving.append(Leaving(seat.agent, seat.leaving_at or look.at, seat.recallable))
        elif since is not None:
            mine.busy.append(Seat(seat.agent, since, seat.pinned))
        elif seat.ready_at is None or seat.worker not in look.workers:
            mine.starting.append(Seat(seat.agent, seat.ordered_at, seat.pinned))
        elif seat.agent not in look.paused:  # who is held takes no task: that is no capacity
            mine.idle.append(Seat(seat.agent, _idle_since(seat, facts, memory), seat.pinned))
    return groups


def _with_finder(idle: Sequence[Seat], at: float) -> tuple[Seat, ...]:
    """Return the idle agents of a parked pool whose tasks wait: the last one stays, since it will find out for all.

    Else it would go for being idle, and another one be started for the tasks, again and again.
    """
    newest = max(idle, key=lambda seat: seat.since, default=None)
    return tuple(replace(seat, since=at) if seat is newest else seat for seat in idle)


def _idle_since(seat: rows.Seat, facts: Facts, memory: Memory) -> float:
    since = facts.freed.get(seat.agent) or memory.idle.get(seat.agent) or 0.0
    return max(since, seat.ready_at or 0.0)


def _moves(look: Look, pool: str) -> bool:
    """Say whether a pool is to be sized: not while a person holds all of it, with those that would be added."""
    return f"{pool}-0" not in look.paused


def _with_pinned(settings: ScalingSettings, groups: Mapping[str, _Groups], pools: Sequence[str]) -> ScalingSettings:
    """Return the settings with min, max and size raised to the number of agents that persons asked for."""
    raised: dict[str, dict[str, int]] = {}
    for name in pools:
        own, mine = settings.pool(name), groups[name]
        pinned = sum(seat.pinned for seats in (mine.busy, mine.idle, mine.starting) for seat in seats)
        if pinned > min(own.min, own.max if own.size is None else own.size):
            raised[name] = {"min": max(own.min, pinned), "max": max(own.max, pinned)}
            if own.size is not None:
                raised[name]["size"] = max(own.size, pinned)
    return settings.with_changes({"pools": raised}) if raised else settings


def _shared(
    look: Look,
    facts: Facts,
    groups: Mapping[str, _Groups],
    *,
    settings: Mapping[str, PoolScaling],
    catalog: Catalog,
    parked: Mapping[str, Mapping[str, float | None]],
) -> tuple[Counter[str], Counter[str]]:
    """Return the queued tasks and the arrivals of each pool, those included that name no profile."""
    queued = Counter({name: look.queued.get(name, 0) for name in settings})
    came = Counter({name: facts.came[name] for name in settings})
    general = [name for name in settings if catalog.pools[name].general]
    able = [name for name in general if not _shut(name, catalog, parked)] or general
    idle = {name: max(0, len(groups[name].idle) - queued[name]) if name in able else 0 for name in general}
    room = {
        name: max(0, _most(name, settings[name], catalog, parked) - len(groups[name].busy) - queued[name])
        for name in general
    }
    queued.update(share(look.queued.get(ANY, 0), idle, room))
    came.update(share(facts.came[ANY], idle, room))
    return queued, came


def _most(name: str, own: PoolScaling, catalog: Catalog, parked: Mapping[str, Mapping[str, float | None]]) -> int:
    return 0 if _shut(name, catalog, parked) else own.max


def _parked(memory: Memory, facts: Facts, at: float) -> dict[str, dict[str, float | None]]:
    """Return the accounts that nobody may ask now, or of which one call finds out, by model."""
    merged: dict[str, dict[str, float | None]] = {
        model: dict(accounts) for model, accounts in memory.parked.items() if accounts
    }
    for model, accounts in facts.parked.items():
        merged.setdefault(model, {}).update(accounts)
    for model, account in facts.unparked:
        merged.get(model, {}).pop(account, None)
    return {
        model: left
        for model, accounts in merged.items()
        if (left := {name: until for name, until in accounts.items() if until is None or until + FINDING_OUT > at})
    }


def _shut(pool: str, catalog: Catalog, parked: Mapping[str, Mapping[str, float | None]]) -> bool:
    """Say whether none of the models of a pool may be asked: its agents take no task until one finds that it may."""
    models = catalog.pools[pool].models
    return bool(models) and all(
        len(parked.get(model, {})) >= catalog.accounts.get(model.partition(":")[0], 1) for model in models
    )


def _quota_left(
    models: Sequence[str],
    catalog: Catalog,
    limits: Mapping[str, Mapping[str, Meters]],
    parked: Mapping[str, Mapping[str, float | None]],
    look: Look,
) -> float | None:
    """Return what share is left of the quota by the minute of the first model that may be asked; None: unknown.

    It is known once every account that may be used was told its limit. Quotas of a day park the model when they end.
    """
    for model in models:
        accounts = catalog.accounts.get(model.partition(":")[0], 1)
        shut = parked.get(model, {})
        if len(shut) >= accounts:
            continue
        told = [meters for account, meters in limits.get(model, {}).items() if account not in shut]
        if len(told) < accounts - len(shut):
            return None
        used = Counter[str]()
        for answered, amounts in look.metered.items():
            if answered == model or _DATED.fullmatch(answered.removeprefix(model)):
                used.update(amounts)
        left: list[float] = []
        for meter in set[str]().union(*told):
            given = [meters[meter] for meters in told if meter in meters]
            if len(given) == len(told) and all(0 < seconds <= MOST_SECONDS for _, seconds in given):
                a_minute = sum(units * 60 / seconds for units, seconds in given)
                left.append(max(0.0, 1 - used[meter] / a_minute))
        return min(left, default=None)
    return None


def _limited(memory: Memory, facts: Facts, at: float) -> dict[str, dict[int, int]]:
    """Return the calls of the last minute at a provider's limit, by pool and slice."""
    oldest = int(at // SLICE) - MINUTE
    found: dict[str, dict[int, int]] = {}
    for pool in memory.limited.keys() | facts.limited.keys():
        counts = Counter(memory.limited.get(pool, {}))
        counts.update(facts.limited.get(pool, {}))
        if kept := {slice_: count for slice_, count in counts.items() if slice_ > oldest}:
            found[pool] = kept
    return found
