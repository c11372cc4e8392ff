"""The scripted model server: every provider's wire format over real HTTP, faults on demand, every request counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from ezaigent.core.errors import UnavailableError
from ezaigent.testing import control
from ezaigent.testing.conversation import Script, Turn
from ezaigent.testing.exchange import serve
from ezaigent.testing.faults import Fault
from ezaigent.testing.limits import Limits, RateLimiter
from ezaigent.testing.record import Ledger, RequestRecord
from ezaigent.testing.wires import route

_BASES: Final = {"openai": "/openai/v1", "anthropic": "/anthropic", "google": "/google", "mistral": "/mistral"}
"""Path that a provider's client starts from; every other provider is taken for a compatible one: ``/<name>/v1``."""

_BACKLOG = 4096
_KEEP_ALIVE = 600.0


class ModelServer:
    """A model provider whose answers come from a script.

    ::

        async with ModelServer(from_steps(["Hello."])) as server:
            settings.providers["anthropic"].base_url = server.base_url("anthropic")
    """

    def __init__(
        self,
        script: Script,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        latency: float = 0.0,
        chunk_delay: float = 0.0,
        require_key: bool = True,
        keep_turns: int = 200,
    ) -> None:
        """Prepare a server; nothing listens before :meth:`start`.

        ``latency`` is the seconds before the first byte, ``chunk_delay`` those after each event of a stream, now.
        ``require_key`` refuses requests without an API key. ``keep_turns`` normalised requests stay in :attr:`turns`.
        """
        self.script = script
        self.latency = latency
        self.chunk_delay = chunk_delay
        self.require_key = require_key
        self.limiter = RateLimiter()
        self.ledger = Ledger()
        self.turns: deque[Turn] = deque(maxlen=keep_turns)
        self.script_errors: list[Exception] = []
        self.faults: list[Fault] = []
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None
        self._release = asyncio.Event()
        self._changed = asyncio.Event()

    async def start(self) -> Self:
        """Listen; raises :class:`UnavailableError` when the port is taken."""
        server = web.Server(self._handle, handler_cancellation=True, access_log=None, keepalive_timeout=_KEEP_ALIVE)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=_BACKLOG).start()
        except OSError as error:
            await runner.cleanup()
            raise UnavailableError(f"cannot listen on {self._host}:{self._port}: {error.strerror}") from error
        self._runner = runner
        self._port = runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        """Break every connection and stop listening."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; an error inside a script surfaces here, so that a test can't take it for the provider's."""
        await self.stop()
        if self.script_errors and error is None:
            raise ExceptionGroup("the model server's script failed", self.script_errors)

    @property
    def url(self) -> str:
        """The server's root, without a trailing slash."""
        return f"http://{self._host}:{self._port}"

    def base_url(self, provider: str) -> str:
        """Return what to set as ``[providers.<provider>] base_url``."""
        return self.url + _BASES.get(provider, f"/{provider}/v1")

    @property
    def base_urls(self) -> dict[str, str]:
        """Base URLs of the five built-in providers."""
        return {name: self.base_url(name) for name in (*_BASES, "deepseek")}

    @property
    def requests(self) -> list[RequestRecord]:
        """Every model request so far, in order of arrival."""
        return self.ledger.records

    def repeated(self) -> dict[str, list[RequestRecord]]:
        """Return the conversations that were completed more than once, see :meth:`Ledger.repeated`."""
        return self.ledger.repeated()

    def key_mark(self, key: str) -> str:
        """Return how ``key`` shows in the records."""
        return self.ledger.mark(key)

    def fail(self, *faults: Fault) -> None:
        """Plan faults; of several that meet a request the one planned first strikes."""
        self.faults.extend(faults)

    def clear_faults(self) -> None:
        """Forget all planned faults and let hanging requests go on."""
        self.faults.clear()
        self.release()

    def release(self) -> None:
        """Let every request that hangs now go on."""
        self._release.set()
        self._release = asyncio.Event()

    def limit(self, limits: Limits, *, provider: str = "*", model: str = "*") -> None:
        """Answer 429 beyond these limits, and tell them in the provider's headers."""
        self.limiter.set(limits, provider=provider, model=model)

    async def wait_until(
        self, condition: Callable[[Sequence[RequestRecord]], bool], *, timeout: float = 30.0
    ) -> Sequence[RequestRecord]:
        """Wait until the records meet a condition; raises :class:`TimeoutError` after ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            while not condition(self.ledger.records):
                await self._changed.wait()
        return self.ledger.records

    # What an exchange asks of its server.

    def opened(self, record: RequestRecord, turn: Turn) -> None:
        """Take in a new request."""
        self.ledger.records.append(record)
        self.turns.append(turn)
        self.changed()

    def changed(self) -> None:
        """Wake whoever waits for the records to change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def next_fault(self, turn: Turn) -> Fault | None:
        """Return the first planned fault that meets this request."""
        return next((fault for fault in self.faults if fault.strikes(turn)), None)

    async def released(self) -> None:
        """Hang until :meth:`release`."""
        await self._release.wait()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith("/control/"):
            return await control.answer(self, request)
        found = route(path) if request.method == "POST" else None
        if found is None:
            return web.json_response({"error": {"message": f"nothing speaks at {request.method} {path}"}}, status=404)
        return await serve(self, request, found)
