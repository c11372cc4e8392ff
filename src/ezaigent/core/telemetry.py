"""Logging: structured, to standard error, with every known secret and every credential in a URL blotted out."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any, Final, cast

import structlog

BLOT: Final = "[secret]"
_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_LOOKS_SECRET: Final = re.compile(r"(?i)key|token|secret|password|authorization")
_SHORT: Final = 6
"""Shorter values are not taken for secrets: blotting out ``none`` or ``1`` would garble every line."""


class Scrubber:
    """Blots out secrets in texts and in whatever holds texts."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        """``secrets`` are exact values, such as provider keys and database passwords."""
        known = sorted((value for value in secrets if len(value) >= _SHORT), key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(value) for value in known)) if known else None

    def text(self, value: str) -> str:
        """Return ``value`` without secrets."""
        if self._known is not None:
            value = self._known.sub(BLOT, value)
        return _IN_URL.sub(BLOT, value)

    def value(self, value: Any, name: str = "") -> Any:
        """Return ``value`` without secrets; a field whose ``name`` says that it is one is blotted out whole."""
        if isinstance(value, str):
            return BLOT if value and _LOOKS_SECRET.search(name) else self.text(value)
        if isinstance(value, Mapping):
            items = cast(Mapping[Any, Any], value).items()
            return {key: self.value(one, str(key)) for key, one in items}
        if isinstance(value, list | tuple):
            return [self.value(one) for one in cast(list[Any], value)]
        return value

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Be a structlog processor."""
        return {key: self.value(value, "" if key == "event" else key) for key, value in event.items()}


def configure_logging(level: str, secrets: Collection[str] = ()) -> None:
    """Send logs of ``level`` and above to standard error; ``secrets`` never appear in them."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.processors.format_exc_info,
            Scrubber(secrets),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
