"""Many clients of the event stream: none misses or repeats anything, and none costs more than its share."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from tests.api.conftest import Inside, inside, settings_for
from tests.api.storm import Size, storm
from tests.api.streams import until_streams
from tests.services import until

from ezaigent.api.descriptors import allow_streams
from ezaigent.api.stream import WINDOW_BYTES, Fanout
from ezaigent.api.window import PIECE, Filter, Window
from ezaigent.core.events import Event
from ezaigent.store import Database, EventLog, NewEvent, emit_many

MIB = 1024**2
SIZE = Size(clients=100, slow=4, burst=4000, text=9000, calm=0.5, patience=100)


async def test_over_an_end_and_a_kill_of_the_server_no_client_misses_or_repeats_anything(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    report = await storm(tmp_path / "home", SIZE)
    assert report.wrong == []
    assert not report.refused  # a browser comes again after a broken connection, never after another answer
    assert "Traceback" not in report.log
    # The window, twice its size at the most, a share for each client, and room to read pages. Were the burst of 36 MB
    # kept for each of the slow ones, it would be 144 MB more.
    assert max(report.peaks) - report.rest < 2 * WINDOW_BYTES + SIZE.clients * MIB // 8 + 80 * MIB


@asynccontextmanager
async def stuck(served: Inside) -> AsyncGenerator[tuple[str, int]]:
    """Open a stream that nobody reads, and write until its connection is full; yield its address."""
    host, _, port = served.server.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1024)
    request = f"GET /api/v1/events?after=0 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {served.token}\r\n\r\n"
    writer.write(request.encode())
    await until_streams(served, 1)
    rows = [NewEvent("run.step", task_id="t", data={"text": "x" * 10_000})] * 500
    for _ in range(6):
        await served.db.write(lambda conn: emit_many(conn, rows))
    yield writer.get_extra_info("sockname")
    writer.close()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let neither the system nor uvicorn end the connection of a client that takes nothing."""
    monkeypatch.setattr("ezaigent.api.server._UNTAKEN", 3_600_000)
    monkeypatch.setattr("ezaigent.api.server._GRACE", 3600)


@pytest.mark.usefixtures("alone")
async def test_a_client_that_takes_nothing_for_long_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ending its stream would not be enough: what waits to be sent to it would keep the connection open for ever."""
    monkeypatch.setattr("ezaigent.api.routes.events._STUCK", 2.0)
    async with inside(settings_for(tmp_path / "home", rate=100_000)) as served, stuck(served) as own:

        def connected() -> bool:
            return any(one.raddr == own for one in psutil.Process().net_connections("tcp"))

        await until_streams(served, 0)
        await until(lambda: not connected(), within=60, what="the server has closed its side")


@pytest.mark.usefixtures("alone")
async def test_a_client_that_takes_nothing_does_not_hold_up_the_end_of_the_server(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(100),
        contextlib.AsyncExitStack() as stack,
        inside(settings_for(tmp_path / "home", rate=100_000)) as served,  # ends first
    ):
        await stack.enter_async_context(stuck(served))
        await until_streams(served, 1)


async def test_a_restart_brings_all_clients_of_a_token_back_at_once(tmp_path: Path) -> None:
    """Streams do not count as requests, but as many as there may be at a time; and each is told a wait of its own."""
    async with (
        inside(settings_for(tmp_path / "home", rate=1, max_streams=12)) as served,
        contextlib.AsyncExitStack() as stack,
        served.client() as client,
    ):
        waits: list[int] = []
        for _ in range(12):
            answer = await stack.enter_async_context(client.stream("GET", "/api/v1/events"))
            assert answer.status_code == 200
            first = await anext(answer.aiter_lines())
            assert first.startswith("retry: ")
            waits.append(int(first[7:]))
        assert len(set(waits)) > 1
        assert min(waits) >= 500
        assert (await client.get("/api/v1/events")).status_code == 429


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "possible"),
    [
        (1024, 1_000_000, 3024, 2000),
        (1024, resource.RLIM_INFINITY, 3024, 2000),
        (1024, 2500, 2500, 1476),
        (1024, 1024, 1024, 512),
        (5000, 5000, 5000, 2000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY, 2000),
    ],
)
def test_open_files_are_asked_for(
    soft: int, hard: int, raised: int, possible: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [(soft, hard)]

    def look(_: int) -> tuple[int, int]:
        return limits[-1]

    def set_to(_: int, wanted: tuple[int, int]) -> None:
        limits.append(wanted)

    monkeypatch.setattr(resource, "getrlimit", look)
    monkeypatch.setattr(resource, "setrlimit", set_to)
    assert allow_streams(2000) == possible
    assert limits[-1] == (raised, hard)


def events(first: int, count: int, text: int) -> list[Event]:
    return [Event(seq=first + n, at=1.0, kind="run.step", data={"text": "x" * text}) for n in range(count)]


def test_the_window_is_bounded_in_events_and_in_bytes() -> None:
    many, large = Window(100, MIB), Window(10_000, MIB)
    for turn in range(20):
        many.add(events(1 + 50 * turn, 50, 10))
        large.add(events(1 + 50 * turn, 50, 10_000))
        assert len(many) <= 200
        assert large.size <= 2 * MIB
    for window in (many, large):
        assert window.tip == 1000
        position, found = window.floor, list[int]()
        while position < window.tip:
            batch = window.take(position, Filter())
            assert len(batch.frames) < PIECE + 11_000
            found += [one.seq for one in batch.events]
            position = batch.position
        assert found == list(range(window.floor + 1, 1001))
        assert len(window) == len(found)


def test_clients_at_one_place_share_what_they_are_sent() -> None:
    window = Window(100, MIB)
    window.add(events(1, 10, 10))
    first = window.take(3, Filter(kinds=frozenset({"run."})))
    assert window.take(3, Filter(kinds=frozenset({"run."}))) is first
    assert [one.seq for one in first.events] == list(range(4, 11))
    assert window.take(3, Filter(kinds=frozenset({"task."}))).events == []
    window.add(events(11, 1, 10))
    assert window.take(3, Filter(kinds=frozenset({"run."}))).position == 11


def test_an_event_is_what_it_was() -> None:
    window = Window(100, MIB)
    given = Event(seq=7, at=1.5, kind="run.step", task_id="t", agent="a", data={"text": "\ndata: \u2028 ü"})
    window.add([given])
    assert window.take(0, Filter()).events[0].event == given


async def test_a_page_out_of_the_store_is_no_larger_than_a_piece(tmp_path: Path) -> None:
    db = await Database.open(f"sqlite:///{tmp_path / 'log.db'}")
    rows = [NewEvent("run.step", data={"text": "x" * 10_000 if number < 500 else ""}) for number in range(1000)]
    await db.write(lambda conn: emit_many(conn, rows))
    async with Fanout(EventLog(db), window=1) as fanout:
        follower = fanout.follow(0, Filter(), 5)
        found: list[int] = []
        while len(found) < 1000:
            batch = await anext(follower)
            assert len(batch.frames) < PIECE + 11_000
            found += [one.seq for one in batch.events]
        await follower.aclose()
    assert found == list(range(1, 1001))
    await db.close()
