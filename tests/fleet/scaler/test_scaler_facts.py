"""What events say, and the snapshot that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.fleet.scaler.yard import CLAUDE, settings

from ezaigent.agents import load_profiles
from ezaigent.core.events import Event
from ezaigent.core.settings import KeySettings, ProviderSettings, Settings
from ezaigent.fleet import Catalog, WorkerInfo
from ezaigent.fleet.scaler.facts import Facts, RunEnd, finishes
from ezaigent.fleet.scaler.memory import Memory, Used
from ezaigent.fleet.scaler.pools import PoolFacts
from ezaigent.fleet.scaler.queries import Look
from ezaigent.fleet.scaler.snapshot import FINDING_OUT, View, view
from ezaigent.fleet.scaling import Finish, Leaving, Orders, PolicyState, PoolSnapshot, PoolState, Seat, Start, decide
from ezaigent.fleet.seats import Seat as Row
from ezaigent.tasks import Pauses

NOW = 1_000_000.0
TWO = Catalog(
    {"claude": PoolFacts(general=True, models=("a:x", "b:y")), "gpt": PoolFacts(general=True, models=("b:y",))},
    {"a": 2},
)
WORKER = WorkerInfo(id="w", host="h", pid=1, version="0", sandbox="off")


def event(kind: str, /, agent: str | None = None, at: float = NOW, **data: Any) -> Event:
    return Event(seq=1, at=at, kind=kind, task_id="t", run_id="t-1", agent=agent, data=data)


def told(*events: Event) -> Facts:
    facts = Facts()
    facts.tell(events)
    return facts


def row(agent: str, **more: Any) -> Row:
    values: dict[str, Any] = {"worker": "w", "pinned": False, "ordered_at": NOW - 100, "ready_at": NOW - 90}
    values |= {"leaving": None, "leaving_at": None, "recallable": False, **more}
    return Row(agent=agent, profile=agent.rpartition("-")[0], **values)


def look(*rows: Row, **more: Any) -> Look:
    values: dict[str, Any] = {"at": NOW, "workers": {"w": WORKER}, "busy": {}, "queued": {}, "paused": Pauses()}
    values |= {"answers": {}, "metered": {}, "spent": {}, **more}
    return Look(seats=rows, **values)


def seen(
    look: Look,
    facts: Facts | None = None,
    memory: Memory | None = None,
    *,
    catalog: Catalog = CLAUDE,
    runs: Mapping[str, RunEnd] | None = None,
    strained: bool = False,
    spent: bool = False,
    **values: Any,
) -> View:
    return view(
        look,
        facts or Facts(),
        runs or {},
        memory or Memory(),
        settings=settings(**values),
        catalog=catalog,
        strained=strained,
        spent=spent,
    )


def pool(view: View, name: str = "claude") -> PoolSnapshot:
    return next(one for one in view.snapshot.pools if one.name == name)


def test_what_came_began_and_became_ready() -> None:
    facts = told(
        event("task.submitted", state="queued", profile="claude"),
        event("task.submitted", state="waiting", profile="claude"),
        event("task.queued", pool="claude"),
        event("task.requeued", agent="claude-1", pool="claude"),
        event("task.claimed", agent="claude-2", waited=3.5),
        event("agent.ready", agent="claude-3", profile="claude", seconds=2.0),
    )
    assert (facts.came, facts.starts) == ({"claude": 3}, {"claude": [Start(NOW, 3.5)]})
    assert (facts.startups, facts.freed) == ({"claude": [2.0]}, {"claude-1": NOW})
    assert facts.waking
    assert not told(event("task.claimed", agent="claude-2")).waking, "a claim alone changes nothing that is decided"


@pytest.mark.parametrize(
    ("kind", "outcome", "found"),
    [
        ("task.review", "review", [Finish(NOW, 30.0)]),
        ("task.done", "done", [Finish(NOW, 30.0)]),
        ("task.failed", "failed", [Finish(NOW, 30.0, failed=True)]),
        ("task.retrying", "failed", [Finish(NOW, 30.0, failed=True)]),
        ("task.blocked", "blocked", [Finish(NOW, 30.0)]),
        ("task.failed", "lost", []),
        ("task.done", "review", []),
    ],
)
def test_runs_that_ended(kind: str, outcome: str, found: Sequence[Finish]) -> None:
    ended = {"t-1": RunEnd("claude", NOW - 30, NOW, outcome, limited=False)}
    assert finishes([event(kind)], ended).get("claude", []) == found


def test_a_persons_word_is_no_end_of_a_run() -> None:
    ended = {"t-1": RunEnd("claude", NOW - 99, NOW - 30, "done", limited=False)}
    assert finishes([event("task.done")], ended) == {}
    assert finishes([event("task.done")], {}) == {}
    limited = {"t-1": RunEnd("claude", NOW - 30, NOW, "failed", limited=True)}
    assert finishes([event("task.failed")], limited)["claude"][0].limited


def test_every_agent_is_in_one_group() -> None:
    made = pool(
        seen(
            look(
                row("claude-1"),
                row("claude-2"),
                row("claude-3", ready_at=None),
                row("claude-4", worker=None, ready_at=None),
                row("claude-5", worker="gone"),
                row("claude-6", leaving="less work", leaving_at=NOW - 5, recallable=True),
                row("other-1"),
                busy={"claude-1": NOW - 50, "claude-6": NOW - 60},
            )
        )
    )
    assert made.busy == (Seat("claude-1", NOW - 50),)
    assert made.idle == (Seat("claude-2", NOW - 90),)
    assert [seat.agent for seat in made.starting] == ["claude-3", "claude-4", "claude-5"]
    assert made.draining == (Leaving("claude-6", NOW - 5, recallable=True),)


def test_since_when_an_agent_is_idle() -> None:
    memory = Memory(idle={"claude-1": NOW - 40, "claude-2": NOW - 40})
    facts = told(event("task.done", agent="claude-2", at=NOW - 3))
    made = seen(look(row("claude-1"), row("claude-2"), row("claude-3")), facts, memory)
    assert {seat.agent: NOW - seat.since for seat in pool(made).idle} == {"claude-1": 40, "claude-2": 3, "claude-3": 90}
    assert made.memory.idle.keys() == {"claude-1", "claude-2", "claude-3"}


def test_whom_a_person_holds_is_no_capacity_and_a_held_pool_is_left_alone() -> None:
    made = seen(look(row("claude-1"), row("claude-2"), paused=Pauses({"claude-1": True})))
    assert [seat.agent for seat in pool(made).idle] == ["claude-2"]
    held = seen(look(row("claude-1"), row("gpt-1"), paused=Pauses({"claude": True})), catalog=TWO)
    assert [one.name for one in held.snapshot.pools] == ["gpt"]


def test_pinned_agents_are_counted_and_never_victims() -> None:
    rows = [row(f"claude-{number}", pinned=number < 4) for number in range(1, 7)]
    made = seen(look(*rows), max=2, policy="static", size=1, min=0)
    own = made.settings.pool("claude")
    assert (own.min, own.max, own.size) == (3, 3, 3)
    decided = decide(made.snapshot, PolicyState(), made.settings).pools[0]
    assert (decided.before, decided.target) == (6, 3)
    assert set(decided.orders.retire) == {"claude-4", "claude-5", "claude-6"}
    stop = seen(look(*rows[:3], busy={"claude-1": NOW - 5}), spent=True)
    decided = decide(stop.snapshot, PolicyState(), stop.settings).pools[0]
    assert (decided.target, decided.binding, decided.orders) == (3, "pinned", Orders())


def test_general_tasks_count_where_they_will_be_taken() -> None:
    made = seen(look(row("gpt-1"), queued={"*": 4, "claude": 1}), told(event("task.queued", pool="*")), catalog=TWO)
    assert (pool(made).queued, pool(made, "gpt").queued) == (3, 2)
    assert (pool(made).arrivals, pool(made, "gpt").arrivals) == (0, 1)


def parked(model: str, account: str, until: float | None = NOW + 60) -> Event:
    provider, _, name = model.partition(":")
    return event("model.parked", provider=provider, model=name, account=account, until=until)


def test_a_pool_whose_models_are_all_parked_keeps_one_agent_to_find_out() -> None:
    facts = told(parked("a:x", "one"), parked("b:y", "one"))
    made = seen(look(queued={"*": 3}), facts, catalog=TWO)
    assert pool(made).ceilings.provider is None, "another account of its first model answers"
    assert pool(made, "gpt").ceilings.provider == 1
    assert (pool(made).queued, pool(made, "gpt").queued) == (3, 0), "and it gets no general work"
    both = seen(look(), told(parked("a:x", "two", None)), made.memory, catalog=TWO)
    assert pool(both).ceilings.provider == 1
    again = event("model.unparked", provider="a", model="x", account="two")
    assert pool(seen(look(), told(again), both.memory, catalog=TWO)).ceilings.provider is None
    later = seen(replace(look(), at=NOW + 61), None, made.memory, catalog=TWO)
    assert pool(later, "gpt").ceilings.provider == 1, "the time is over, and one agent finds out"
    still = event("model.still_parked", provider="b", model="y", account="one", until=NOW + 600)
    longer = seen(replace(look(), at=NOW + 599), told(still), later.memory, catalog=TWO)
    assert pool(longer, "gpt").ceilings.provider == 1
    quiet = seen(replace(look(), at=NOW + 60 + FINDING_OUT), None, made.memory, catalog=TWO)
    assert pool(quiet, "gpt").ceilings.provider is None, "nobody wanted to know"


def test_idle_agents_of_a_parked_pool_are_not_counted_on_for_general_tasks() -> None:
    rows = [row(f"gpt-{number}") for number in range(1, 6)]
    facts = told(parked("b:y", "one"), *(event("task.queued", pool="*") for _ in range(4)))
    made = seen(look(*rows, queued={"*": 4}), facts, catalog=TWO)
    assert [(pool(made, name).queued, pool(made, name).arrivals) for name in ("claude", "gpt")] == [(4, 4), (0, 0)]
    all_parked = told(parked("b:y", "one"), parked("a:x", "one"), parked("a:x", "two"))
    made = seen(look(*rows, queued={"*": 4}), all_parked, catalog=TWO)
    assert (pool(made).queued, pool(made, "gpt").queued) == (0, 4), "where nobody else can, one that is there finds out"


def test_one_agent_of_a_parked_pool_stays_as_long_as_tasks_wait() -> None:
    """It was idle for long, but to let it go would be to start another one for the tasks, again and again."""
    catalog = Catalog({"claude": PoolFacts(models=("a:x",), general=True)}, {})
    rows = [row("claude-1"), row("claude-2", ready_at=NOW - 50)]
    shut = told(parked("a:x", "one"))
    waiting = seen(look(*rows, queued={"claude": 1}), shut, catalog=catalog, min=0, startup=1.0)
    decided = decide(waiting.snapshot, PolicyState(), waiting.settings).pools[0]
    assert (decided.target, decided.orders) == (1, Orders(retire=("claude-1",)))
    assert waiting.memory.idle == {"claude-1": NOW - 90, "claude-2": NOW - 50}, "what is remembered is the truth"
    nothing = seen(look(*rows), shut, catalog=catalog, min=0, startup=1.0)
    assert decide(nothing.snapshot, PolicyState(), nothing.settings).pools[0].target == 0


def test_the_share_of_limited_calls_in_the_last_minute() -> None:
    hits = [event("run.provider_error", agent="claude-1", kind="rate_limit"), event("model.waiting", agent="claude-2")]
    other = event("run.provider_error", agent="claude-1", kind="overload")
    made = seen(look(answers={"claude": 6}), told(*hits, other))
    assert pool(made).limited_share == 0.25
    later = seen(replace(look(answers={"claude": 6}), at=NOW + 75), None, made.memory)
    assert pool(later).limited_share == 0.0


def test_ceilings_of_the_host_and_of_the_day() -> None:
    made = pool(seen(look(row("claude-1"), row("claude-2", leaving="x")), strained=True, spent=True))
    assert (made.ceilings.host, made.ceilings.budget) == (1, 0)
    free = Catalog({"mechanic": PoolFacts(general=True, paid=False)}, {})
    assert pool(seen(look(), spent=True, catalog=free), "mechanic").ceilings.budget is None


def test_failed_starts_count_for_the_pools_that_wait_for_one() -> None:
    facts = told(event("launcher.failed", name="x", ready=False), event("launcher.failed", name="y", ready=True))
    made = seen(look(row("claude-1"), row("gpt-1", worker=None, ready_at=None)), facts, catalog=TWO)
    assert (pool(made).failed_starts, pool(made, "gpt").failed_starts) == (0, 1), "who was ready once had started"


def test_what_agents_use_is_counted_by_the_hour_and_the_day() -> None:
    day = 86_400.0 * 10
    used = Used(day).after(day + 30, 4, 60)
    assert (used.hour, used.day) == (120, 120)
    assert used.after(day + 3610, 4, 60) == Used(day + 3610, 240, 360), "nobody looked for an hour"
    assert used.after(day + 86_400, 1, 60) == Used(day + 86_400, 60, 60)
    made = seen(look(row("claude-1"), spent={"claude": (5, 7)}), None, Memory(used={"claude": Used(NOW - 10, 50, 60)}))
    spending = pool(made).spending
    assert (spending.hour_agent_seconds, spending.day_agent_seconds) == (60, 70)
    assert (spending.hour_nano_usd, spending.day_nano_usd) == (5, 7)


def test_the_memory_is_plain_text_and_bears_other_versions() -> None:
    memory = Memory(
        cursor=7,
        policy=PolicyState({"claude": PoolState(looked_at=1.0, services=(3.0,))}),
        parked={"a:x": {"one": None}},
        limited={"claude": {100: 2}},
        used={"claude": Used(1.0, 2.0, 3.0)},
        last={"claude": {"target": 1}},
    )
    assert Memory.from_text(memory.to_text()) == memory
    assert Memory.from_text("") == Memory.from_text('{"cursor": "?"}') == Memory()
    assert Memory.from_text('{"cursor": 3, "later": 1}').cursor == 3
    anew = memory.forgetting(9)
    assert (anew.cursor, anew.policy.pools["claude"].looked_at, anew.policy.pools["claude"].services) == (9, None, (3,))


def test_the_catalog(tmp_path: Path) -> None:
    keys = [KeySettings(api_key=SecretStr(text)) for text in ("a", "b")]
    given = Settings(home=tmp_path, providers={"openai": ProviderSettings(keys=keys)})
    known = load_profiles(given)
    both = Catalog.of(["claude", "mechanic"], known, given)
    assert (both.pools["claude"].general, both.pools["mechanic"].general) == (True, False)
    assert both.pools["claude"].models[0].startswith("anthropic:")
    assert (both.pools["mechanic"].models, both.pools["mechanic"].paid, both.accounts) == ((), False, {"openai": 2})
    assert Catalog.of(["mechanic"], known, given).pools["mechanic"].general, "nobody else would take general tasks"


def test_the_catalog_leaves_out_fallbacks_whose_key_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    given = Settings(home=tmp_path)
    claude = load_profiles(given)["claude"]
    every = (claude.model, *claude.fallbacks)
    assert Catalog.of(["claude"], {"claude": claude}, given).pools["claude"].models == every, "the keys are elsewhere"
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    own = tuple(model for model in every if model.startswith("anthropic:"))
    assert len(own) < len(every)
    assert Catalog.of(["claude"], {"claude": claude}, given).pools["claude"].models == own


def limits(model: str, account: str, **meters: tuple[float, float]) -> Event:
    provider, _, name = model.partition(":")
    return event("model.limits", provider=provider, model=name, account=account, limits=meters)


def used(**meters: float) -> dict[str, dict[str, float]]:
    return {"a:x": dict.fromkeys(("requests", "tokens", "input_tokens", "output_tokens"), 0.0) | meters}


def test_what_is_left_of_the_quota_is_what_the_scarcest_meter_leaves() -> None:
    facts = told(
        limits("a:x", "k-1", requests=(60, 60), tokens=(1000, 60)),
        limits("a:x", "k-2", requests=(40, 60), tokens=(1000, 60)),
    )
    found = seen(look(metered=used(requests=80.0, tokens=500.0)), facts, catalog=TWO)
    assert pool(found).quota_left == pytest.approx(0.2)
    later = seen(look(metered=used(requests=300.0)), Facts(), Memory.from_text(found.memory.to_text()), catalog=TWO)
    assert pool(later).quota_left == 0.0, "the limits are remembered"
    assert pool(seen(look(), Facts(), found.memory, catalog=TWO)).quota_left == 1.0, "nothing was used"
    dated = {"a:x-20261101": {"requests": 50.0}, "a:x-mini": {"requests": 100.0}}
    assert pool(seen(look(metered=dated), Facts(), found.memory, catalog=TWO)).quota_left == pytest.approx(0.5)


def test_the_quota_is_unknown_until_every_account_was_told_its_own() -> None:
    facts = told(limits("a:x", "k-1", requests=(60, 60)))
    busy = look(metered=used(requests=59.0))
    found = seen(busy, facts, catalog=TWO)
    assert pool(found).quota_left is None
    assert pool(seen(look(), told(limits("a:x", "k-1", requests=(50, 86400))), catalog=CLAUDE)).quota_left is None
    parked = told(event("model.parked", provider="a", model="x", account="k-2", until=None))
    assert pool(seen(busy, parked, found.memory, catalog=TWO)).quota_left == pytest.approx(1 / 60), "k-2 gives nothing"


def test_a_pool_whose_quota_is_nearly_used_up_does_not_grow() -> None:
    catalog = Catalog({"claude": PoolFacts(general=True, models=("a:x",))}, {})
    facts = told(limits("a:x", "k-1", requests=(60, 60)))
    waiting = {"claude": 30}
    rows = [row(f"claude-{number}") for number in (1, 2)]
    busy = {"claude-1": NOW - 5, "claude-2": NOW - 5}

    def target(requests: float) -> tuple[int, str]:
        now = look(*rows, busy=busy, queued=waiting, metered=used(requests=requests))
        found = seen(now, facts, catalog=catalog, max=20)
        (made,) = decide(found.snapshot, PolicyState(), found.settings).pools
        return made.target, made.reason

    assert target(30.0)[0] == 20
    held, why = target(58.0)
    assert held == 2
    assert "3% of the quota is left" in why
