"""Keeps the history below the model's window: old tool results go first, then old turns become a summary.

All of it is deterministic between the steps, and the summary is a journaled step, so a replayed run compacts alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic_ai_harness.compaction import (
    ClearToolResults,
    SlidingWindowCompaction,
    SummarizingCompaction,
    TieredCompaction,
)

from ezaigent.agents.deps import Deps

if TYPE_CHECKING:
    from pydantic_ai.models import Model
    from pydantic_ai_harness.compaction import CompactionStrategy

FULL: Final = 0.7
"""Share of the context window at which compaction begins."""
_UNKNOWN_WINDOW: Final = 128_000
"""Tokens assumed where neither the profile nor the price table knows the window: the smallest among current models."""


def compaction(context_window: int | None, *, summariser: Model | None) -> TieredCompaction[Deps]:
    """Return the compaction for a window in tokens; ``summariser`` writes summaries and journals them itself.

    Only what the cheaper tiers cannot free is left to the dearer ones. The task's own text always stays.
    """
    window = context_window or _UNKNOWN_WINDOW
    keep = int(window * FULL / 3)
    # The tiers' own triggers are not used, but each must have one.
    tiers: list[CompactionStrategy[Deps]] = [
        ClearToolResults(max_tokens=1, keep_pairs=4, exclude_tools=frozenset({"write_plan"}))
    ]
    if summariser is not None:
        tiers.append(SummarizingCompaction(model=summariser, max_tokens=1, keep_tokens=keep))
    tiers.append(SlidingWindowCompaction(max_tokens=1, keep_tokens=keep))
    return TieredCompaction(tiers=tiers, target_tokens=int(window * FULL))
