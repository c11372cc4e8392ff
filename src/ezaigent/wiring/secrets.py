"""What must never be logged, wherever the settings hold it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from ezaigent.core.errors import UsageError
from ezaigent.core.settings import Settings

_NAMED: Final = re.compile(r"(?i)key|token|secret|password|url")
"""Variables whose values are secrets; blotting out every value would garble the log where one is just a word."""


def secrets_in(settings: Settings) -> set[str]:
    """Return every secret of the settings, the passwords inside addresses, and the keys in the environment.

    Raises ``UsageError`` for an address that cannot be read.
    """
    found = set(_hidden(settings))
    found |= {value for name, value in os.environ.items() if name.endswith("_API_KEY")}
    found |= {given.base_url for given in settings.providers.values() if given.base_url and "@" in given.base_url}
    try:
        passwords = {urlsplit(value).password or "" for value in found if "://" in value}
    except ValueError:  # its text would show the address
        raise UsageError("the database or Redis URL cannot be read; percent-encode its password") from None
    return {value for value in (*found, *passwords, *map(unquote, passwords)) if value}


def _hidden(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _hidden(getattr(value, name))
    elif isinstance(value, Mapping):
        named = cast("Mapping[Any, Any]", value).items()
        yield from _each(one for name, one in named if not isinstance(one, SecretStr) or _NAMED.search(str(name)))
    elif isinstance(value, list | tuple):
        yield from _each(cast("Iterable[Any]", value))


def _each(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield from _hidden(value)
