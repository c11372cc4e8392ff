"""The agents that a person asked a launcher's fleet for: there, again when they are lost, not again when drained."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest
from tests.services import until

from ezaigent.core.errors import StoreUnavailable
from ezaigent.fleet import Crew, Election, Roster, Seat, WorkerInfo, queries, seats
from ezaigent.fleet import crew as module
from ezaigent.fleet.crew import OFFICE
from ezaigent.store import Database


class Noted:
    """A launcher that notes what it is told."""

    def __init__(self, *, lasting: bool = False) -> None:
        self.lasting = lasting
        self.looks: list[list[str]] = []
        self.problems: list[Exception] = []
        self.closed = 0

    async def ensure(self, seats: Sequence[Seat], workers: Sequence[WorkerInfo]) -> None:
        del workers
        self.looks.append([seat.agent for seat in seats])
        if self.problems:
            raise self.problems.pop()

    def hurry(self) -> None:
        raise AssertionError

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[Database]:
    opened = await Database.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    await opened.close()


def standby(db: Database, launcher: Noted, holder: str, **asked: int) -> Crew:
    return Crew(db, Roster(db, None), launcher, asked, holder=holder)


async def crew(db: Database, launcher: Noted, **asked: int) -> Crew:
    """Return a crew that holds the office."""
    assert await Election(db, OFFICE, "leader", lease=600).campaign() is not None
    return standby(db, launcher, "leader", **asked)


async def enter(db: Database, name: str, hosts: tuple[str, ...], **asked: int) -> None:
    info = WorkerInfo(id=name, host="here", pid=1, version="1", sandbox="off", hosts=hosts)
    await db.write(lambda conn: queries.register(conn, info, asked))


async def names(db: Database) -> list[str]:
    return [seat.agent for seat in await db.read(seats.all_seats)]


async def test_lost_agents_are_ordered_again_under_their_names_and_drained_ones_are_not(db: Database) -> None:
    launcher = Noted()
    keeping = await crew(db, launcher, claude=2, gpt=1)
    await enter(db, "by-hand", (), claude=1)
    await keeping.look()
    assert launcher.looks == [["claude-1", "claude-2", "claude-3", "gpt-1"]], "whom a person started is not counted"
    await enter(db, "launched", ("claude", "gpt"))
    await db.write(lambda conn: seats.adopt(conn, "launched", ["claude", "gpt"], None))
    await db.write(lambda conn: queries.lose(conn, ["launched"], "it died", by="a test"))
    assert await names(db) == ["claude-1"]
    await keeping.look()
    assert await names(db) == ["claude-1", "claude-2", "claude-3", "gpt-1"]

    await enter(db, "again", ("claude", "gpt"))
    await db.write(lambda conn: seats.adopt(conn, "again", ["claude", "gpt"], None))
    await keeping.look()
    await db.write(lambda conn: seats.leave(conn, ["claude-2"], "drained by me", recallable=False))
    await db.write(lambda conn: seats.left(conn, "again", ["claude-2"]))
    await keeping.look()
    assert await names(db) == ["claude-1", "claude-3", "gpt-1"]

    await db.write(lambda conn: queries.leave(conn, "again", "stopped"))
    await keeping.look()
    await keeping.close()
    assert launcher.closed == 1
    assert await names(db) == ["claude-1"], "nobody wants the others any more"


async def test_agents_of_workers_that_outlive_the_launcher_stay(db: Database) -> None:
    launcher = Noted(lasting=True)
    keeping = await crew(db, launcher, claude=1)
    await keeping.look()
    await keeping.close()
    assert await names(db) == ["claude-1"]


@pytest.mark.parametrize("lasting", [False, True])
async def test_one_of_several_launchers_starts_workers_and_the_next_one_takes_over(
    db: Database, monkeypatch: pytest.MonkeyPatch, *, lasting: bool
) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.01)
    first, second = Noted(lasting=lasting), Noted(lasting=lasting)
    leading = Crew(db, Roster(db, None), first, {"claude": 1}, holder="first", lease=9)
    standing = Crew(db, Roster(db, None), second, {"claude": 1}, holder="second", lease=9)
    leading.start()
    await until(lambda: ["claude-1"] in first.looks, within=60, what="the first one leads")
    standing.start()
    if lasting:
        await standing.look()
        assert second.looks == [], "the containers belong to the one that leads"
    else:
        await until(lambda: len(second.looks) >= 3, within=60, what="it looks after its own")
        assert all(look == [] for look in second.looks), "it starts nothing"
    await leading.close()
    await until(lambda: ["claude-1"] in second.looks, within=60, what="the next one leads")
    await standing.close()


async def test_the_launcher_beside_the_autoscaler_that_leads_is_the_first_choice(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.01)
    first, second = Noted(), Noted()
    leads = {"first": True, "second": False}
    crews = [
        Crew(db, Roster(db, None), launcher, {"claude": 1}, holder=name, lease=9)
        for name, launcher in (("first", first), ("second", second))
    ]
    for name, one in zip(leads, crews, strict=True):
        one.should_lead = lambda name=name: leads[name]
        one.start()
    await until(lambda: ["claude-1"] in first.looks, within=60, what="the first one leads")
    assert ["claude-1"] not in second.looks
    leads |= {"first": False, "second": True}
    await until(lambda: ["claude-1"] in second.looks, within=60, what="the second one has taken over")
    await until(lambda: first.looks[-1] == [], within=60, what="the first one starts nothing more")
    await crews[1].close()
    await until(lambda: first.looks[-1] == ["claude-1"], within=60, what="it fills the gap")
    await crews[0].close()


async def test_it_goes_on_whatever_breaks(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.01)
    launcher = Noted()
    launcher.problems = [StoreUnavailable("away"), RuntimeError("broken")]
    keeping = await crew(db, launcher, claude=1)
    keeping.start()
    await until(lambda: len(launcher.looks) >= 4, what="it looks again")
    await db.close()
    await keeping.close()
    assert launcher.closed == 1
