"""The first schema."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from ezaigent.store.migrations.columns import big, key, time

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "agents",
        sa.Column("name", key(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("updated_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_agents")),
    )
    op.create_table(
        "events",
        sa.Column("seq", big(), sa.Identity(), nullable=False),
        sa.Column("at", time(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("task_id", key(), nullable=True),
        sa.Column("run_id", key(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_task_id", "events", ["task_id", "seq"], unique=False)
    op.create_table(
        "journal",
        sa.Column("task_id", key(), nullable=False),
        sa.Column("session", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fence", big(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=True),
        sa.Column("at", time(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "session", "seq", name=op.f("pk_journal")),
    )
    op.create_table(
        "ledgers",
        sa.Column("key", key(), nullable=False),
        sa.Column("limit_nusd", big(), nullable=True),
        sa.Column("spent_nusd", big(), server_default=sa.text("0"), nullable=False),
        sa.Column("held_nusd", big(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_ledgers")),
    )
    op.create_table(
        "messages",
        sa.Column("id", key(), nullable=False),
        sa.Column("to_agent", sa.Text(), nullable=True),
        sa.Column("task_id", key(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("delivered_at", time(), nullable=True),
        sa.Column("run_id", key(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_index(
        "ix_messages_inbox",
        "messages",
        ["created_at"],
        unique=False,
        sqlite_where=sa.text("delivered_at IS NULL"),
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.create_table(
        "reservations",
        sa.Column("id", key(), nullable=False),
        sa.Column("task_id", key(), nullable=False),
        sa.Column("run_id", key(), nullable=False),
        sa.Column("fence", big(), nullable=False),
        sa.Column("amount_nusd", big(), nullable=False),
        sa.Column("keys", sa.Text(), nullable=False),
        sa.Column("at", time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservations")),
    )
    op.create_index(op.f("ix_reservations_task_id"), "reservations", ["task_id"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", key(), nullable=False),
        sa.Column("task_id", key(), nullable=False),
        sa.Column("session", sa.Integer(), nullable=False),
        sa.Column("fence", big(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("started_at", time(), nullable=False),
        sa.Column("ended_at", time(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("steps", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_table(
        "tasks",
        sa.Column("id", key(), nullable=False),
        sa.Column("key", key(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("repo", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=True),
        sa.Column("project", key(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=True),
        sa.Column("pool", key(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("checks", sa.Text(), nullable=False),
        sa.Column("needs", sa.Text(), nullable=False),
        sa.Column("budget_nusd", big(), nullable=True),
        sa.Column("not_before", time(), nullable=True),
        sa.Column("max_attempts", sa.Integer(), nullable=True),
        sa.Column("state", key(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("session", sa.Integer(), nullable=False),
        sa.Column("fresh", sa.SmallInteger(), nullable=False),
        sa.Column("fence", big(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("run_id", key(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("lease_until", time(), nullable=True),
        sa.Column("wake_at", time(), nullable=True),
        sa.Column("queued_at", time(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("change", sa.Text(), nullable=True),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("updated_at", time(), nullable=False),
        sa.Column("started_at", time(), nullable=True),
        sa.Column("finished_at", time(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        postgresql_with={"autovacuum_vacuum_scale_factor": 0.01, "autovacuum_vacuum_threshold": 2000},
    )
    op.create_index(
        "ix_tasks_queue",
        "tasks",
        ["pool", "priority", "project", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_tasks_running",
        "tasks",
        ["lease_until", "project"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index("ix_tasks_state", "tasks", ["state", "id"], unique=False)
    op.create_index(
        "ix_tasks_wake",
        "tasks",
        ["wake_at"],
        unique=False,
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )
    op.create_index(
        "uq_tasks_key",
        "tasks",
        ["key"],
        unique=True,
        sqlite_where=sa.text("key IS NOT NULL"),
        postgresql_where=sa.text("key IS NOT NULL"),
    )
    op.create_table(
        "usage",
        sa.Column("id", big(), sa.Identity(), nullable=False),
        sa.Column("task_id", key(), nullable=False),
        sa.Column("run_id", key(), nullable=False),
        sa.Column("session", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("at", time(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("input_tokens", big(), nullable=False),
        sa.Column("cache_read_tokens", big(), nullable=False),
        sa.Column("cache_write_5m_tokens", big(), nullable=False),
        sa.Column("cache_write_1h_tokens", big(), nullable=False),
        sa.Column("output_tokens", big(), nullable=False),
        sa.Column("reasoning_tokens", big(), nullable=False),
        sa.Column("cost_nusd", big(), nullable=True),
        sa.Column("price_date", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage")),
    )
    op.create_index(op.f("ix_usage_at"), "usage", ["at"], unique=False)
    op.create_index(op.f("ix_usage_task_id"), "usage", ["task_id"], unique=False)
    op.create_table(
        "workers",
        sa.Column("id", key(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_at", time(), nullable=False),
        sa.Column("seen_at", time(), nullable=False),
        sa.Column("info", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "needs",
        sa.Column("task_id", key(), nullable=False),
        sa.Column("needs_id", key(), nullable=False),
        sa.ForeignKeyConstraint(["needs_id"], ["tasks.id"], name=op.f("fk_needs_needs_id")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_needs_task_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task_id", "needs_id", name=op.f("pk_needs")),
    )
    op.create_index(op.f("ix_needs_needs_id"), "needs", ["needs_id"], unique=False)
