"""The runs of one agent, newest first, without looking at the others."""

from collections.abc import Sequence

from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add the index by agent."""
    op.create_index("ix_runs_agent", "runs", ["agent", "started_at"])
