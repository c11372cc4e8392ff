"""What happens reaches every target once, in order, signed; a target that fails holds nobody up, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.hooks.conftest import QUICK, happen, sending, states
from tests.hooks.targets import Got, Receiver, receiving
from tests.services.conditions import until

from ezaigent.core.errors import ConflictError, NotFoundError, UsageError
from ezaigent.core.outside import Inside
from ezaigent.hooks import Webhooks, queries
from ezaigent.hooks.patience import Patience
from ezaigent.store import Database, EventLog


async def test_events_arrive_in_order_signed_and_once(db: Database, desk: Webhooks, receiver: Receiver) -> None:
    await happen(db, 3)
    hook, secret = await desk.add(receiver.url, kinds=["live.lost"], by="test")
    async with sending(db):
        seqs = await happen(db, 40)
        await happen(db, 5, "live.restored")
        await until(lambda: len(receiver.got) >= 40, what="40 events at the target")
        await until(_sent(desk, hook.id, 40), what="40 deliveries are sent")
    assert sorted(receiver.seqs()) == seqs
    assert len({one.id for one in receiver.got}) == 40
    assert all(one.signed_with(secret) for one in receiver.got)
    assert not any(one.signed_with("whsec_" + "A" * 43 + "=") for one in receiver.got)
    first = next(one for one in receiver.got if one.seq == seqs[0])
    assert first.event["type"] == "live.lost"
    assert first.event["data"]["data"] == {"reason": "event 0"}
    assert first.headers["Content-Type"] == "application/json"


def _sent(desk: Webhooks, key: str, count: int) -> Callable[[], Awaitable[bool]]:
    async def sent() -> bool:
        return len(await desk.deliveries(key, state="sent", limit=500)) >= count

    return sent


async def test_two_senders_never_send_the_same_twice(
    db: Database, database_url: str, desk: Webhooks, receiver: Receiver
) -> None:
    await desk.add(receiver.url, kinds=["live."], by="test")
    other = await Database.open(database_url)
    async with sending(db, "one") as one, sending(other, "two") as two:
        seqs: list[int] = []
        for _ in range(10):
            seqs += await happen(db, 20)
        await until(lambda: len(receiver.got) >= 200, what="200 events at the target")
        assert [one.leading, two.leading].count(True) == 1
        await asyncio.sleep(0.3)  # a second sender would have been heard by now
    await other.close()
    assert sorted(receiver.seqs()) == seqs


async def test_the_next_sender_goes_on_where_the_last_one_ended(
    db: Database, desk: Webhooks, receiver: Receiver
) -> None:
    hook, _ = await desk.add(receiver.url, kinds=["live."], by="test")
    async with sending(db, "one"):
        seqs = await happen(db, 10)
        await until(_sent(desk, hook.id, 10), what="the first ten are sent")
    seqs += await happen(db, 10)
    async with sending(db, "two"):
        await until(_sent(desk, hook.id, 20), what="all twenty are sent")
    assert receiver.seqs() == seqs


async def test_a_failing_target_is_tried_again_with_the_same_id_then_given_up_and_can_be_resent(
    db: Database, desk: Webhooks, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 503
    hook, secret = await desk.add(receiver.url, kinds=["live."], by="test")
    async with sending(db):
        await happen(db)
        await until(_dead(desk, hook.id), what="the delivery is dead")
        assert len(receiver.got) == QUICK.attempts == 3
        assert len({one.id for one in receiver.got}) == 1
        [dead] = await desk.deliveries(hook.id)
        assert (dead.state, dead.attempts, dead.status, dead.error) == ("dead", 3, 503, "it answered 503")
        assert dead.next_at is None
        told = [event for event in await EventLog(db).read(0) if event.kind == "webhook.dead"]
        assert [(one.data["webhook"], one.data["delivery"], one.data["reason"]) for one in told] == [
            (hook.id, dead.id, "it answered 503")
        ]
        view = await desk.get(hook.id)
        assert (view.dead, view.error) == (1, "it answered 503")

        receiver.answer = lambda _: 200
        assert await desk.retry(hook.id) == 1
        await until(_sent(desk, hook.id, 1), what="the resent delivery is sent")
        assert receiver.got[-1].id == dead.id
        assert receiver.got[-1].signed_with(secret)
        assert (await desk.get(hook.id)).error == ""
        assert await desk.retry(hook.id, dead.id) == 1
        await until(lambda: len(receiver.got) == 5, what="one that was sent is sent again when asked for by id")
        with pytest.raises(NotFoundError):
            await desk.retry(hook.id, "0123456789abcdef")


def _dead(desk: Webhooks, key: str) -> Callable[[], Awaitable[bool]]:
    async def dead() -> bool:
        found = await desk.deliveries(key)
        return bool(found) and set(states(found)) == {"dead"}

    return dead


async def test_a_target_that_never_answers_holds_no_other_up(db: Database, desk: Webhooks, receiver: Receiver) -> None:
    async with receiving() as stuck:
        stuck.silent = True
        slow, _ = await desk.add(stuck.url, kinds=["live."], by="test")
        gone, _ = await desk.add("http://127.0.0.1:9/", kinds=["live."], by="test")
        good, _ = await desk.add(receiver.url, kinds=["live."], by="test")
        async with sending(db, timeout=3600):
            seqs = await happen(db, 100)
            await until(_sent(desk, good.id, 100), what="the good target has everything")
            assert sorted(receiver.seqs()) == seqs
            assert len(stuck.got) == 8  # so many are under way at a time, not more
            assert set(states(await desk.deliveries(slow.id, limit=500))) == {"pending"}
            error = (await desk.get(gone.id)).error
            assert error.startswith("it cannot be reached")
            stuck.release()
            await until(_sent(desk, slow.id, 100), what="the slow target has everything, too")


async def test_after_a_change_of_the_url_as_many_are_under_way_as_before(
    db: Database, desk: Webhooks, receiver: Receiver
) -> None:
    receiver.silent = True
    hook, _ = await desk.add(receiver.url, kinds=["live."], by="test")
    async with receiving() as elsewhere, sending(db, timeout=3600):
        await happen(db, 7)
        await until(lambda: len(receiver.got) == 7, what="seven of eight are under way")
        await desk.change(hook.id, url=elsewhere.url, by="test")
        await happen(db)
        await until(lambda: len(elsewhere.got) == 1, what="the eighth goes to the new place")
        elsewhere.silent = True
        receiver.release()
        await until(_sent(desk, hook.id, 8), what="what was under way has ended")
        await happen(db, 20)
        await until(lambda: len(elsewhere.got) == 1 + 8, what="eight are under way to the new place")
        elsewhere.release()
        await until(_sent(desk, hook.id, 28), what="all are sent")
    assert (len(receiver.got), len(elsewhere.got)) == (7, 21)


async def test_what_is_on_its_way_is_not_sent_a_second_time_beside_it(
    db: Database, desk: Webhooks, receiver: Receiver
) -> None:
    def busy(_: Got) -> int:
        receiver.silent = True  # from the second attempt on
        return 503

    receiver.answer = busy
    hook, _ = await desk.add(receiver.url, kinds=["live."], by="test")
    async with sending(db, timeout=3600):
        await happen(db)
        await until(lambda: len(receiver.got) == 2, what="the second attempt is under way")
        [one] = await desk.deliveries(hook.id)
        assert (one.state, one.attempts, one.error) == ("pending", 2, "")
        assert await desk.retry(hook.id) == 0
        with pytest.raises(NotFoundError, match="could be sent again"):
            await desk.retry(hook.id, one.id)
        receiver.answer = lambda _: 204
        receiver.release()
        await until(_sent(desk, hook.id, 1), what="the attempt that was under way counts")
        [done] = await desk.deliveries(hook.id)
    assert (done.attempts, len(receiver.got)) == (2, 2)


async def test_what_does_not_fit_waits_in_the_log(
    db: Database, desk: Webhooks, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "BACKLOG", 10)
    receiver.answer = lambda _: 500
    hook, _ = await desk.add(receiver.url, kinds=["live."], by="test")
    async with sending(db, patience=Patience((0.2,) * 50, jitter=0)):
        seqs = await happen(db, 50)
        await until(lambda: len(receiver.got) >= 10, what="attempts fail")
        assert (await desk.get(hook.id)).pending == 10
        receiver.answer = lambda _: 204
        await desk.retry(hook.id)
        await until(_sent(desk, hook.id, 50), what="all 50 are sent")
    assert sorted({one.seq for one in receiver.got}) == seqs


async def test_a_switched_off_target_gets_nothing_and_goes_on_with_what_is_new(
    db: Database, desk: Webhooks, receiver: Receiver
) -> None:
    hook, _ = await desk.add(receiver.url, kinds=["live."], enabled=False, by="test")
    other, _ = await desk.add(receiver.url + "/other", kinds=["live."], by="test")
    async with sending(db):
        first = await happen(db, 3)
        await until(_sent(desk, other.id, 3), what="the other one has them")
        assert {one.path for one in receiver.got} == {"/hook/other"}
        await desk.change(hook.id, enabled=True, by="test")
        second = await happen(db, 3)
        await until(_sent(desk, hook.id, 3), what="the switched on one has the new ones")
        assert sorted(one.seq for one in receiver.got if one.path == "/hook") == second
        await desk.change(hook.id, kinds=["live.restored"], by="test")
        third = await happen(db, 1, "live.restored")
        await happen(db, 1)
        await until(_sent(desk, other.id, 8), what="the other one has all")
        await until(_sent(desk, hook.id, 4), what="the changed one has what it asks for")
        assert sorted(one.seq for one in receiver.got if one.path == "/hook") == second + third
        await desk.remove(other.id, by="test")
        before = len(receiver.got)
        await happen(db, 1, "live.restored")
        await until(_sent(desk, hook.id, 5), what="the one that is left goes on")
        assert len(receiver.got) == before + 1
    assert first < second < third
    assert [one.id for one in await desk.all()] == [hook.id]


async def test_everything_but_audit_and_webhook_news_is_sent_unless_kinds_are_named(
    db: Database, desk: Webhooks, receiver: Receiver
) -> None:
    everything, _ = await desk.add(receiver.url + "/all", by="test")
    audit, _ = await desk.add(receiver.url + "/audit", kinds=["audit."], by="test")
    async with sending(db):
        await happen(db, 1, "audit.login")
        await happen(db, 1, "live.lost")
        await until(_sent(desk, audit.id, 1), what="the audit event is there")
        await until(lambda: any(_is(one, "/all", "live.lost") for one in receiver.got), what="the other one, too")
    assert {one.event["type"] for one in receiver.got if one.path == "/hook/audit"} == {"audit.login"}
    kinds = {one.event["type"] for one in receiver.got if one.path == "/hook/all"}
    assert not [kind for kind in kinds if kind.startswith(("audit.", "webhook."))]
    assert everything.kinds == ()


def _is(one: Got, tail: str, kind: str) -> bool:
    return one.path.endswith(tail) and one.event["type"] == kind


async def test_a_redirect_is_not_followed(db: Database, desk: Webhooks, receiver: Receiver) -> None:
    async with receiving() as elsewhere:
        receiver.answer = lambda _: 307
        receiver.location = elsewhere.url
        hook, _ = await desk.add(receiver.url, kinds=["live."], by="test")
        trial = await desk.trial(hook.id)
        assert (trial.ok, trial.status) == (False, 307)
        assert "redirects are not followed" in trial.error
        async with sending(db):
            await happen(db)
            await until(_dead(desk, hook.id), what="it is given up")
        assert elsewhere.got == []


async def test_a_trial_is_signed_and_says_how_it_was_taken(desk: Webhooks, receiver: Receiver) -> None:
    hook, secret = await desk.add(receiver.url, by="test")
    trial = await desk.trial(hook.id[:6])
    assert (trial.ok, trial.status, trial.error) == (True, 204, "")
    [got] = receiver.got
    assert got.event["type"] == "webhook.test"
    assert got.signed_with(secret)
    receiver.answer = lambda _: 418
    failed = await desk.trial(hook.id)
    assert (failed.ok, failed.status, failed.error) == (False, 418, "it answered 418")


async def test_a_target_that_may_no_longer_be_used_is_not_used(
    db: Database, desk: Webhooks, receiver: Receiver
) -> None:
    hook, _ = await desk.add(receiver.url, kinds=["live."], by="test")
    async with sending(db, inside=Inside()):
        await happen(db)
        await until(_dead(desk, hook.id), what="it is given up")
    [dead] = await desk.deliveries(hook.id)
    assert "not on the public internet" in dead.error
    assert receiver.got == []


async def test_the_event_log_tells_where_a_target_is_and_not_what_lets_one_in(db: Database, desk: Webhooks) -> None:
    hook, _ = await desk.add("http://127.0.0.1:9/services/T0/hush?token=hush", by="test")
    await desk.change(hook.id, enabled=False, by="test")
    await desk.change(hook.id, url="http://127.0.0.1/hush", by="test")
    removed = await desk.remove(hook.id, by="test")
    assert removed.url == "http://127.0.0.1/hush"
    told = [(event.kind, event.data["url"]) for event in await EventLog(db).read(0)]
    assert told == [
        ("webhook.added", "http://127.0.0.1:9/"),
        ("webhook.changed", "http://127.0.0.1:9/"),
        ("webhook.changed", "http://127.0.0.1/"),
        ("webhook.removed", "http://127.0.0.1/"),
    ]


async def test_mistakes_are_told(db: Database, desk: Webhooks, receiver: Receiver) -> None:
    with pytest.raises(UsageError, match=r"no events of kind 'tusk\.'"):
        await desk.add(receiver.url, kinds=["tusk."], by="test")
    with pytest.raises(UsageError, match=r"no events of kind 'webhook\.dead'"):
        await desk.add(receiver.url, kinds=["webhook.dead"], by="test")
    with pytest.raises(NotFoundError):
        await desk.remove("0123456789abcdef", by="test")
    one, _ = await desk.add(receiver.url, by="test")
    await desk.add(receiver.url, by="test")
    with pytest.raises(ConflictError, match="2 webhooks begin with"):
        await desk.get(one.id[:2])
    with pytest.raises(NotFoundError):
        await desk.get("")
    for _ in range(queries.MOST - 2):
        await desk.add(receiver.url, by="test")
    with pytest.raises(ConflictError, match="remove one first"):
        await desk.add(receiver.url, by="test")


async def test_ended_deliveries_are_forgotten_above_what_is_kept(
    db: Database, desk: Webhooks, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "KEPT_SENT", 10)
    hook, _ = await desk.add(receiver.url, kinds=["live."], by="test")
    async with sending(db):
        await happen(db, 100)
        await until(lambda: len(receiver.got) == 100, what="all are sent")

        async def few() -> bool:
            return len(await desk.deliveries(hook.id, limit=500)) == 10

        await until(few, what="ten are kept")


async def test_nobody_stands_for_an_office_without_work(db: Database) -> None:
    async with sending(db) as sender:
        await asyncio.sleep(0.5)
        assert not sender.leading
    assert [event.kind for event in await EventLog(db).read(0)] == []


def test_waits_grow_over_hours_and_are_never_the_same_for_all() -> None:
    patience = Patience()
    waits = [patience.after(attempt) for attempt in range(1, patience.attempts)]
    known = [wait for wait in waits if wait is not None]
    assert len(known) == len(waits)
    assert known == sorted(known)
    assert sum(known) > 7 * 3600
    assert patience.after(patience.attempts) is None
    assert len({patience.after(3) for _ in range(20)}) > 1
    assert (patience.after(1, at_least=500.0) or 0) >= 500
