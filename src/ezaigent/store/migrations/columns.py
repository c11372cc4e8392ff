"""Types of columns that the revisions share: text in byte order, seconds since 1970, 64 bits on both databases."""

from typing import Any

import sqlalchemy as sa


def key() -> Any:
    """Return the type of text that is compared for order or equality only."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def time() -> Any:
    """Return the type of a moment or a span in seconds."""
    return sa.Double[float]()


def big() -> Any:
    """Return the type of a whole number of 64 bits."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
