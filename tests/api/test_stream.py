"""Live events: complete, in order, none twice; over restarts, for slow clients, and only what each may see."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.conftest import Inside, inside, settings_for
from tests.api.streams import Sent, collect, read_stream, until_streams
from tests.services import until

from ezaigent.api.stream import Fanout
from ezaigent.api.window import Filter
from ezaigent.core.events import Event
from ezaigent.store import Database, EventLog, NewEvent, emit_many


async def say(
    db: Database, count: int, *, task_id: str = "t", agent: str | None = None, text: str | None = None
) -> None:
    """Write events that count up."""
    rows = [
        NewEvent("run.step", task_id=task_id, agent=agent, data={"n": number, "text": text}) for number in range(count)
    ]
    await db.write(lambda conn: emit_many(conn, rows))


async def sequence(db: Database, kind: str | None = None) -> list[int]:
    """Return the numbers of all events, or of those of one kind."""
    log = EventLog(db)
    found: list[Event] = []
    while page := await log.read(found[-1].seq if found else 0):
        found += page
    return [event.seq for event in found if kind in {None, event.kind}]


def ids(sent: Sequence[Sent]) -> list[int | None]:
    return [one.id for one in sent]


async def test_an_event_reaches_a_client_that_is_there(served: Inside) -> None:
    async with served.client() as client:
        reading = asyncio.create_task(collect(client, 3))
        await until_streams(served, 1)
        await say(served.db, 3, agent="claude-1")
        found = await reading
    assert [one.event for one in found] == ["run.step"] * 3
    assert [one.data["data"]["n"] for one in found] == [0, 1, 2]
    assert [one.data["seq"] for one in found] == ids(found)


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_client_resumes_behind_what_it_has(served: Inside, *, by_header: bool) -> None:
    await say(served.db, 1200)
    numbers = await sequence(served.db)
    for place in (0, 1, 499, 700, len(numbers) - 1):
        after = numbers[place - 1] if place else 0
        given: dict[str, Any] = {"headers": {"Last-Event-ID": str(after)}} if by_header else {"after": after}
        async with served.client() as client:
            found = await collect(client, len(numbers) - place, **given)
        assert ids(found) == numbers[place:]


async def test_a_stream_tells_its_place_before_the_first_event(served: Inside) -> None:
    """A client that loses the connection before anything happened knows where to go on."""
    await say(served.db, 5)
    head = (await sequence(served.db))[-1]
    async with served.client() as client, client.stream("GET", "/api/v1/events") as answer:
        first = await anext(read_stream(answer))
    assert (first.id, first.event) == (head, "")


async def test_filters(served: Inside) -> None:
    await say(served.db, 2, task_id="one", agent="claude-1")
    await say(served.db, 2, task_id="two", agent="gpt-1")
    await served.db.write(lambda conn: emit_many(conn, [NewEvent("task.done", task_id="one")]))
    async with served.client() as client:
        assert [one.data["task_id"] for one in await collect(client, 2, after=0, task="two")] == ["two"] * 2
        assert [one.data["agent"] for one in await collect(client, 2, after=0, agent="claude-1")] == ["claude-1"] * 2
        assert [one.event for one in await collect(client, 1, after=0, kind="task.done")] == ["task.done"]
        assert [one.event for one in await collect(client, 5, after=0, kind=["task.", "run.step"])] == [
            *["run.step"] * 4,
            "task.done",
        ]


async def test_audit_events_are_for_administrators(served: Inside) -> None:
    _, weak = await served.accounts.create_token("weak", "operate", owner=None, days=None, by="test", address="test")
    await say(served.db, 1)
    async with served.client(weak) as client:
        assert [one.event for one in await collect(client, 1, after=0)] == ["run.step"]
    async with served.client() as admin:
        assert "audit.credential" in {one.event for one in await collect(admin, 3, after=0)}


async def test_a_place_beyond_the_log_is_told_to_start_over(served: Inside) -> None:
    async with served.client() as client:
        found = await collect(client, 1, after=10**9)
    assert found[0].event == "resync"
    assert found[0].data["head"] < 10**9


async def test_a_restarted_server_leaves_no_gap_and_no_duplicate(tmp_path: Path) -> None:
    """Clients keep coming again with the last id they have, while events are written and the server goes twice."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = settings_for(tmp_path / "home", rate=100_000)
    (tmp_path / "home").mkdir()
    db = await Database.open(f"sqlite:///{tmp_path / 'home' / 'ezaigent.db'}")
    stop = asyncio.Event()
    written = asyncio.create_task(_write_until(db, stop))
    clients: list[asyncio.Task[None]] = []
    got: list[list[int]] = [[] for _ in range(20)]
    numbers: list[int] = []
    try:
        for round_ in range(3):
            async with inside(settings, port=port) as served:
                if not clients:
                    clients = [
                        asyncio.create_task(_keep_reading(served.server.url, served.token, mine)) for mine in got
                    ]
                wanted = [len(mine) + 50 for mine in got]
                await until(lambda: all(len(mine) >= most for mine, most in zip(got, wanted, strict=True)), within=20)  # noqa: B023
                if round_ == 2:
                    stop.set()
                    await written
                    numbers = await sequence(db, "run.step")
                    last = numbers[-1]
                    await until(lambda: all(mine[-1] == last for mine in got), within=20)  # noqa: B023
                    for client in clients:
                        client.cancel()
                    await asyncio.gather(*clients, return_exceptions=True)
        for mine in got:
            assert mine == [number for number in numbers if number >= mine[0]]
    finally:
        stop.set()
        for client in clients:
            client.cancel()
        await asyncio.gather(written, *clients, return_exceptions=True)
        await db.close()


async def _write_until(db: Database, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await say(db, 3)
        await asyncio.sleep(0.005)


async def _keep_reading(url: str, token: str, got: list[int]) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        while True:
            mine = {"Last-Event-ID": str(got[-1])} if got else {}
            with contextlib.suppress(httpx.HTTPError):
                async with client.stream("GET", "/api/v1/events", params={"kind": "run."}, headers=mine) as answer:
                    async for sent in read_stream(answer):
                        if sent.event == "run.step" and sent.id is not None:
                            got.append(sent.id)  # noqa: PERF401 - what came before the break counts
            await asyncio.sleep(0.02)


async def test_a_client_that_takes_nothing_holds_back_nobody(served: Inside) -> None:
    """Its connection fills, it stands; the others get everything, and what waits for it is not kept in memory."""
    host, _, port = served.server.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        f"GET /api/v1/events?after=0 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {served.token}\r\n\r\n".encode()
    )
    await until_streams(served, 1)
    async with served.client() as client:
        quick = asyncio.create_task(collect(client, 6000, kind="run.step", seconds=60))
        await until_streams(served, 2)
        for _ in range(12):
            await say(served.db, 500, text="x" * 2000)
        assert len(await quick) == 6000
    assert not reader.at_eof()
    writer.close()
    await writer.wait_closed()


async def test_who_falls_out_of_the_window_is_told_and_caught_up_from_the_store(tmp_path: Path) -> None:
    db = await Database.open(f"sqlite:///{tmp_path / 'log.db'}")
    async with Fanout(EventLog(db), window=100) as fanout:
        follower = fanout.follow(0, Filter(private=True), 0.05)
        assert not (await anext(follower)).events  # nothing yet: live
        await say(db, 1000)
        await until(lambda: fanout.tip == 1000, what="the reader has them")
        found: list[int] = []
        marks = 0
        while len(found) < 1000:
            batch = await anext(follower)
            marks += batch.resync
            found += [one.seq for one in batch.events]
        await follower.aclose()
        assert marks == 1
        assert found == list(range(1, 1001))
        assert fanout.kept <= 200
    await db.close()


async def test_others_events_are_silence_for_a_client_that_does_not_want_them(tmp_path: Path) -> None:
    """On a busy fleet a filtered stream shows life, too."""
    db = await Database.open(f"sqlite:///{tmp_path / 'log.db'}")
    stop = asyncio.Event()
    writing = asyncio.create_task(_write_until(db, stop))
    async with Fanout(EventLog(db)) as fanout:
        follower = fanout.follow(0, Filter(kinds=frozenset({"task."})), 0.5)
        async with asyncio.timeout(40):
            for _ in range(2):
                silent = await anext(follower)
                assert not silent.events
                assert silent.position > 0  # a client that comes again need not be shown those anew
            before = fanout.tip
            await until(lambda: fanout.tip > before, what="it is busy")
            await db.write(lambda conn: emit_many(conn, [NewEvent("task.done", task_id="one")]))
            while not (batch := await anext(follower)).events:
                pass
        assert [one.kind for one in batch.events] == ["task.done"]
        await follower.aclose()
    stop.set()
    await writing
    await db.close()


async def test_a_stopping_server_ends_its_streams_in_order(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with inside(settings_for(tmp_path / "home", rate=100_000)) as served:
            client = await stack.enter_async_context(served.client())
            reading = asyncio.create_task(_to_the_end(client))
            await until_streams(served, 1)
        sent = await asyncio.wait_for(reading, 10)
    assert sent[-1].event == "bye"


async def _to_the_end(client: httpx.AsyncClient) -> list[Sent]:
    async with client.stream("GET", "/api/v1/events") as answer:
        return [sent async for sent in read_stream(answer)]


async def test_streams_have_a_most(tmp_path: Path) -> None:
    async with (
        inside(settings_for(tmp_path / "home", rate=100_000, max_streams=1)) as served,
        served.client() as client,
        client.stream("GET", "/api/v1/events"),
    ):
        await until_streams(served, 1)
        assert (await client.get("/api/v1/events")).status_code == 429


async def test_a_stream_ends_when_its_token_is_revoked(served: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezaigent.api.routes.events.HEARTBEAT", 0.1)
    view, token = await served.accounts.create_token("short", "read", owner=None, days=None, by="t", address="t")
    async with served.client(token) as client:
        reading = asyncio.create_task(_to_the_end(client))
        await until_streams(served, 1)
        await served.accounts.revoke(view.id, owner=None, by="t", address="t")
        await asyncio.wait_for(reading, 10)


async def test_a_store_that_is_away_for_a_while_stops_no_stream_for_good(tmp_path: Path) -> None:
    db = await Database.open(f"sqlite:///{tmp_path / 'log.db'}")
    log = Flaky(db)
    async with Fanout(log) as fanout:
        follower = fanout.follow(0, Filter(), 5)
        await say(db, 1)
        first = await anext(follower)
        assert log.failures == 0
        assert [one.seq for one in first.events] == [1]
        await follower.aclose()
    await db.close()


class Flaky(EventLog):
    """A log whose store is away for the first reads."""

    failures = 2

    async def head(self) -> int:
        """Fail twice."""
        if self.failures:
            self.failures -= 1
            if self.failures:
                from ezaigent.core.errors import StoreUnavailable

                raise StoreUnavailable("away")
            raise RuntimeError("broken")
        return await super().head()
