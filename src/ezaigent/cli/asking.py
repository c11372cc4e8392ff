"""What a person typed, as a request: whatever cannot be used is told in one line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ezaigent.core.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    T = TypeVar("T", bound=BaseModel)

_MOST_USD = 1e9


def request(kind: type[T], values: Mapping[str, object]) -> T:
    """Return the request that the options make. Raises ``UsageError`` that names the first wrong one."""
    from pydantic import ValidationError

    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(_told(error.errors(include_url=False, include_input=False)[0])) from None


def _told(first: ErrorDetails) -> str:
    limits = first.get("ctx", {})
    if first["type"].endswith("too_short"):
        said = "it is empty"
    elif first["type"].endswith("too_long"):
        said = f"it is longer than {limits['max_length']:,} characters"
    else:
        said = first["msg"].removeprefix("Value error, ")
    return f"the {first['loc'][0]} cannot be used: {said}"


def budget(amount: float | None) -> int | None:
    """Return ``--budget`` in nano-USD. Raises ``UsageError`` for what is no amount of money."""
    from ezaigent.core.money import nano_usd

    if amount is None:
        return None
    if not 0 <= amount < _MOST_USD:
        raise UsageError(f"--budget must be an amount in USD of 0 or more, got {amount!r}")
    return nano_usd(amount)


def text_of(prompt: str) -> str:
    """Return the prompt; ``-`` reads it from standard input. Raises ``UsageError`` for what is no text."""
    if prompt != "-":
        return prompt
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise UsageError("standard input is no UTF-8 text") from None


def absolute(repo: str) -> str:
    """Make a path independent of the current folder: a worker has another one. A URL stays as it is."""
    try:
        path = Path(repo).expanduser()
        is_url = "://" in repo or (":" in repo.split("/", 1)[0] and not path.exists())
    except (OSError, RuntimeError, ValueError) as error:  # too long for a path, or the home of nobody
        said = getattr(error, "strerror", None) or error
        raise UsageError(f"the repository {repo[:100]!r} is no path that can be used: {said}") from None
    return repo if is_url else str(path.absolute())
