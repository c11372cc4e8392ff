"""Seats on both databases: names, adoption, readiness, leaving and coming back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from ezaigent.fleet import WorkerInfo, queries, seats
from ezaigent.fleet.seats import Seat
from ezaigent.store import Connection, Database, EventLog


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
async def db(url: str) -> AsyncGenerator[Database]:
    database = await Database.open(url)
    yield database
    await database.close()


async def told(db: Database) -> list[tuple[str, str | None]]:
    return [(event.kind, event.agent) for event in await EventLog(db).read(0, limit=1000)]


def names(found: Sequence[Seat]) -> list[str]:
    return [seat.agent for seat in found]


async def test_an_agent_is_ordered_adopted_ready_and_leaves(db: Database) -> None:
    assert await db.write(lambda conn: seats.order(conn, "claude", 2)) == ["claude-1", "claude-2"]
    (first, _) = await db.read(seats.all_seats)
    assert (first.worker, first.ready_at, first.pinned, first.leaving) == (None, None, False, None)
    adopted = await db.write(lambda conn: seats.adopt(conn, "one", ["claude"], 1))
    assert [(seat.agent, seat.worker, seat.ready_at) for seat in adopted] == [("claude-1", "one", None)]
    await db.write(lambda conn: seats.ready(conn, "one", ["claude-1", "claude-2"]))
    (first, second) = await db.read(seats.all_seats)
    assert first.ready_at is not None, "its worker says that it can claim"
    assert first.ready_at >= first.ordered_at
    assert second.ready_at is None, "another worker's word says nothing"
    both = ["claude-1", "claude-2"]
    assert await db.write(lambda conn: seats.leave(conn, both, "less work", recallable=True)) == both
    (first,) = await db.read(seats.all_seats)
    assert (first.agent, first.leaving, first.recallable) == ("claude-1", "less work", True), "nobody hosted the other"
    assert await db.write(lambda conn: seats.left(conn, "two", ["claude-1"])) == []
    assert await db.write(lambda conn: seats.left(conn, "one", ["claude-1"])) == ["claude-1"]
    assert await db.read(seats.all_seats) == []
    assert await told(db) == [
        ("agent.ordered", "claude-1"),
        ("agent.ordered", "claude-2"),
        ("agent.ready", "claude-1"),
        ("agent.leaving", "claude-1"),
        ("agent.leaving", "claude-2"),
        ("agent.left", "claude-2"),
        ("agent.left", "claude-1"),
    ]


async def test_the_lowest_free_numbers_of_a_profile_are_taken(db: Database) -> None:
    await db.write(lambda conn: seats.order(conn, "claude", 11))
    await db.write(lambda conn: seats.leave(conn, ["claude-3", "claude-10"], "less", recallable=False))
    assert await db.write(lambda conn: seats.order(conn, "claude", 3)) == ["claude-3", "claude-10", "claude-12"]
    assert await db.write(lambda conn: seats.order(conn, "claude-fast", 1)) == ["claude-fast-1"]
    assert await db.write(lambda conn: seats.order(conn, "claude", 0)) == []
    assert names(await db.read(seats.all_seats))[-3:] == ["claude-11", "claude-12", "claude-fast-1"]


async def test_who_orders_and_adopts_at_the_same_time_gets_different_agents(url: str) -> None:
    databases = [await Database.open(url) for _ in range(3)]
    try:
        made = await asyncio.gather(
            *(db.write(lambda conn: seats.order(conn, "claude", 5)) for _ in range(4) for db in databases)
        )
        every = [name for one in made for name in one]
        assert len(every) == len(set(every)) == 60
        assert {seats.number_of(name) for name in every} == set(range(1, 61))

        def adopt(conn: Connection, worker: str) -> list[Seat]:
            return seats.adopt(conn, worker, ["claude"], 7)

        taken = await asyncio.gather(
            *(
                db.write(lambda conn, worker=f"{index}-{turn}": adopt(conn, worker))
                for turn in range(4)
                for index, db in enumerate(databases)
            )
        )
        hosts = [name for one in taken for name in names(one)]
        assert len(hosts) == len(set(hosts)), "no agent has two workers"
        rest = await databases[0].write(lambda conn: seats.adopt(conn, "rest", ["claude"], None))
        assert len(hosts) + len(rest) == 60
    finally:
        for db in databases:
            await db.close()


async def test_a_worker_adopts_what_it_may_and_has_room_for(db: Database) -> None:
    await db.write(lambda conn: (seats.order(conn, "gpt", 2), seats.order(conn, "claude", 2)))
    assert await db.write(lambda conn: seats.adopt(conn, "one", ["claude"], 0)) == []
    assert await db.write(lambda conn: seats.adopt(conn, "one", [], None)) == []
    assert names(await db.write(lambda conn: seats.adopt(conn, "one", ["claude"], 9))) == ["claude-1", "claude-2"]
    assert names(await db.write(lambda conn: seats.adopt(conn, "two", ["claude", "gpt"], None))) == ["gpt-1", "gpt-2"]
    assert names(await db.read(lambda conn: seats.hosted(conn, "two"))) == ["gpt-1", "gpt-2"]


async def test_only_what_the_autoscaler_lets_go_is_taken_back(db: Database) -> None:
    await db.write(lambda conn: seats.order(conn, "claude", 3, worker="one"))
    await db.write(lambda conn: seats.leave(conn, ["claude-1", "claude-2"], "less work", recallable=True))
    assert await db.write(lambda conn: seats.leave(conn, ["claude-1"], "less work", recallable=True)) == []
    assert await db.write(lambda conn: seats.leave(conn, ["claude-2"], "drained by me", recallable=False)) == [
        "claude-2"
    ], "a person's word stands above it"
    assert await db.write(lambda conn: seats.recall(conn, ["claude-1", "claude-2", "claude-3"])) == ["claude-1"]
    left = {seat.agent: (seat.leaving, seat.recallable) for seat in await db.read(seats.all_seats)}
    assert left == {"claude-1": (None, False), "claude-2": ("drained by me", False), "claude-3": (None, False)}
    assert await db.write(lambda conn: seats.left(conn, "one", ["claude-1", "claude-2"])) == ["claude-2"], (
        "who was taken back meanwhile does not leave"
    )


async def test_the_seats_of_a_dead_worker_wait_for_another_one(db: Database) -> None:
    await db.write(lambda conn: seats.order(conn, "claude", 2, worker="dead"))
    await db.write(lambda conn: seats.order(conn, "claude", 1, worker="dead", pinned=True))
    await db.write(lambda conn: seats.order(conn, "claude", 1, worker="alive"))
    await db.write(lambda conn: seats.ready(conn, "dead", ["claude-1", "claude-2", "claude-3"]))
    await db.write(lambda conn: seats.leave(conn, ["claude-2"], "less work", recallable=True))
    assert names(await db.write(lambda conn: seats.orphans(conn, ["alive"]))) == ["claude-1", "claude-2", "claude-3"]
    (first, last) = await db.read(seats.all_seats)
    assert (first.agent, first.worker, first.ready_at) == ("claude-1", None, None)
    assert (last.agent, last.worker) == ("claude-4", "alive")
    assert await db.write(lambda conn: seats.orphans(conn, ["alive"])) == []
    await db.write(lambda conn: seats.release(conn, "alive", ["claude-4", "claude-1"], "the worker stops"))
    assert [seat.worker for seat in await db.read(seats.all_seats)] == [None, None]
    assert (await told(db))[-4:] == [
        ("agent.left", "claude-2"),
        ("agent.left", "claude-3"),
        ("agent.unhosted", "claude-1"),
        ("agent.unhosted", "claude-4"),
    ]


async def test_agents_of_a_worker_that_works_only_for_itself_do_not_count(db: Database) -> None:
    info = WorkerInfo(id="alone", host="here", pid=1, version="1", sandbox="off", exclusive=True)
    await db.write(lambda conn: queries.register(conn, info, {}))
    await db.write(lambda conn: seats.order(conn, "claude", 1, worker="alone", pinned=True))
    assert await db.write(lambda conn: seats.order(conn, "claude", 1)) == ["claude-2"]
    assert names(await db.read(seats.all_seats)) == ["claude-2"]


def test_a_name_has_a_number() -> None:
    assert seats.number_of("my-own-12") == 12
    assert seats.number_of("nobody") == 0
