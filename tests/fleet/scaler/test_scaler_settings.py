"""Settings changed at run time: atomic, validated with the file's, lasting; and the switch."""

from __future__ import annotations

import asyncio

import pytest
from tests.fleet.scaler.yard import Yard, settings

from ezaigent.core.errors import UsageError
from ezaigent.core.scaling import ScalingSettings

FILE = settings(max=20, cooldown=60)


async def test_a_change_leaves_other_keys_alone_and_lasts(yard: Yard) -> None:
    control = yard.control(FILE)
    await control.configure({"max": "30", "dry_run": "true"}, by="me")
    await control.configure({"min": 3}, by="me", pool="claude")
    force = await yard.control(FILE).settings()
    assert force.changes == {"max": 30, "dry_run": True, "pools": {"claude": {"min": 3}}}, "as what they mean"
    own = force.settings.pool("claude")
    assert (own.max, own.min, own.cooldown, own.dry_run) == (30, 3, 60, True)
    assert [event.data["by"] for event in await yard.told("scaler.configured")] == ["me", "me"]


async def test_all_or_nothing(yard: Yard) -> None:
    control = yard.control(FILE)
    for changes, text in (
        ({"max": 30, "min": 40}, "min: 40 is above max"),
        ({"max": 30, "nonsense": 1}, "nonsense: there is no such setting"),
        ({"pools": {"claude": {"down_threshold": 20}}}, "pools.claude.down_threshold: 20 is not below up_threshold"),
        ({"pools": 3}, "pools: 3 is refused"),
        ({"pools": {"claude": 3}}, "pools.claude: 3 is refused"),
    ):
        with pytest.raises(UsageError, match=text):
            await control.configure(changes, by="me")
    with pytest.raises(UsageError, match="no pool 'nobody'; there are: claude"):
        await control.configure({"min": 1}, by="me", pool="nobody")
    assert (await control.settings()).changes == {}
    assert await yard.told("scaler.configured") == []


async def test_a_change_can_be_taken_back(yard: Yard) -> None:
    control = yard.control(FILE)
    await control.configure({"max": 30, "pools": {"claude": {"min": 3, "keep": 1}}}, by="me")
    await control.configure({"max": None}, by="me")
    await control.configure({"keep": None}, by="me", pool="claude")
    assert (await control.settings()).changes == {"pools": {"claude": {"min": 3}}}
    await control.configure({"pools": {"claude": None}}, by="me")
    force = await control.settings()
    assert (force.changes, force.settings) == ({}, FILE)
    said = len(await yard.told("scaler.configured"))
    await control.configure({"max": None}, by="me")
    assert len(await yard.told("scaler.configured")) == said, "nothing changed, nothing is told"


async def test_two_people_at_once_lose_nothing(yard: Yard) -> None:
    control = yard.control(FILE)
    await asyncio.gather(*(control.configure({key: 7}, by="me") for key in ("max", "cooldown", "period", "keep")))
    assert (await control.settings()).changes == {"max": 7, "cooldown": 7.0, "period": 7.0, "keep": 7.0}


async def test_a_file_that_contradicts_the_changes_holds_and_it_is_said(yard: Yard) -> None:
    await yard.control(FILE).configure({"min": 15}, by="me")
    other = ScalingSettings(max=10)
    force = await yard.control(other).settings()
    assert force.settings == other
    assert "min: 15 is above max, which is 10" in force.problem


async def test_the_switch(yard: Yard) -> None:
    control = yard.control(FILE)
    assert not await control.start(by="me"), "it is on at first"
    assert await control.stop(by="me")
    assert not await control.stop(by="me")
    assert (await yard.control(FILE).status()).state == "stopped"
    assert await control.start(by="you")
    assert [event.data for event in await yard.told("scaler.stopped")] == [{"by": "me"}]
    assert [event.data for event in await yard.told("scaler.started")] == [{"by": "you"}]
