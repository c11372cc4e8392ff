"""Which pools are sized, and a fleet with agents that a person asked for beside those of the autoscaler."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.services import until

from ezaigent.core.errors import UsageError
from ezaigent.tasks import NewTask
from ezaigent.wiring import Fleet, load_settings, scaled_pools, scaler_control, scaling_beside


def test_the_pools_are_those_with_agents_and_those_that_are_named(tmp_path: Path) -> None:
    named = {"pools": {"gpt": {"max": 3}}}
    settings = load_settings(home=tmp_path, fleet={"pools": {"mechanic": 1}}, scaling=named)
    assert scaled_pools(settings) == ["mechanic", "gpt"]
    wrong = load_settings(home=tmp_path, scaling={"pools": {"nobody": {"max": 3}}})
    with pytest.raises(UsageError, match=r"\[scaling.pools.nobody\] names no known profile"):
        scaled_pools(wrong)
    with pytest.raises(UsageError, match=r"setting 'scaling' is wrong .*: min: 11 is above max, which is 10"):
        load_settings(home=tmp_path, scaling={"min": 11})


@pytest.mark.sandbox
async def test_agents_that_were_asked_for_stay(tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path / "home",
        scaling={"max": 3, "period": 0.2, "startup": 1, "keep": 0},
        costs={"daily_budget_usd": 5.0},
    )
    repo = tmp_path / "gone"
    async with Fleet.embedded(settings=settings, agents={"mechanic": 2}, hosts=["mechanic"]) as fleet:
        async with scaling_beside(fleet) as scaler:
            control = scaler_control(fleet.services)

            async def stands(size: int) -> bool:
                pool = (await control.status()).pools[0]
                return pool.busy + pool.idle == size and not pool.starting and pool.pinned == 2

            await until(lambda: stands(2))
            await control.configure({"min": 3}, by="me")
            await until(lambda: stands(3))
            await control.configure({"min": 0, "max": 1}, by="me")
            await until(lambda: stands(2))
            assert scaler.leading
            pool = (await control.status()).pools[0]
            assert (pool.min, pool.max) == (2, 2), "raised to what was asked for"
            await fleet.services.queue.submit(NewTask(prompt="x", repo=str(repo), max_attempts=1))
            await until(lambda: stands(2))
        assert (await scaler_control(fleet.services).status()).state == "no leader"
