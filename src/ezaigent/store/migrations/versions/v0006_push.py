"""Notifications: the server's key for push services, and the browsers that asked for them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from ezaigent.store.migrations.columns import key, time

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables of notifications."""
    op.create_table(
        "secrets",
        sa.Column("name", key(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", key(), nullable=False),
        sa.Column("user", key(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("p256dh", sa.Text(), nullable=False),
        sa.Column("auth", sa.Text(), nullable=False),
        sa.Column("kinds", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
    )
    op.create_index(op.f("ix_subscriptions_user"), "subscriptions", ["user"], unique=False)
