"""Who is on the way back from an OpenID provider: each may arrive once."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from ezaigent.store.migrations.columns import key, time

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Create the arrivals' table."""
    op.create_table(
        "arrivals",
        sa.Column("id", key(), nullable=False),
        sa.Column("expires_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arrivals")),
    )
