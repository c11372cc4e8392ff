"""Chat Completions as compatible servers speak them.

Some of them tell in every chunk of a stream what was used so far. The library adds such numbers up unless it asked for
them itself, and a long answer would then count a hundred times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_ai.models.openai import OpenAIChatModel, OpenAIStreamedResponse

if TYPE_CHECKING:
    from pydantic_ai.usage import RequestUsage


class _Stream(OpenAIStreamedResponse):
    def _add_usage(self, usage: RequestUsage, *, reported: bool, cumulative: bool = False) -> None:
        del cumulative
        if reported:  # a server that tells it once tells it for the whole answer, too
            super()._add_usage(usage, reported=True, cumulative=True)


class ChatModel(OpenAIChatModel):
    """``OpenAIChatModel`` for which the last usage that a stream tells is that of the whole answer."""

    @property
    def _streamed_response_cls(self) -> type[OpenAIStreamedResponse]:
        return _Stream
