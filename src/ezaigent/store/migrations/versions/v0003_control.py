"""The control surface: users, their sessions, tokens of programs; conversations and what waits for a yes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from ezaigent.store.migrations.columns import big, key, time

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Create the control surface's tables."""
    op.create_table(
        "users",
        sa.Column("name", key(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_users")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", key(), nullable=False),
        sa.Column("user", key(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("expires_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_user"), "sessions", ["user"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", key(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret", key(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("owner", key(), nullable=True),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("expires_at", time(), nullable=True),
        sa.Column("used_at", time(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
    )
    op.create_index(op.f("ix_tokens_owner"), "tokens", ["owner"], unique=False)
    op.create_table(
        "chat",
        sa.Column("id", big(), sa.Identity(), nullable=False),
        sa.Column("conversation", key(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", time(), nullable=False),
        sa.Column("task_id", key(), nullable=True),
        sa.Column("message_id", key(), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat")),
    )
    op.create_index("ix_chat_conversation", "chat", ["conversation", "id"], unique=False)
    op.create_index(op.f("ix_chat_message_id"), "chat", ["message_id"], unique=False)
    op.create_table(
        "confirmations",
        sa.Column("token", key(), nullable=False),
        sa.Column("conversation", key(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("expires_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_confirmations")),
    )
    op.create_index("ix_confirmations_by", "confirmations", ["conversation", "by"], unique=False)
