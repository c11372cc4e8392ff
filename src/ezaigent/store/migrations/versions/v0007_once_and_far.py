"""Lines of the chat that were begun and have no answer yet; repositories that somebody far away named."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from ezaigent.store.migrations.columns import key, time

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "begun_lines",
        sa.Column("conversation", key(), nullable=False),
        sa.Column("by", key(), nullable=False),
        sa.Column("key", key(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("at", time(), nullable=False),
        sa.PrimaryKeyConstraint("conversation", "by", "key", name=op.f("pk_begun_lines")),
    )
    op.create_table(
        "far_repositories",
        sa.Column("url", key(), nullable=False),
        sa.Column("at", time(), nullable=False),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_far_repositories")),
    )
