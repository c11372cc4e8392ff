"""Processes that tests start without measuring what they cover: measuring doubles what such a process costs."""

from __future__ import annotations

import os
from collections.abc import Mapping


def unmeasured(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return these variables, or those of this process, without the ones that have coverage measured."""
    given = os.environ if environment is None else environment
    return {name: value for name, value in given.items() if not name.startswith("COVERAGE_")}
