"""Many clients of the event stream at a real server that ends twice and comes again: in order, then killed.

Some clients stop reading for a while, so that what is sent to them fills the connection. All come again with the last
id that they have, as browsers do, after the wait that the server told them. Tasks are submitted all the while.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from tests.api.conftest import environment
from tests.services import until

from ezaigent.core.events import Event
from ezaigent.store import Database, EventLog, NewEvent, emit_many
from ezaigent.tasks import NewTask, TaskQueue
from ezaigent.wiring import Fleet, accounts

USUAL_FILES = 1024
"""Open files that the system lets a process have unless it asks for more; the server starts with these."""
_PACE = 0.25
"""Seconds between two submits."""
_FRAME = re.compile(rb"(?:retry: (\d+)\n)?(?:id: (\d+)\n)?(?:event: (\S+)\n)?(?:data: (.*)\n)?\n")
_AT = re.compile(rb'"at":([0-9.]+)')
_PAUSE = 1.0
_CaughtUp = Callable[[Sequence["Client"]], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything."""

    clients: int
    """In all."""
    slow: int
    """Of them those that stop reading, half of them until the server ends. They, and as many quick ones, take
    everything; the others what tasks do."""
    burst: int
    """Events that are written while those do not read."""
    text: int
    """Characters in each of them."""
    calm: float
    """Seconds for which nothing happens but work."""
    patience: float
    """Seconds that anything may take."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of it."""

    events: int
    """In the log."""
    delivered: int
    """To all clients together."""
    wrong: list[str]
    """What is missing, comes twice or out of order."""
    behind: tuple[int, int]
    """Clients that were told that they had fallen behind: slow ones, others."""
    refused: Counter[int]
    """Answers other than a stream, by status."""
    connecting: float
    """Seconds until all were connected at first."""
    ending: float
    """Seconds that the server took to end in order, while some did not read."""
    returning: tuple[float, float]
    """Seconds from a new server until all were back and had everything: after the end in order, after the kill."""
    late: tuple[list[float], list[float]]
    """Seconds from what a task does to the quick clients: before some did not read, and while."""
    rest: int
    """Bytes of the server's memory before the first client."""
    peaks: tuple[int, ...]
    """The most bytes of each server's memory."""
    log: str
    """What the servers wrote to their standard error."""


@dataclass
class Client:
    """One that follows the stream."""

    kind: str | None
    """What it asks for: a beginning of kinds; None for everything."""
    start: int | None = None
    """Where it was told that it stands."""
    last: int | None = None
    retry: float = _PAUSE
    got: list[int] = field(default_factory=list[int])
    late: list[float] = field(default_factory=list[float])
    marks: int = 0
    open: bool = False
    refused: Counter[int] = field(default_factory=Counter[int])
    reading: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, session: aiohttp.ClientSession) -> None:
        """Read; come again whenever it ends."""
        asked = {} if self.kind is None else {"kind": self.kind}
        while True:
            place = {} if self.last is None else {"Last-Event-ID": str(self.last)}
            wait = self.retry
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get("/api/v1/events", params=asked, headers=place) as answer:
                    if answer.status == 200:
                        await self._read(answer.content)
                    else:
                        self.refused[answer.status] += 1
                        wait = float(answer.headers.get("Retry-After", wait))
            self.open = False
            await asyncio.sleep(max(wait, self.retry))

    def late_again(self) -> list[float]:
        """Return how late came what tasks did since the last time."""
        found, self.late = self.late, []
        return found

    async def _read(self, content: aiohttp.StreamReader) -> None:
        rest = b""
        while True:
            await self.reading.wait()
            piece = await content.readany()
            if not piece:
                return
            whole, end, rest = (rest + piece).rpartition(b"\n\n")
            for frame in _FRAME.finditer(whole + end):
                self._take(*frame.groups())

    def _take(self, retry: bytes | None, seq: bytes | None, kind: bytes | None, data: bytes | None) -> None:
        if retry is not None:
            self.retry = int(retry) / 1000
        if seq is not None:
            self.last = int(seq)
        if kind is None and seq is not None:
            self.open = True
            if self.start is None:
                self.start = int(seq)
        elif kind is not None and seq is not None and data is not None:
            self.got.append(int(seq))
            if kind.startswith(b"task.") and (at := _AT.search(data)):
                self.late.append(time.time() - float(at[1]))
        elif kind == b"resync":
            self.marks += 1


class Servers:
    """A server in a process of its own, and the one after it on the same port."""

    def __init__(self, home: Path) -> None:
        """Serve what is in ``home``."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._log = home.parent / "servers.log"
        self.peaks: list[int] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What they wrote to their standard error."""
        return self._log.read_text(encoding="utf-8")

    async def start(self) -> None:
        """Start one, with the usual limits, and return when it is ready."""
        words = [sys.executable, "-m", "ezaigent", "up", "--no-worker", "--json", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - takes milliseconds
                ["sh", "-c", f'ulimit -Sn {USUAL_FILES}; exec "$@"', "sh", *words],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(self._home, EZAIGENT_SERVER__RATE="100"),
            )
        assert self._process.stdout is not None
        line = await asyncio.to_thread(self._process.stdout.readline)
        assert line, f"the server ended with {self._process.wait()}: {self.log}"

    def memory(self, name: str = "VmRSS") -> int:
        """Return bytes of its memory: what it has, or (``VmHWM``) the most that it had."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        return int(status.partition(f"{name}:")[2].split()[0]) * 1024

    async def stop(self, by: signal.Signals) -> float:
        """End it; return the seconds that it took."""
        assert self._process is not None
        assert self._process.stdout is not None
        self.peaks.append(self.memory("VmHWM"))
        begun = time.monotonic()
        self._process.send_signal(by)
        await asyncio.to_thread(self._process.wait, 60)
        self._process.stdout.close()
        return time.monotonic() - begun

    def end(self) -> None:
        """Leave none behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


async def storm(home: Path, size: Size) -> Report:
    """Let it happen. Raises ``AssertionError`` when something takes longer than ``size.patience``."""
    _allow_files(4 * size.clients + USUAL_FILES)
    async with contextlib.AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(Fleet.connect(home))
        db, log = fleet.services.db, EventLog(fleet.services.db)
        _, token = await accounts(fleet).create_token("storm", "read", owner=None, days=None, by="test", address="-")
        servers = Servers(home)
        stack.callback(servers.end)
        await servers.start()
        await _read_a_little(servers.url, token)
        rest = servers.memory()
        slow = [Client(None) for _ in range(size.slow)]
        quick = [Client(None if number < size.slow else "task.") for number in range(size.clients - size.slow)]
        every = [*slow, *quick]
        for client in every:
            client.reading.set()
        usual = await stack.enter_async_context(_session(servers.url, token, small=False))
        small = await stack.enter_async_context(_session(servers.url, token, small=True))
        writing = await stack.enter_async_context(_writing(fleet.services.queue))
        begun = time.monotonic()
        for session, clients in ((small, slow), (usual, quick)):
            for client in clients:
                await stack.enter_async_context(_beside(client.follow(session)))
        await until(lambda: all(client.open for client in every), within=size.patience, what="all are connected")
        connecting = time.monotonic() - begun

        async def caught_up(clients: Sequence[Client]) -> None:
            """Wait until these have what is in the log by now."""
            mark = await fleet.services.queue.submit(_task())
            last = [event.seq for event in await log.read(0, 10, task_id=mark.id)][-1]
            await until(
                lambda: all((client.last or 0) >= last for client in clients),
                within=size.patience,
                what="all have the newest event",
            )

        await asyncio.sleep(size.calm)
        await caught_up(every)
        calm = [late for client in quick for late in client.late_again()]
        for client in slow:
            client.reading.clear()
        for _ in range(0, size.burst, 500):
            await _burst(db, size)
        await asyncio.sleep(size.calm)
        await caught_up(quick)
        reached = await log.head() - size.burst // 2
        assert all((client.last or 0) < reached for client in slow), "what waits for a slow client waits in the log"
        busy = [late for client in quick for late in client.late_again()]
        for client in slow[::2]:
            client.reading.set()
        await caught_up([*quick, *slow[::2]])
        ending = await servers.stop(signal.SIGTERM)
        first = await _again(servers, quick, caught_up, size)
        for client in slow:
            client.reading.set()
        await caught_up(every)
        await servers.stop(signal.SIGKILL)
        second = await _again(servers, every, caught_up, size)
        writing.set()
        await caught_up(every)
        await servers.stop(signal.SIGTERM)
        events = await _all(log)
    return Report(
        events=len(events),
        delivered=sum(len(client.got) for client in every),
        wrong=[text for number, client in enumerate(every) if (text := _wrong(number, client, events))],
        behind=(sum(client.marks > 0 for client in slow), sum(client.marks > 0 for client in quick)),
        refused=sum((client.refused for client in every), Counter[int]()),
        connecting=connecting,
        ending=ending,
        returning=(first, second),
        late=(calm, busy),
        rest=rest,
        peaks=tuple(servers.peaks),
        log=servers.log,
    )


async def _again(servers: Servers, clients: Sequence[Client], caught_up: _CaughtUp, size: Size) -> float:
    """Start the next server; return the seconds until these clients are back at it and have everything."""
    await until(lambda: not any(client.open for client in clients), within=size.patience, what="the old one is gone")
    await servers.start()
    begun = time.monotonic()
    await until(lambda: all(client.open for client in clients), within=size.patience, what="all are back")
    await caught_up(clients)
    return time.monotonic() - begun


def _wrong(number: int, client: Client, log: Sequence[Event]) -> str | None:
    """Return what is wrong with what a client got, if anything is."""
    assert client.start is not None
    due = [
        event.seq
        for event in log
        if event.seq > client.start and event.kind.startswith(client.kind or "") and not event.kind.startswith("audit.")
    ]
    if client.got == due:
        return None
    missing, twice = set(due) - set(client.got), [seq for seq, times in Counter(client.got).items() if times > 1]
    return f"client {number}: {len(missing)} missing, {len(twice)} twice, ordered: {client.got == sorted(client.got)}"


def _task() -> NewTask:
    return NewTask(prompt="Mend the test of the cart.", repo="/srv/shop")


async def _burst(db: Database, size: Size) -> None:
    rows = [NewEvent("run.step", task_id="none", data={"text": "x" * size.text})] * 500
    await db.write(lambda conn: emit_many(conn, rows))


async def _all(log: EventLog) -> list[Event]:
    found: list[Event] = []
    while page := await log.read(found[-1].seq if found else 0):
        found += page
    return found


async def _read_a_little(url: str, token: str) -> None:
    """Let the server load what it loads with the first requests."""
    async with _session(url, token, small=False) as session:
        for path in ("/api/v1/tasks", "/metrics"):
            async with session.get(path) as answer:
                assert answer.status == 200, await answer.text()


@asynccontextmanager
async def _writing(queue: TaskQueue) -> AsyncGenerator[asyncio.Event]:
    """Submit tasks until the event is set, or the block ends."""
    enough = asyncio.Event()

    async def write() -> None:
        while not enough.is_set():
            await queue.submit_many([_task(), _task()])
            await asyncio.sleep(_PACE)

    async with _beside(write()):
        yield enough


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Work while the block runs; what breaks it is raised at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _session(url: str, token: str, *, small: bool) -> AsyncGenerator[aiohttp.ClientSession]:
    """Open what makes connections; ``small`` ones take little from the network before their client reads."""

    def make(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)  # noqa: FBT003 - its only parameter
        if small:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        return made

    connector = aiohttp.TCPConnector(limit=0, socket_factory=make)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(url, headers=headers, connector=connector, timeout=timeout) as session:
        yield session


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
