"""The election: one holder, a fence that grows, stale writes refused."""

from __future__ import annotations

import asyncio

import pytest
from tests.fleet.scaler.yard import Yard
from tests.services import until

from ezaigent.core.errors import StaleFence
from ezaigent.fleet.leader import Election, Term, hold, leader, recalled, remember
from ezaigent.store import Connection, Sql

_until = Sql("UPDATE leaders SET until = {now} + CAST($1 AS double precision)")


async def take(candidate: Election) -> Term:
    term = await candidate.campaign()
    assert term is not None
    return term


async def test_one_of_many_holds_the_office(yard: Yard) -> None:
    candidates = [Election(yard.db, "scaler", f"c{number}", 60) for number in range(8)]
    terms = await asyncio.gather(*(one.campaign() for one in candidates))
    (term,) = [one for one in terms if one is not None]
    assert term.fence == 1
    assert [await one.campaign() for one in candidates] == [None] * 8
    found = await yard.db.read(lambda conn: leader(conn, "scaler"))
    assert found is not None
    assert (found.holder, found.fence) == (term.holder, 1)
    assert [event.data["holder"] for event in await yard.told("leader.elected")] == [term.holder]


async def test_a_silent_holder_is_replaced_and_may_write_nothing_more(yard: Yard) -> None:
    old, new = Election(yard.db, "scaler", "old", 60), Election(yard.db, "scaler", "new", 60)
    before = await take(old)
    await yard.db.write(lambda conn: _until.run(conn, -1.0))
    after = await take(new)
    assert after.fence == before.fence + 1

    def write(conn: Connection) -> None:
        hold(conn, before)
        remember(conn, before, "mine")

    for refused in (yard.db.write(write), old.renew(before), old.resign(before)):
        with pytest.raises(StaleFence, match="old holds the office 'scaler' no longer"):
            await refused
    with pytest.raises(StaleFence):
        await yard.db.write(lambda conn: remember(conn, before, "mine"))
    assert await yard.db.read(lambda conn: recalled(conn, "scaler")) == ""
    await new.renew(after)


async def test_whoever_resigns_leaves_what_the_office_knows(yard: Yard) -> None:
    old, new = Election(yard.db, "scaler", "old", 60), Election(yard.db, "scaler", "new", 60)
    term = await take(old)

    def write(conn: Connection) -> None:
        hold(conn, term)
        remember(conn, term, "known")

    await yard.db.write(write)
    await old.resign(term)
    assert await yard.db.read(lambda conn: leader(conn, "scaler")) is None
    await take(new)
    assert await yard.db.read(lambda conn: recalled(conn, "scaler")) == "known"


async def test_an_end_beyond_every_lease_comes_from_a_clock_that_was_set_back(yard: Yard) -> None:
    await take(Election(yard.db, "scaler", "old", 60))
    await yard.db.write(lambda conn: _until.run(conn, 3600.0))
    assert (await take(Election(yard.db, "scaler", "new", 60))).fence == 2


async def test_a_lease_ends_by_the_databases_clock(yard: Yard) -> None:
    await take(Election(yard.db, "scaler", "old", 0.3))
    new = Election(yard.db, "scaler", "new", 0.3)

    async def won() -> bool:
        return await new.campaign() is not None

    await until(won, within=5)
