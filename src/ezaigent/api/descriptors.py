"""Open files: each stream is one, and systems let a process have few unless it asks for more."""

from __future__ import annotations

import resource
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_OTHERS: Final = 1024
"""Files that are left to everything else: the store, other requests, agents at their models, checks."""


def allow_streams(wanted: int) -> int:
    """Raise the process's own limit so that ``wanted`` streams can be open; return how many can be.

    Where the system forbids that, half of what it allows is left to everything else, at the most.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + _OTHERS:
        soft = wanted + _OTHERS if hard == resource.RLIM_INFINITY else min(wanted + _OTHERS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted + _OTHERS:
        return wanted
    possible = min(wanted, max(soft - _OTHERS, soft // 2))
    if possible < wanted:
        log.warning("fewer event streams than [server] max_streams: raise the limit of open files (ulimit -n)",
                    max_streams=wanted, possible=possible, open_files=soft)  # fmt: skip
    return possible
