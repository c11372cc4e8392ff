"""Keeps the history below the model's window: old tool results go first, then old turns become a summary.

All of it is deterministic between the steps, and the summary is a journaled step, so a replayed run compacts alike.
"""

from __future__ import annotations

from typing import Final

from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai_harness.compaction import ClearToolResults, SlidingWindowCompaction, SummarizingCompaction

from ezaigent.agents.deps import Deps

FULL: Final = 0.7
"""Share of the context window at which compaction begins."""
_LAST_RESORT: Final = 0.85
"""Share of the context window at which the oldest turns are dropped, summary or not."""
_UNKNOWN_WINDOW: Final = 128_000
"""Tokens assumed where neither the profile nor the price table knows the window: the smallest among current models."""


def compaction(context_window: int | None, *, summarise: bool) -> list[AbstractCapability[Deps]]:
    """Return the tiers for a window in tokens, cheapest first; ``summarise`` where a model can write the summary.

    They stand side by side and not in the harness's ``TieredCompaction``: only a capability of the agent itself has
    its summary journaled.
    """
    window = context_window or _UNKNOWN_WINDOW
    full, keep = int(window * FULL), int(window * FULL / 3)
    tiers: list[AbstractCapability[Deps]] = [
        ClearToolResults(max_tokens=full, keep_pairs=4, exclude_tools=frozenset({"write_plan"}))
    ]
    if summarise:
        tiers.append(SummarizingCompaction(id="summary", max_tokens=full, keep_tokens=keep))
    tiers.append(SlidingWindowCompaction(max_tokens=int(window * _LAST_RESORT), keep_tokens=keep))
    return tiers
