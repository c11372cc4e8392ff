"""Wait for what should become true, instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], *, within: float = 40.0, what: str = "") -> None:
    """Return when ``condition()`` (plain or asynchronous) is true; fail after ``within`` seconds, saying ``what``."""
    deadline = time.monotonic() + within
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"did not become true within {within} s: {what or condition}")
        await asyncio.sleep(0.005)
