"""What happens before each model request: the gate, the stuck detector, and messages from people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolReturnPart

from ezaigent.agents.deps import Deps
from ezaigent.agents.stuck import Seen, StuckDetector
from ezaigent.core.errors import StuckError

if TYPE_CHECKING:
    from pydantic_ai.models import ModelRequestContext

    from ezaigent.agents.controls import Controls
    from ezaigent.agents.journal import RunJournal

INBOX_STEP: Final = "run__inbox"
"""Name of the step that delivers messages; there is one only where there was a message."""
FEEDBACK_STEP: Final = "run__feedback"
"""The same for messages that came when the work was finished: the agent goes on with them."""


class Steering(AbstractCapability[Deps]):
    """Stands between the turns of one run."""

    def __init__(self, journal: RunJournal, controls: Controls, *, max_steps: int) -> None:
        """Judge and deliver by ``journal``; stop the run after ``max_steps``."""
        self._journal = journal
        self._controls = controls
        self._max_steps = max_steps
        self._stuck = StuckDetector()
        self._changes = 0
        self._unanswered: list[str] = []

    async def before_model_request(
        self, ctx: RunContext[Deps], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Judge the last turn, wait while paused, and add what people have written.

        Raises ``StuckError`` or the control signal that ends the run.
        """
        self._judge(request_context.messages)
        if not self._journal.replaying:
            await self._controls.gate()
        for letter in await self.mail(INBOX_STEP):
            ctx.enqueue(worded(letter))
        return request_context

    async def after_model_request(
        self, ctx: RunContext[Deps], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Keep the first words after a message as the answer to it: also on replay, where a crash came in between."""
        del ctx, request_context
        words = "\n\n".join(part.content for part in response.parts if isinstance(part, TextPart)).strip()
        if self._unanswered and words:
            unanswered, self._unanswered = self._unanswered, []
            await self._journal.answer(unanswered, words)
        return response

    def _judge(self, messages: list[ModelMessage]) -> None:
        changed = self._journal.changes != self._changes
        self._changes = self._journal.changes
        self._stuck.observe(_last_turn(messages), files_changed=changed)
        if self._journal.steps >= self._max_steps:
            raise StuckError(
                f"the agent took {self._journal.steps} steps without finishing, its limit is {self._max_steps}; "
                f"split the task or raise max_steps of the profile"
            )

    async def mail(self, step: str) -> list[dict[str, Any]]:
        """Return what people wrote since the last time, as the journal's next step where there is anything."""
        if self._journal.replaying:
            found = self._journal.upcoming() == step
            payload = self._journal.recall(step, "message", "message") if found else None
        else:
            payload = await self._journal.deliver(step)
        letters: list[dict[str, Any]] = [] if payload is None else orjson.loads(payload)
        self._unanswered += [letter["id"] for letter in letters if "id" in letter]
        return letters


def worded(letter: dict[str, Any]) -> str:
    """Return a message as a model is told it."""
    return f"Message from {letter['by']}, a person:\n\n{letter['text']}"


def _last_turn(messages: list[ModelMessage]) -> list[Seen]:
    """Return the tool calls of the last answer with their results; none where the last turn called no tool."""
    if len(messages) < 2:  # noqa: PLR2004 - an answer and its results
        return []
    answer, results = messages[-2], messages[-1]
    if not isinstance(answer, ModelResponse) or not isinstance(results, ModelRequest):
        return []
    calls = {call.tool_call_id: call for call in answer.tool_calls}
    return [
        Seen(call.tool_name, call.args_as_json_str(), part.model_response_str())
        for part in results.parts
        if isinstance(part, ToolReturnPart) and (call := calls.get(part.tool_call_id)) is not None
    ]
