"""A conversation in the terminal: a prompt with history, answers of agents as they come, the connection's state."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ezaigent.cli.app import settings
from ezaigent.cli.output import note, out, print_error
from ezaigent.cli.person import person
from ezaigent.core.errors import EzAigentError, UnavailableError

if TYPE_CHECKING:
    from ezaigent.chat import Chat, ChatMessage
    from ezaigent.wiring import Fleet

T = TypeVar("T")

_SHOWN: Final = 10
"""Messages of the past that a conversation begins with."""
_LOOK: Final = 0.3
"""Seconds between two looks for new messages."""


def converse(to: str, *, as_json: bool) -> None:
    """Talk until the input ends (Ctrl-D) or Ctrl-C; both leave cleanly, and what runs goes on."""
    with _Session(to, as_json=as_json).opened() as session:
        session.greet()
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            while True:
                session.say(session.read())
    if not as_json and sys.stdin.isatty():
        note("left; the fleet goes on")


class _Session:
    """The terminal reads in the main thread; the fleet is spoken to in a second one, where new messages arrive."""

    def __init__(self, to: str, *, as_json: bool) -> None:
        self._to = to
        self._as_json = as_json
        self._people = sys.stdin.isatty() and not as_json
        self._loop = asyncio.new_event_loop()
        self._fleet: Fleet
        self._talk: Chat
        self._seen = 0
        self._state = "connected"
        self._printing = threading.Lock()

    @contextmanager
    def opened(self) -> Generator[_Session]:
        """Connect, and follow the conversation while the block runs."""
        from ezaigent.wiring import Fleet, open_chat

        thread = threading.Thread(target=self._loop.run_forever, name="chat", daemon=True)
        thread.start()
        self._fleet = Fleet.connect(settings=settings())
        try:
            self._call(self._fleet.__aenter__())
            try:
                self._talk = open_chat(self._fleet.services, folder=Path.cwd())
                with _history(self._fleet.settings.home if self._people else None):
                    following = asyncio.run_coroutine_threadsafe(self._follow(), self._loop)
                    try:
                        yield self
                    finally:
                        following.cancel()
            finally:
                self._call(self._fleet.__aexit__(None, None, None))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def greet(self) -> None:
        """Show the newest messages and how things stand."""
        past = self._call(self._talk.history(self._to, limit=_SHOWN))
        self._seen = max(self._seen, past[-1].id if past else 0)
        if not self._people:
            return
        for one in past:
            self._print(one)
        note(f"{self._standing()}; /help lists the commands, Ctrl-D leaves")

    def read(self) -> str:
        """Return the next line. Raises ``EOFError`` at the end of the input."""
        if self._people:
            return input(self._prompt())
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    def say(self, line: str) -> None:
        """Say a line and print what comes back; a lost connection is told and does not end the conversation."""
        from ezaigent.cli.commands.chat import print_reply, repository_here

        if not line.strip():
            return
        try:
            reply = self._call(self._talk.say(line, by=person(), to=self._to, repo=repository_here()))
        except UnavailableError as error:
            self._state = "no connection"
            print_error(str(error))
            return
        except EzAigentError as error:
            print_error(str(error))
            return
        self._state = "connected"
        with self._printing:
            print_reply(reply, as_json=self._as_json)

    # ------------------------------------------------------------------------------------------ the second thread

    async def _follow(self) -> None:
        """Print what others say: agents that answer, other people."""
        while True:
            await asyncio.sleep(_LOOK)
            try:
                fresh = await self._talk.history(self._to, after=self._seen)
            except EzAigentError:
                self._state = "no connection"
                continue
            self._state = "connected"
            for one in fresh:
                self._seen = one.id
                if one.role == "agent" or (one.role == "person" and one.author != person()):
                    self._interrupt(one)

    def _interrupt(self, message: ChatMessage) -> None:
        """Print above the line that is being typed."""
        with self._printing:
            if self._people:
                out.file.write("\r\x1b[K")
            self._print(message)
            if self._people:
                import readline

                out.file.write(self._prompt() + readline.get_line_buffer())
                out.file.flush()

    def _print(self, message: ChatMessage) -> None:
        from ezaigent.cli.commands.chat import print_message

        print_message(message, as_json=self._as_json)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _prompt(self) -> str:
        state = "" if self._state == "connected" else f" ({self._state})"
        return f"{'fleet' if self._to == 'all' else self._to}{state}> "

    def _standing(self) -> str:
        agents = self._call(self._fleet.agents())
        there = [agent for agent in agents if agent.status != "offline"]
        workers = f"{len(there)} agents there" if there else "no agent is there: start some with ezaigent up"
        return f"{self._state} to {self._fleet.services.db.where}, {workers}"


@contextmanager
def _history(home: Path | None) -> Generator[None]:
    """Let the arrow keys bring back earlier lines, also of earlier conversations."""
    if home is None:
        yield
        return
    import readline

    kept = home / "chat_history"
    with contextlib.suppress(OSError):
        readline.read_history_file(kept)
    readline.set_history_length(1000)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            readline.write_history_file(kept)
            kept.chmod(0o600)
