"""Notifications reach the browsers that want them, encrypted, once, from one process, and nowhere inside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError
from tests.push.conftest import CONTACT, HERE, happens, office_held, sending, subscribed
from tests.push.services import Client, PushService
from tests.services.conditions import until

from ezaigent.core.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from ezaigent.core.outside import Inside
from ezaigent.core.settings import ServerSettings
from ezaigent.fleet import recalled
from ezaigent.push import Notifications
from ezaigent.push.handing import Handed, hand
from ezaigent.push.keys import push_key
from ezaigent.push.models import Browser
from ezaigent.push.sender import OFFICE
from ezaigent.store import Connection, Database, EventLog, Sql, emit

COMMIT = "c" * 40


async def test_a_change_in_review_reaches_the_browser_and_nobody_else_can_read_it(
    db: Database, desk: Notifications, service: PushService
) -> None:
    await subscribed(desk, service, "ada", "phone")
    async with sending(db):
        await office_held(db)
        task = await happens(db, "task.review", commit=COMMIT, branch="ezaigent/x", files=2)
        await service.until(lambda: bool(service.got))
    pushed = service.got[0]
    note = dict(pushed.note)
    at = note.pop("at")
    assert at > 0
    assert note == {
        "kind": "approvals",
        "title": "Ready to review",
        "body": "Mend the cart",
        "tag": f"approvals {task}",
        "url": f"/#/tasks/{task}",
        "task": task,
        "commit": COMMIT,
        "user": "ada",
    }
    assert b"Mend" not in pushed.body
    with pytest.raises(Exception, match=r".*"):  # whatever the library throws for a wrong key
        Client("stranger").read(pushed.body)
    claims = pushed.signed_by(await desk.public_key())
    assert (claims["sub"], claims["aud"]) == (CONTACT, service.url)
    assert pushed.headers["content-encoding"] == "aes128gcm"
    assert int(pushed.headers["ttl"]) > 0
    assert len(pushed.headers["topic"]) <= 32


async def test_each_browser_is_told_what_it_chose(db: Database, desk: Notifications, service: PushService) -> None:
    await subscribed(desk, service, "ada", "all")
    key = await subscribed(desk, service, "ada", "later", "budget")
    await desk.choose("ada", key, ["failures"])
    await subscribed(desk, service, "vic", "looks", "approvals")
    async with sending(db):
        await office_held(db)
        await happens(db, "task.review", commit=COMMIT)
        await happens(db, "task.failed", reason="key sk-hush was refused", attempts=3)
        await happens(db, "task.blocked", question="Which one?")
        await happens(db, "run.budget", limit_usd=1.5, spent_usd=1.4, needed_usd=0.2)
        await happens(db, "task.done", by="ada")
        await service.until(lambda: len(service.got) >= 7)
    told = {name: sorted(note["title"] for note in service.notes(name)) for name in ("all", "later", "looks")}
    everything = ["Budget reached", "Needs your answer", "Ready to review", "Task failed"]
    assert told == {"all": everything, "later": ["Task failed"], "looks": ["Needs your answer", "Ready to review"]}
    assert [note["commit"] for note in service.notes("looks")] == [None, None], (
        "who may only look is offered no approval"
    )
    assert "sk-hush" not in str([one.note for one in service.got])
    assert next(note for note in service.notes("all") if note["kind"] == "budget")["body"].endswith("(cap 1.50 USD)")


async def test_an_empty_quota_or_purse_is_told_without_a_word_of_the_model(
    db: Database, desk: Notifications, service: PushService
) -> None:
    await subscribed(desk, service, "ada", "phone", "budget")
    about = {"provider": "openai", "model": "gpt-hush", "account": "k-hush", "reason": "sk-hush"}
    async with sending(db):
        await office_held(db)
        for kind, until_ in (("quota", 1_800_000_000), ("billing", None), ("auth", None)):
            data = {**about, "kind": kind, "until": until_}
            await db.write(lambda conn, data=data: emit(conn, "model.parked", data=data))
            await db.write(lambda conn, data=data: emit(conn, "model.still_parked", data=data))
        await service.until(lambda: len(service.notes("phone")) >= 3)
    notes = service.notes("phone")
    assert sorted(note["body"] for note in notes) == [
        "A provider refuses a key",
        "A provider's account has no money",
        "A provider's quota is used up; it is asked again at 2027-01-15 08:00 UTC",
    ]
    assert {(note["title"], note["url"], note["task"]) for note in notes} == {("Quota or money used up", "/#/", None)}
    assert "hush" not in str(notes)


async def test_many_at_a_time_are_one_that_counts_them(db: Database, desk: Notifications, service: PushService) -> None:
    await subscribed(desk, service, "ada", "phone")
    for number in range(9):
        await happens(db, "task.failed", title=f"Task {number}", reason="x", attempts=1)
    async with sending(db):
        await office_held(db)
        for number in range(9):
            await happens(db, "task.failed", title=f"Task {number}", reason="x", attempts=1)

        def counted() -> int:
            notes = service.notes("phone")
            return sum(int(note["title"].split()[0]) if note["tag"].endswith("many") else 1 for note in notes)

        await until(lambda: counted() >= 9)
    assert counted() == 9, "what happened before anybody sent is not told"


async def test_a_browser_that_is_gone_is_forgotten_and_the_others_are_not(
    db: Database, desk: Notifications, service: PushService
) -> None:
    for name in ("gone", "unknown", "stays"):
        await subscribed(desk, service, "ada", name)
    service.answer = lambda name, _: {"gone": 410, "unknown": 404}.get(name, 201)
    async with sending(db):
        await office_held(db)
        await happens(db, "task.failed", reason="x", attempts=1)
        await service.until(lambda: len(service.asked) == 3)

        async def left() -> bool:
            return len(await desk.of("ada")) == 1

        await until(left)
    assert [one.label for one in await desk.of("ada")] == ["stays"]


async def test_a_service_without_time_is_asked_again_and_a_refusal_is_shown(
    db: Database, desk: Notifications, service: PushService
) -> None:
    await subscribed(desk, service, "ada", "busy")
    await subscribed(desk, service, "ada", "angry")
    service.answer = lambda name, times: (503 if times < 3 else 201) if name == "busy" else 403
    async with sending(db):
        await office_held(db)
        await happens(db, "task.failed", reason="x", attempts=1)
        await service.until(lambda: bool(service.notes("busy")))

        async def said() -> bool:
            return {one.label: one.error for one in await desk.of("ada")} == {"busy": "", "angry": "it answered 403"}

        await until(said)
    assert service.asked == {"busy": 3, "angry": 1}


async def test_a_browser_that_cannot_be_signed_for_keeps_no_other_from_its_notifications(
    db: Database, desk: Notifications, service: PushService
) -> None:
    await subscribed(desk, service, "ada", "phone")
    odd = await subscribed(desk, service, "vic", "odd")
    endpoint = Sql("UPDATE subscriptions SET endpoint = 'https://push.example.org:/x' WHERE id = $1")
    await db.write(lambda conn: endpoint.run(conn, odd))
    assert (await desk.trial("vic", odd)).error == "it cannot be notified (VapidException)"
    async with sending(db):
        await office_held(db)
        for title in ("first", "second"):
            await happens(db, "task.failed", title=title, reason="x", attempts=1)
            await service.until(lambda title=title: title in [note["body"] for note in service.notes("phone")])
    assert [note["body"] for note in service.notes("phone")] == ["first", "second"]
    assert [one.error for one in await desk.of("vic")] == ["it cannot be notified (VapidException)"]


async def test_what_breaks_for_one_browser_breaks_for_no_other(
    db: Database, desk: Notifications, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("phone", "odd"):
        await subscribed(desk, service, "ada", name)

    async def broken(browser: Browser, *given: Any, **more: Any) -> Handed:
        if browser.endpoint.endswith("odd"):
            raise RuntimeError("broken")
        return await hand(browser, *given, **more)

    monkeypatch.setattr("ezaigent.push.sender.hand", broken)
    async with sending(db):
        await office_held(db)
        for title in ("first", "second"):
            await happens(db, "task.failed", title=title, reason="x", attempts=1)
            await service.until(lambda title=title: title in [note["body"] for note in service.notes("phone")])
    assert [note["body"] for note in service.notes("phone")] == ["first", "second"]


async def test_what_the_store_did_not_take_is_handed_over_again(
    db: Database, desk: Notifications, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribed(desk, service, "ada", "phone")
    said = 0

    def away(conn: Connection, key: str, error: str) -> None:
        nonlocal said
        said += 1
        if said == 1:
            raise UnavailableError("the store is away")

    monkeypatch.setattr("ezaigent.push.queries.say", away)
    async with sending(db):
        await office_held(db)
        await happens(db, "task.failed", title="first", reason="x", attempts=1)
        await service.until(lambda: len(service.got) == 2)
    assert len({note["tag"] for note in service.notes("phone")}) == 1, "the second takes the place of the first"


async def test_who_left_while_a_service_was_busy_is_not_notified_later(
    db: Database, desk: Notifications, service: PushService
) -> None:
    keys = {name: await subscribed(desk, service, "ada", name) for name in ("stays", "left", "chose")}
    await subscribed(desk, service, "vic", "other")
    service.hold = asyncio.Event()
    service.answer = lambda name, times: 503 if times < 3 else 201
    async with sending(db):
        await office_held(db)
        await happens(db, "task.failed", reason="x", attempts=1)
        await service.until(lambda: len(service.asked) == 4)
        await desk.remove("ada", keys["left"])
        await desk.choose("ada", keys["chose"], ["budget"])
        await subscribed(desk, service, "ada", "other")  # another person signed in there
        service.hold.set()
        await service.until(lambda: bool(service.notes("stays")))
        await asyncio.sleep(0.5)  # the others would have been heard of by now
    assert service.asked == {"stays": 3, "left": 1, "chose": 1, "other": 1}


async def test_only_so_many_wait_for_another_try(
    db: Database, desk: Notifications, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezaigent.push.sender._MOST_AGAIN", 1)
    for name in ("one", "two", "three"):
        await subscribed(desk, service, "ada", name)
    service.answer = lambda _name, times: 503 if times < 2 else 201
    async with sending(db, waits=(3600.0,)) as sender:
        await office_held(db)
        await happens(db, "task.failed", reason="x", attempts=1)
        head = await EventLog(db).head()

        async def told() -> bool:
            return int(await db.read(lambda conn: recalled(conn, OFFICE))) >= head

        await until(told)
        assert [one.error for one in await desk.of("ada")] == ["it answered 503"] * 3
        assert sender.waiting == 1


@pytest.mark.parametrize("contact", ["mailto:first.last+tag@mail.example.org", "https://ops.example.org"])
async def test_a_contact_of_the_settings_can_be_signed(db: Database, service: PushService, contact: str) -> None:
    desk = Notifications(db, HERE, ServerSettings(push_contact=contact).push_contact)
    key = await subscribed(desk, service, "ada", "phone")
    assert (await desk.trial("ada", key)).ok
    assert service.got[0].signed_by(await desk.public_key())["sub"] == contact


@pytest.mark.parametrize(
    "contact",
    ["https://example.org/contact", "https://example.org:8443", "https://example", "mailto:ada@mail!.org", "ada@x.org"],
)
def test_a_contact_that_cannot_be_signed_is_no_setting(contact: str) -> None:
    with pytest.raises(ValidationError, match="push_contact"):
        ServerSettings(push_contact=contact)


async def test_of_many_processes_one_sends_and_the_next_goes_on_where_it_was(
    db: Database, desk: Notifications, service: PushService
) -> None:
    await subscribed(desk, service, "ada", "phone")
    async with sending(db, "two"):
        async with sending(db, "one"):
            await office_held(db)
            await happens(db, "task.failed", title="first", reason="x", attempts=1)
            await service.until(lambda: len(service.got) == 1)
        await happens(db, "task.failed", title="second", reason="x", attempts=1)
        await service.until(lambda: len(service.got) == 2)
        await asyncio.sleep(0.5)
    assert [note["body"] for note in service.notes("phone")] == ["first", "second"]


async def test_nothing_is_sent_to_who_was_removed_or_before_the_browser_asked(
    db: Database, desk: Notifications, service: PushService
) -> None:
    await subscribed(desk, service, "ada", "phone")
    await subscribed(desk, service, "vic", "looks")
    async with sending(db):
        await office_held(db)
        await db.write(lambda conn: Sql("DELETE FROM users WHERE name = 'vic'").run(conn))
        await happens(db, "task.failed", title="first", reason="x", attempts=1)
        await service.until(lambda: bool(service.notes("phone")))
        await subscribed(desk, service, "ada", "new")
        await happens(db, "task.failed", title="second", reason="x", attempts=1)
        await service.until(lambda: bool(service.notes("new")))
    assert [note["body"] for note in service.notes("new")] == ["second"]
    assert "looks" not in service.asked


async def test_the_key_is_made_once_by_whoever_asks_first(db: Database) -> None:
    keys = await asyncio.gather(*(push_key(db) for _ in range(6)))
    assert len({key.private for key in keys}) == 1
    assert len({key.public for key in keys}) == 1
    assert keys[0].private not in repr(keys[0])


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://127.0.0.1/push",
        "https://[::1]/push",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.8/push",
        "https://2130706433/push",
        "http://push.example.org/x",
        "http://127.0.0.1:9/push",
        "file:///etc/passwd",
        "https://ada:secret@push.example.org/x",
        "https://push.example.org:/x",
        "https://[2606:4700:4700::1111]/x",
    ],
)
async def test_no_endpoint_leads_inside_or_to_what_cannot_be_signed_for(db: Database, endpoint: str) -> None:
    desk = Notifications(db, Inside(), CONTACT)
    with pytest.raises(UsageError):
        await desk.add("ada", endpoint=endpoint, kinds=["failures"], label="", **Client("x").keys)


async def test_what_was_allowed_before_is_not_posted_to_later(
    db: Database, desk: Notifications, service: PushService
) -> None:
    key = await subscribed(desk, service, "ada", "phone")
    outcome = await Notifications(db, Inside(), CONTACT).trial("ada", key)
    assert not outcome.ok
    assert "not on the public internet" in outcome.error
    assert service.got == []


async def test_keys_that_are_none_are_refused(desk: Notifications, service: PushService) -> None:
    good = service.client("x").keys
    for wrong in (
        {"p256dh": "AAAA"},
        {"auth": "AAAA"},
        {"p256dh": good["p256dh"][:-4] + "AAAA"},
        {"auth": "no base64!"},
    ):
        with pytest.raises(UsageError, match="p256dh"):
            await desk.add("ada", endpoint=service.endpoint("x"), kinds=[], label="", **{**good, **wrong})


async def test_a_browser_belongs_to_one_person(desk: Notifications, service: PushService) -> None:
    key = await subscribed(desk, service, "ada", "phone")
    for user in ("vic", "nobody"):
        with pytest.raises(NotFoundError):
            await desk.choose(user, key, [])
        with pytest.raises(NotFoundError):
            await desk.remove(user, key)
        with pytest.raises(NotFoundError):
            await desk.trial(user, key)
    assert (await desk.trial("ada", key)).ok
    assert service.notes("phone")[0]["title"] == "Notifications work"
    await subscribed(desk, service, "vic", "phone")  # the same browser, another person signed in
    assert await desk.of("ada") == []
    await desk.remove("vic", key)
    assert await desk.of("vic") == []


async def test_a_person_has_a_limited_number_of_browsers(desk: Notifications, service: PushService) -> None:
    for number in range(20):
        await subscribed(desk, service, "ada", f"b{number}")
    with pytest.raises(ConflictError, match="20 browsers"):
        await subscribed(desk, service, "ada", "one-too-many")
    await subscribed(desk, service, "ada", "b3")
    assert len(await desk.of("ada")) == 20
    assert HERE.names == frozenset()
