"""Webhooks: where events are sent, what is on its way, and what came in from code hosts."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from ezaigent.store.migrations.columns import big, key, time

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Create the webhooks' tables."""
    op.create_table(
        "webhooks",
        sa.Column("id", key(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("kinds", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("cursor", big(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", key(), nullable=False),
        sa.Column("webhook", key(), nullable=False),
        sa.Column("seq", big(), nullable=False),
        sa.Column("state", key(), nullable=False),
        sa.Column("attempts", big(), nullable=False),
        sa.Column("next_at", time(), nullable=False),
        sa.Column("status", big(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("updated_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("uq_deliveries_event", "deliveries", ["webhook", "seq"], unique=True)
    op.create_index("ix_deliveries_due", "deliveries", ["webhook", "state", "next_at"], unique=False)
    op.create_table(
        "issues",
        sa.Column("delivery", key(), nullable=False),
        sa.Column("digest", key(), nullable=False),
        sa.Column("state", key(), nullable=False),
        sa.Column("repository", key(), nullable=False),
        sa.Column("number", big(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("task_id", key(), nullable=True),
        sa.Column("attempts", big(), nullable=False),
        sa.Column("next_at", time(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("updated_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("delivery", name=op.f("pk_issues")),
    )
    op.create_index("uq_issues_digest", "issues", ["digest"], unique=True)
    op.create_index("ix_issues_due", "issues", ["state", "next_at"], unique=False)
