"""Fixtures of the notifications' tests: a store of each kind with two people, a push service, senders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.push.services import PushService, push_service
from tests.services.conditions import until

from ezaigent.core.outside import Inside
from ezaigent.core.settings import QueueSettings
from ezaigent.fleet import recalled
from ezaigent.push import NoteKind, Notifications, Sender
from ezaigent.push.sender import OFFICE
from ezaigent.store import Connection, Database, EventLog, Sql, emit
from ezaigent.tasks import NewTask, TaskQueue

HERE = Inside.read(["127.0.0.1"])
CONTACT = "mailto:somebody@example.org"
_user = Sql("INSERT INTO users (name, password, role, created_at) VALUES ($1, '', $2, 0)")


@pytest.fixture
async def db(db: Database) -> Database:
    """An open store in which ada may approve and vic may look."""

    def people(conn: Connection) -> None:
        _user.run(conn, "ada", "operator")
        _user.run(conn, "vic", "viewer")

    await db.write(people)
    return db


@pytest.fixture
def desk(db: Database) -> Notifications:
    """What people do with notifications, where this machine may be a push service."""
    return Notifications(db, HERE, CONTACT)


@pytest.fixture
async def service() -> AsyncIterator[PushService]:
    """A push service."""
    async with push_service() as started:
        yield started


async def subscribed(desk: Notifications, service: PushService, user: str, name: str, *kinds: NoteKind) -> str:
    """Let a browser have notifications; return its id."""
    keys = service.client(name).keys
    wanted: tuple[NoteKind, ...] = kinds or ("approvals", "failures", "budget")
    made = await desk.add(user, endpoint=service.endpoint(name), kinds=wanted, label=name, **keys)
    return made.id


@asynccontextmanager
async def sending(db: Database, name: str = "one", *, inside: Inside = HERE, **more: Any) -> AsyncGenerator[Sender]:
    """Run a sender while the block runs, once it holds the office or stands by."""
    given: dict[str, Any] = {"waits": (0.05, 0.1), **more}
    sender = Sender(db, EventLog(db), name, inside, contact=CONTACT, lease=1.0, **given)
    running = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        running.cancel()
        await asyncio.wait({running})


async def office_held(db: Database) -> None:
    """Wait until somebody sends."""

    async def begun() -> bool:
        return bool(await db.read(lambda conn: recalled(conn, OFFICE)))

    await until(begun)


async def happens(db: Database, kind: str, title: str = "Mend the cart", **data: Any) -> str:
    """Let something happen to a new task; return its id."""
    task = await TaskQueue(db, QueueSettings()).submit(NewTask(prompt=title, title=title, repo="/srv/one"))
    await db.write(lambda conn: emit(conn, kind, task_id=task.id, data=data))
    return task.id
