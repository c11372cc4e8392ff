"""Keeps the history below the model's window: old tool results go first, then old turns become a summary.

All of it is deterministic between the steps, and the summary is a journaled step, so a replayed run compacts alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic_ai import RunContext
from pydantic_ai.messages import ModelMessage
from pydantic_ai_harness.compaction import (
    ClearToolResults,
    SlidingWindowCompaction,
    SummarizingCompaction,
    TieredCompaction,
)

from ezaigent.agents.deps import Deps

if TYPE_CHECKING:
    from pydantic_ai.models import Model, ModelRequestContext
    from pydantic_ai_harness.compaction import CompactionStrategy

FULL: Final = 0.7
"""Share of the context window at which compaction begins."""
_UNKNOWN_WINDOW: Final = 128_000
"""Tokens assumed where neither the profile nor the price table knows the window: the smallest among current models."""


class _Compacted(NamedTuple):
    """What stands for the first messages of the history."""

    covers: int
    """How many messages it stands for."""
    edge: ModelMessage
    """The last one of them, by which the history is known again."""
    messages: list[ModelMessage]


class KeptCompaction(TieredCompaction[Deps]):
    """Tiered compaction that keeps what it made.

    pydantic-ai changes only the request, not the history. Without this, the next request would hold everything again,
    and look small all the while: the harness measures by what the provider counted for the request before.
    """

    _made: _Compacted | None = None

    async def before_model_request(
        self, ctx: RunContext[Deps], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Put what was made before in its place, then compact further where that is not enough."""
        history = list(request_context.messages)
        kept = self._put_in_place(history)
        request_context.messages = kept
        request_context = await super().before_model_request(ctx, request_context)
        made = list(request_context.messages)
        # The last message is left out: messages from people are still to be added to it.
        if len(history) > 1 and made[-1] is history[-1] and _differ(made, kept):
            self._made = _Compacted(len(history) - 1, history[-2], made[:-1])
        return request_context

    def _put_in_place(self, history: list[ModelMessage]) -> list[ModelMessage]:
        made = self._made
        if made is None or len(history) <= made.covers or history[made.covers - 1] != made.edge:
            return history
        return [*made.messages, *history[made.covers :]]


def _differ(one: list[ModelMessage], other: list[ModelMessage]) -> bool:
    return len(one) != len(other) or any(mine is not theirs for mine, theirs in zip(one, other, strict=True))


def compaction(context_window: int | None, *, summariser: Model | None) -> KeptCompaction:
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
    return KeptCompaction(tiers=tiers, target_tokens=int(window * FULL))
