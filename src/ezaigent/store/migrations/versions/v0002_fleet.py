"""The fleet: seats of agents, elected leaders, the autoscaler's decisions, settings changed at run time."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from ezaigent.store.migrations.columns import big, key, time

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def _overlap() -> None:
    op.add_column("tasks", sa.Column("overlap", sa.Text(), nullable=False, server_default=sa.text("'allow'")))
    op.add_column("tasks", sa.Column("predicted", sa.Text(), nullable=False, server_default=sa.text("'[]'")))
    op.add_column("tasks", sa.Column("guarded", sa.SmallInteger(), nullable=False, server_default=sa.text("0")))
    op.add_column("tasks", sa.Column("held_by", key(), nullable=True))
    held = sa.text("held_by IS NOT NULL")
    guarded = sa.text("guarded = 1 AND state IN ('queued', 'running', 'waiting')")
    op.create_index("ix_tasks_held_by", "tasks", ["held_by"], sqlite_where=held, postgresql_where=held)
    op.create_index("ix_tasks_guarded", "tasks", ["project"], sqlite_where=guarded, postgresql_where=guarded)
    op.create_table(
        "touched",
        sa.Column("task_id", key(), nullable=False),
        sa.Column("project", key(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("paths", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_touched")),
    )
    op.create_index("ix_touched_project", "touched", ["project", "task_id"], unique=False)


def upgrade() -> None:
    """Create the fleet's tables; steps are counted in the journal, and pauses kept by target, from now on."""
    op.drop_column("tasks", "steps")
    op.drop_column("runs", "steps")
    _overlap()
    op.create_table(
        "pauses",
        sa.Column("target", key(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", time(), nullable=False),
        sa.PrimaryKeyConstraint("target", name=op.f("pk_pauses")),
    )
    op.execute(
        """INSERT INTO pauses (target, paused, "by", at)
        SELECT name, paused, coalesce(paused_by, ''), updated_at FROM agents WHERE paused"""
    )
    op.drop_table("agents")
    op.create_table(
        "clock",
        sa.Column("boot", key(), nullable=False),
        sa.Column("ahead", time(), nullable=False),
        sa.PrimaryKeyConstraint("boot", name=op.f("pk_clock")),
    )
    op.create_table(
        "seats",
        sa.Column("agent", key(), nullable=False),
        sa.Column("profile", key(), nullable=False),
        sa.Column("worker", key(), nullable=True),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("ordered_at", time(), nullable=False),
        sa.Column("ready_at", time(), nullable=True),
        sa.Column("leaving", sa.Text(), nullable=True),
        sa.Column("leaving_at", time(), nullable=True),
        sa.Column("recallable", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("agent", name=op.f("pk_seats")),
    )
    op.create_index(op.f("ix_seats_worker"), "seats", ["worker"], unique=False)
    op.create_table(
        "leaders",
        sa.Column("office", key(), nullable=False),
        sa.Column("holder", key(), nullable=True),
        sa.Column("fence", big(), nullable=False),
        sa.Column("until", time(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("office", name=op.f("pk_leaders")),
    )
    op.create_table(
        "decisions",
        sa.Column("id", big(), sa.Identity(), nullable=False),
        sa.Column("at", time(), nullable=False),
        sa.Column("pool", key(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_index("ix_decisions_pool", "decisions", ["pool", "id"], unique=False)
    op.create_table(
        "overrides",
        sa.Column("name", key(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("updated_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_overrides")),
    )
