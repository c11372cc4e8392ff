"""One run's model, heard while it speaks: where somebody listens its answer is streamed, else made whole.

Streaming costs three times the CPU of a whole answer, so it is for listeners only. Text is sent over the live bus in
pieces, at most ten a second, and never waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal

from pydantic_ai.exceptions import ModelConnectionError
from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta

from ezaigent.live import SPEECH, Piece

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponseStreamEvent
    from pydantic_ai.models import Model, ModelRequestParameters
    from pydantic_ai.settings import ModelSettings

    from ezaigent.live import Audience, LiveBus
    from ezaigent.tasks import Claim

PACE: Final = 0.1
"""Seconds between two pieces of one run."""
BREAK: Final = "\n\n"
"""Between two texts of one answer."""


def spoken(response: ModelResponse) -> str:
    """Return what an answer says to people: its texts, without reasoning and tool calls."""
    return BREAK.join(part.content for part in response.parts if isinstance(part, TextPart) and part.content)


def _whole(answer: ModelResponse) -> bool:
    """Whether a stream told the end of its answer.

    A connection may end in order in the middle. Where a provider may leave out why an answer ended, the library then
    makes up a reason, but not in the provider's words. Usage proves nothing: there are servers that tell it in every
    chunk. An answer that the provider withheld has no words of the provider's for its end.
    """
    return bool((answer.provider_details or {}).get("finish_reason")) or answer.finish_reason == "content_filter"


class Voice:
    """The way from one run's model to whoever listens."""

    def __init__(self, bus: LiveBus, audience: Audience, claim: Claim, step: Callable[[], int]) -> None:
        """Speak for the run of ``claim``; ``step`` tells the number of the step that is under way."""
        self._bus = bus
        self._audience = audience
        self._claim = claim
        self._step = step
        self._last = (-1, 0)
        self._hushed = False

    async def request(
        self, model: Model, messages: list[ModelMessage], settings: ModelSettings, parameters: ModelRequestParameters
    ) -> ModelResponse:
        """Ask ``model``. Raises what it raises, and ``ModelConnectionError`` for half an answer."""
        if self._hushed or not await self._audience.wants(self._claim.task.id, self._claim.agent):
            return await model.request(messages, settings, parameters)
        async with self._speaking() as mouth, model.request_stream(messages, settings, parameters) as stream:
            async for event in stream:
                mouth.hear(event)
            answer = stream.get()
            if not _whole(answer):
                self._hushed = True  # there may be servers that never tell the end: the next try is made whole
                raise ModelConnectionError(model.model_name, "the stream ended before the answer did", phase="read")
            return answer

    @asynccontextmanager
    async def _speaking(self) -> AsyncGenerator[_Mouth]:
        step = self._step()
        attempt = self._last[1] + 1 if self._last[0] == step else 1
        self._last = (step, attempt)
        mouth = _Mouth(self._bus, self._claim, step, attempt)
        try:
            yield mouth
        except BaseException:
            mouth.end("broken")
            raise
        mouth.end("whole")


class _Mouth:
    """Gathers what one request says, and sends it in pieces."""

    def __init__(self, bus: LiveBus, claim: Claim, step: int, attempt: int) -> None:
        self._bus = bus
        self._claim = claim
        self._step = step
        self._attempt = attempt
        self._text = ""
        self._sent = 0
        self._said = False
        self._pausing = False
        self._end: Literal["", "whole", "broken"] = ""
        self._more = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    def hear(self, event: ModelResponseStreamEvent) -> None:
        """Take what the model streams."""
        if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
            self._pausing = self._said
            self._say(event.part.content)
        elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
            self._say(event.delta.content_delta)

    def end(self, how: Literal["whole", "broken"]) -> None:
        """Send what is left, with how it ended; nothing is said of what said nothing."""
        self._end = how
        self._more.set()

    def _say(self, text: str) -> None:
        if not text:
            return
        self._text += BREAK + text if self._pausing else text
        self._said, self._pausing = True, False
        self._more.set()
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="speech")
            _speaking.add(self._sending)
            self._sending.add_done_callback(_speaking.discard)

    async def _send(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            text, self._text, end = self._text, "", self._end
            claim = self._claim
            piece = Piece(
                task_id=claim.task.id,
                run_id=claim.run_id,
                agent=claim.agent,
                step=self._step,
                attempt=self._attempt,
                start=self._sent,
                text=text,
                end=end,
            )
            self._sent += len(text)
            await self._bus.publish(SPEECH, piece.encode())
            if end:
                return
            await asyncio.sleep(PACE)


_speaking: Final[set[asyncio.Task[None]]] = set()
"""Kept until they have said all."""
