"""pydantic-ai's durable surface over our journal: each model request and each tool call is one step.

What runs between the steps is repeated on replay, so it is deterministic: it depends on the task and on recorded
results alone. Step names are compatibility data: a journal written by one version is read by the next.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    DurableOperationBackend,
    DurableOperationId,
    JournalCallableOperationBackend,
    RoleBasedOperationConfig,
    ToolsetCallToolId,
)
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from ezaigent.agents.deps import Deps
from ezaigent.agents.journal import Finished, RunJournal
from ezaigent.agents.voice import spoken
from ezaigent.core.errors import RunError
from ezaigent.core.failpoints import reach

if TYPE_CHECKING:
    from ezaigent.agents.controls import Controls

AGENT_NAME: Final = "run"
"""Prefix of every step name. The same for all profiles: the journal does not care which model worked."""
SUMMARY_STEP: Final = "run__summary"
"""Name of the step that asks for a summary of old turns."""
_TOLD: Final = 10_000
"""Characters of what a model said that its event holds."""
_HARMLESS: Final = frozenset({"read_file", "list_files", "grep", "write_plan"})
"""Tools that cannot change a file: the tree needs no checkpoint after them."""


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A result with its bytes: what has just been done need not be read back from them."""

    value: Any
    payload: bytes


class _BytesCodec:
    """JSON bytes; a fresh result keeps its value beside them."""

    def dump(self, tp: Any, value: Any) -> _Recorded:
        return _Recorded(value, orjson.dumps(JSON_CODEC.dump(tp, value)))

    def load(self, tp: Any, payload: Any) -> Any:
        return payload.value if isinstance(payload, _Recorded) else JSON_CODEC.load(tp, orjson.loads(payload))


_CODEC: Final = _BytesCodec()


def _unrecordable(error: Exception) -> BaseException:
    return RunError(f"a step's result cannot be journaled: {error}", retryable=False)


class JournalDurability(BaseDurabilityCapability[Deps]):
    """Makes one agent run durable in its journal.

    A step that was under way when the process died is done again: a model request may then be paid twice if its
    answer was never received, a command runs twice on the tree as it was before it.
    """

    engine_spec: ClassVar[DurabilityEngineSpec] = DurabilityEngineSpec(
        engine_name="Ez Aigent",
        durable_unit_noun="step",
        durable_container_noun="run",
        codec=_CODEC,
        serialization_failure=_unrecordable,
        journal_discovery=False,
        sequential_tools_in_durable_context=True,
        unsupported_runtime_toolset_kinds=frozenset({"function", "mcp", "dynamic"}),
    )

    def __init__(self, journal: RunJournal, controls: Controls, deps: Deps) -> None:
        """Record in ``journal``, pass ``controls`` before each step, checkpoint the workspace after each tool."""
        super().__init__(name=AGENT_NAME)
        self._backend = _Backend(journal, controls, deps)

    @property
    def in_durable_context(self) -> bool:
        """Every run of this agent is durable."""
        return True

    def get_durable_operation_backend(self) -> DurableOperationBackend[None]:
        """Return the backend that writes the journal."""
        return self._backend


class _Backend(JournalCallableOperationBackend[None]):
    def __init__(self, journal: RunJournal, controls: Controls, deps: Deps) -> None:
        config = RoleBasedOperationConfig[None](model=None, event=None, capability=None, tool=None)
        super().__init__(agent_name=AGENT_NAME, config=config)
        self._journal = journal
        self._controls = controls
        self._deps = deps

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: None,
    ) -> object:
        """Return the recorded result of this step, or do the work and record it."""
        del cache_key, config
        if not isinstance(operation_id, ToolsetCallToolId):
            return await _model_step(self._journal, self._controls, name, body)
        tool = name.rpartition(":")[2]
        recorded = self._journal.recall(name, "tool", tool)
        if recorded is not None:
            return recorded
        await self._controls.gate()
        reach("tool.before")
        started = time.monotonic()
        self._deps.call = ""
        with self._controls.progress.doing("command", commands=1):
            result = await body()
        assert isinstance(result, _Recorded)
        checkpoint = None
        if tool not in _HARMLESS:
            checkpoint = await self._deps.workspace.checkpoint(f"step {self._journal.steps}: {tool}")
        done = Finished(result.payload, tool, {"call": self._deps.call} if self._deps.call else None)
        await self._journal.append(name, "tool", done, started=started, checkpoint=checkpoint)
        reach("tool.after")
        return result


class JournaledModel(WrapperModel):
    """A model whose answers are journaled where no agent run does it: the one that writes summaries."""

    def __init__(self, wrapped: Model, journal: RunJournal, controls: Controls) -> None:
        """Ask ``wrapped``, once for each place in ``journal``."""
        super().__init__(wrapped)
        self._journal = journal
        self._controls = controls

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the recorded answer, or ask for one and record it."""

        async def ask() -> _Recorded:
            answer = await self.wrapped.request(messages, model_settings, model_request_parameters)
            return _CODEC.dump(ModelResponse, answer)

        return _CODEC.load(ModelResponse, await _model_step(self._journal, self._controls, SUMMARY_STEP, ask))


async def _model_step(
    journal: RunJournal, controls: Controls, name: str, body: Callable[[], Awaitable[object]]
) -> object:
    recorded = journal.recall(name, "model", "model")
    if recorded is not None:
        return recorded
    await controls.gate()
    reach("model.before")
    started = time.monotonic()
    with controls.progress.doing("model call"):
        result = await body()
    assert isinstance(result, _Recorded)
    value = result.value
    done = Finished(result.payload, "model")
    if isinstance(value, ModelResponse):
        told: dict[str, Any] = {
            "input_tokens": value.usage.input_tokens,
            "output_tokens": value.usage.output_tokens,
        }
        if said := spoken(value):
            told["text"] = said[:_TOLD]
        done = Finished(result.payload, value.model_name or "model", told)
    await journal.append(name, "model", done, started=started)
    reach("model.after")
    return result
