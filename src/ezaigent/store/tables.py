"""The schema of every room, once, for both databases.

Money is nano-USD, times are seconds since 1970 by the database's clock, JSON is text. Only ``needs`` has foreign keys:
every other row that belongs to a task is written under the task's fence, and checking a key for each journaled step
would cost PostgreSQL more than the step.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Big = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits on both: SQLite's INTEGER always is, and only INTEGER can be its row id."""


Key = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is compared for order or equality only: byte order is the same everywhere, and faster."""


def _key(name: str, **options: Any) -> Column[str]:
    return Column(name, Key, nullable=False, **options)


def _maybe_key(name: str, **options: Any) -> Column[str | None]:
    return Column(name, Key, **options)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=False, **options)


def _maybe_text(name: str) -> Column[str | None]:
    return Column(name, Text)


def _whole(name: str, **options: Any) -> Column[int]:
    return Column(name, Big, nullable=False, **options)


def _time(name: str) -> Column[float]:
    return Column(name, Double, nullable=False)


def _maybe_time(name: str) -> Column[Any]:
    return Column(name, Double)


tasks = Table(
    "tasks",
    metadata,
    _key("id", primary_key=True),
    _maybe_key("key"),
    _text("title"),
    _text("prompt"),
    _text("repo"),
    _maybe_text("base"),
    _key("project"),
    _maybe_text("profile"),
    _key("pool"),  # the profile, or * when any general agent may take the task
    Column("priority", SmallInteger, nullable=False),
    _text("scope"),
    _text("checks"),
    _text("needs"),  # never changes after the submit; the table of the same name finds the dependents
    _text("overlap", server_default=text("'allow'")),  # wait: not beside a task that changes the same files
    _text("predicted", server_default=text("'[]'")),  # globs and where each is known from, where no scope was given
    Column("guarded", SmallInteger, nullable=False, server_default=text("0")),  # 1: waits, and has globs
    Column("budget_nusd", Big),
    _maybe_time("not_before"),
    Column("max_attempts", Integer),
    _key("state"),
    Column("attempts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("session", Integer, nullable=False),
    Column("fresh", SmallInteger, nullable=False),  # 1: the next claim begins a new attempt with a new journal
    _whole("fence"),
    _maybe_text("agent"),
    _maybe_key("run_id"),
    _maybe_text("worker"),
    _maybe_time("lease_until"),
    _maybe_time("wake_at"),
    _maybe_time("queued_at"),
    _maybe_key("held_by"),  # the task that changes the same files and goes first
    Column("cancel_requested", Boolean, nullable=False),
    _text("reason"),
    _maybe_text("change"),
    _time("created_at"),
    _time("updated_at"),
    _maybe_time("started_at"),
    _maybe_time("finished_at"),
    # Each claim and each end leaves a dead row behind; the usual fifth of a long table is far too many of them.
    postgresql_with={"autovacuum_vacuum_scale_factor": 0.01, "autovacuum_vacuum_threshold": 2000},
)

_queued = text("state = 'queued'")
_running = text("state = 'running'")
_keyed = text("key IS NOT NULL")
_held = text("held_by IS NOT NULL")
_guarded = text("guarded = 1 AND state IN ('queued', 'running', 'waiting')")
_sleeping = text("wake_at IS NOT NULL")
# What a claim looks at; each index holds only the tasks that matter to it, however many are done.
Index(
    "ix_tasks_queue",
    *(tasks.c.pool, tasks.c.priority, tasks.c.project, tasks.c.id),
    sqlite_where=_queued,
    postgresql_where=_queued,
)
Index("ix_tasks_running", tasks.c.lease_until, tasks.c.project, sqlite_where=_running, postgresql_where=_running)
Index("ix_tasks_wake", tasks.c.wake_at, sqlite_where=_sleeping, postgresql_where=_sleeping)
Index("uq_tasks_key", tasks.c.key, unique=True, sqlite_where=_keyed, postgresql_where=_keyed)
Index("ix_tasks_held_by", tasks.c.held_by, sqlite_where=_held, postgresql_where=_held)
Index("ix_tasks_guarded", tasks.c.project, sqlite_where=_guarded, postgresql_where=_guarded)
Index("ix_tasks_state", tasks.c.state, tasks.c.id)

needs = Table(
    "needs",
    metadata,
    Column("task_id", Key, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("needs_id", Key, ForeignKey("tasks.id"), primary_key=True, index=True),
)

touched = Table(
    "touched",
    metadata,
    _key("task_id", primary_key=True),
    _key("project"),
    _text("words"),  # what the task was asked for in
    _text("paths"),  # the files of its change
    Index("ix_touched_project", "project", "task_id"),
)

runs = Table(
    "runs",
    metadata,
    _key("id", primary_key=True),  # <task>-<fence>: the runs of a task are a range of ids
    _key("task_id"),
    Column("session", Integer, nullable=False),
    _whole("fence"),
    _text("agent"),
    _text("profile"),
    _text("worker"),
    _time("started_at"),
    _maybe_time("ended_at"),
    _maybe_text("outcome"),
    _text("reason", server_default=text("''")),
    Index("ix_runs_agent", "agent", "started_at"),
)

journal = Table(
    "journal",
    metadata,
    Column("task_id", Key, primary_key=True),
    Column("session", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _whole("fence"),
    _text("name"),
    Column("payload", LargeBinary, nullable=False),
    _maybe_text("checkpoint"),
    _time("at"),
)

events = Table(
    "events",
    metadata,
    Column("seq", Big, Identity(), primary_key=True),
    _time("at"),
    _text("kind"),
    _maybe_key("task_id"),
    _maybe_key("run_id"),
    _maybe_text("agent"),
    _text("data"),
    Index("ix_events_task_id", "task_id", "seq"),
    sqlite_autoincrement=True,  # a number is never given twice, not even after the newest rows were pruned
)

usage = Table(
    "usage",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    _key("task_id", index=True),
    _key("run_id"),
    Column("session", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("at", Double, nullable=False, index=True),
    _text("agent"),
    _text("profile"),
    _text("provider"),
    _text("model"),
    _whole("input_tokens"),
    _whole("cache_read_tokens"),
    _whole("cache_write_5m_tokens"),
    _whole("cache_write_1h_tokens"),
    _whole("output_tokens"),
    _whole("reasoning_tokens"),
    Column("cost_nusd", Big),  # NULL: the price is unknown, which is not 0
    _maybe_text("price_date"),
    _text("outcome"),
)

ledgers = Table(
    "ledgers",
    metadata,
    _key("key", primary_key=True),  # task:<id>, day:2026-11-23
    Column("limit_nusd", Big),
    _whole("spent_nusd", server_default=text("0")),
    _whole("held_nusd", server_default=text("0")),
)

reservations = Table(
    "reservations",
    metadata,
    _key("id", primary_key=True),
    _key("task_id", index=True),
    _key("run_id"),
    _whole("fence"),
    _whole("amount_nusd"),
    _text("keys"),
    _time("at"),
)

messages = Table(
    "messages",
    metadata,
    _key("id", primary_key=True),
    _maybe_text("to_agent"),
    _maybe_key("task_id"),
    _text("text"),
    _text("by"),
    _time("created_at"),
    _maybe_time("delivered_at"),
    _maybe_key("run_id"),
)
_undelivered = text("delivered_at IS NULL")
Index("ix_messages_inbox", messages.c.created_at, sqlite_where=_undelivered, postgresql_where=_undelivered)

pauses = Table(
    "pauses",
    metadata,
    _key("target", primary_key=True),  # *, a pool or an agent; the most particular one that is there holds
    Column("paused", Boolean, nullable=False),  # false: goes on although something wider is paused
    _text("by"),
    _time("at"),
)

clock = Table(
    "clock",
    metadata,
    _key("boot", primary_key=True),  # the kernel's id of the time since it was started
    _time("ahead"),  # of the kernel's steady clock: seconds since 1970 when that read 0; the embedded store's time
)

workers = Table(
    "workers",
    metadata,
    _key("id", primary_key=True),
    _text("host"),
    Column("pid", Integer, nullable=False),
    _text("version"),
    _time("started_at"),
    _time("seen_at"),
    _text("info"),
)

seats = Table(
    "seats",
    metadata,
    _key("agent", primary_key=True),
    _key("profile"),
    _maybe_key("worker", index=True),  # NULL: ordered, and no worker hosts it yet
    Column("pinned", Boolean, nullable=False),  # asked for by a person: the autoscaler counts it and leaves it alone
    _time("ordered_at"),
    _maybe_time("ready_at"),
    _maybe_text("leaving"),  # the reason; the agent takes no further task and its seat goes when it has none
    _maybe_time("leaving_at"),
    Column("recallable", Boolean, nullable=False),
)

leaders = Table(
    "leaders",
    metadata,
    _key("office", primary_key=True),
    _maybe_key("holder"),
    _whole("fence"),
    _time("until"),
    _text("state"),  # what the office remembers from one holder to the next
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    _time("at"),
    _key("pool"),
    _text("data"),
    Index("ix_decisions_pool", "pool", "id"),
)

overrides = Table(
    "overrides",
    metadata,
    _key("name", primary_key=True),
    _text("value"),
    _text("by"),
    _time("updated_at"),
)

users = Table(
    "users",
    metadata,
    _key("name", primary_key=True),
    _text("password"),  # argon2id, or the fingerprint of somebody who signs in elsewhere
    _text("role"),
    _time("created_at"),
)

sessions = Table(
    "sessions",
    metadata,
    _key("id", primary_key=True),  # the SHA-256 of what the cookie holds
    _key("user", index=True),
    _time("created_at"),
    _time("expires_at"),
)

arrivals = Table(
    "arrivals",
    metadata,
    _key("id", primary_key=True),  # the SHA-256 of the state that an OpenID provider gives back
    _time("expires_at"),
)

tokens = Table(
    "tokens",
    metadata,
    _key("id", primary_key=True),
    _text("name"),
    _key("secret"),  # the SHA-256 of the token's secret half
    _text("scope"),
    _maybe_key("owner", index=True),  # NULL: made on the machine itself
    _time("created_at"),
    _maybe_time("expires_at"),
    _maybe_time("used_at"),
)

chat = Table(
    "chat",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    _key("conversation"),  # fleet, or an agent
    _text("role"),  # person, agent, fleet
    _text("author"),
    _text("text"),
    _time("at"),
    _maybe_key("task_id"),
    _maybe_key("message_id", index=True),  # the message to an agent that it said or answers
    _text("data"),
    Index("ix_chat_conversation", "conversation", "id"),
)

confirmations = Table(
    "confirmations",
    metadata,
    _key("token", primary_key=True),
    _key("conversation"),
    _text("by"),
    _text("data"),  # the command as it was shown, and whom it touches
    _time("expires_at"),
    Index("ix_confirmations_by", "conversation", "by"),
)

begun_lines = Table(
    "begun_lines",
    metadata,
    _key("conversation", primary_key=True),
    _key("by", primary_key=True),
    _key("key", primary_key=True),
    _text("data"),  # the command that is being carried out for a line that has no answer yet
    _time("at"),
)

far_repositories = Table(
    "far_repositories",
    metadata,
    _key("url", primary_key=True),  # without a login; somebody who is not on this machine named it
    _time("at"),
)

webhooks = Table(
    "webhooks",
    metadata,
    _key("id", primary_key=True),
    _text("url"),
    _text("kinds"),
    _text("secret"),  # signatures need it as it is
    Column("enabled", Boolean, nullable=False),
    _whole("cursor"),  # events up to this number have become deliveries
    _text("error"),
    _text("by"),
    _time("created_at"),
)

deliveries = Table(
    "deliveries",
    metadata,
    _key("id", primary_key=True),
    _key("webhook"),
    _whole("seq"),
    _key("state"),  # pending, sent, dead
    _whole("attempts"),  # begun; an attempt whose end nobody wrote down is made again at next_at
    _time("next_at"),
    Column("status", Big),
    _text("error"),
    _time("created_at"),
    _time("updated_at"),
    Index("uq_deliveries_event", "webhook", "seq", unique=True),
    Index("ix_deliveries_due", "webhook", "state", "next_at"),
)

issues = Table(
    "issues",
    metadata,
    _key("delivery", primary_key=True),  # the code host's id of the message
    _key("digest"),  # of the message, whose id is not signed
    _key("state"),  # received, working, reported, refused, failed
    _key("repository"),
    _whole("number"),
    _text("sender"),
    _text("title"),
    _text("body"),
    _maybe_key("task_id"),
    _whole("attempts"),
    _time("next_at"),
    _text("note"),
    _time("created_at"),
    _time("updated_at"),
    Index("uq_issues_digest", "digest", unique=True),
    Index("ix_issues_due", "state", "next_at"),
)

secrets = Table(
    "secrets",
    metadata,
    _key("name", primary_key=True),
    _text("value"),  # as it is: the server signs with it
    _time("created_at"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    _key("id", primary_key=True),  # the start of the SHA-256 of the endpoint
    _key("user", index=True),
    _text("endpoint"),  # whoever knows it and the server's key can notify the browser
    _text("p256dh"),
    _text("auth"),
    _text("kinds"),
    _text("label"),
    _text("error"),
    _time("created_at"),
)
