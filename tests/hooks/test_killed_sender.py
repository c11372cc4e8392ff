"""A server killed in the middle of deliveries: each arrives under its one id, and none is called sent that was not."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from tests.api.conftest import running
from tests.hooks.conftest import happen
from tests.hooks.targets import Got, Receiver
from tests.services.conditions import until

from ezaigent.core.settings import ServerSettings
from ezaigent.hooks import Delivery
from ezaigent.store import Connection, Database, Sql
from ezaigent.wiring import Fleet, load_settings, webhooks

_HERE = {"EZAIGENT_SERVER__INTERNAL": '["127.0.0.1"]'}
_attempts_are_due = Sql("UPDATE deliveries SET next_at = 0 WHERE state = 'pending'")
_offices_are_free = Sql("UPDATE leaders SET until = 0")


async def _waits_are_over(db: Database) -> None:
    """Go to the time at which the dead process's office and the attempts that it left are taken up again."""

    def write(conn: Connection) -> None:
        _attempts_are_due.run(conn)
        _offices_are_free.run(conn)

    await db.write(write)


async def test_over_kills_every_delivery_arrives_with_its_id_and_none_is_called_sent_that_was_not(
    tmp_path: Path, receiver: Receiver
) -> None:
    home = tmp_path / "home"
    taken: set[str] = set()

    def take(got: Got) -> int:
        taken.add(got.id)
        return 204

    settings = load_settings(home=home, server=ServerSettings(internal=["127.0.0.1"]))
    async with Fleet.connect(settings=settings) as fleet:
        db, desk = fleet.services.db, webhooks(fleet.services)
        hook, secret = await desk.add(receiver.url, kinds=["live."], by="test")

        async def kept() -> Sequence[Delivery]:
            return await desk.deliveries(hook.id, limit=500)

        async def life(failpoint: str) -> Sequence[Delivery]:
            """Serve until the process kills itself there; return what its successor finds."""
            armed = {**_HERE, "EZAIGENT_FAILPOINTS": f"{failpoint}=kill@2"}  # others are on their way, or have ended
            with running(home, "--no-worker", **armed) as (process, _):
                await happen(db, 6)
                assert await asyncio.to_thread(process.wait, 60) == -signal.SIGKILL
            return await kept()

        receiver.answer = take
        begun = await life("webhook.begun")
        assert [(one.state, one.attempts) for one in begun] == [("pending", 1)] * 6
        assert receiver.got == []

        await _waits_are_over(db)
        sent = await life("webhook.sent")
        assert taken, "the target has taken what the process could not write down any more"
        assert {one.id for one in sent if one.state == "sent"} < taken

        receiver.answer = lambda _: 503
        await _waits_are_over(db)
        failed = await life("webhook.sent")
        assert {one.id for one in failed if one.state == "sent"} < taken
        assert {one.state for one in failed} <= {"pending", "sent"}

        receiver.answer = take
        await _waits_are_over(db)
        with running(home, "--no-worker", **_HERE):

            async def all_sent() -> bool:
                return [one.state for one in await kept()] == ["sent"] * 18

            await until(all_sent, within=60, what="the next process sends what the killed ones left")
        ids = {one.id: one.seq for one in await kept()}
        happened = {event.seq for event in await fleet.services.events.read(0, 1000, kinds=["live.lost"])}
    assert set(ids.values()) == happened
    assert {got.id: got.seq for got in receiver.got} == ids, "an event is known by one id, however often it is sent"
    assert taken == set(ids)
    assert all(got.signed_with(secret) for got in receiver.got)
    assert {one.id for one in begun} | {one.id for one in failed} <= taken
    assert len(receiver.got) > len(ids), "what was taken and not written down came again"
