"""The mechanic behind the same port as a model, so that it drives the same loop, tools, sandbox and journal."""

from __future__ import annotations

import sys

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from ezaigent.agents.mechanic.conversation import read_conversation
from ezaigent.agents.mechanic.driver import next_move
from ezaigent.agents.mechanic.plan import Recipe
from ezaigent.agents.mechanic.recipes.mend import MendRecipe
from ezaigent.agents.mechanic.recipes.rename import RenameRecipe
from ezaigent.agents.mechanic.recipes.ruff import RuffRecipe

RECIPES: tuple[Recipe, ...] = (RuffRecipe(), RenameRecipe(), MendRecipe())


class MechanicModel(Model[None]):
    """A deterministic policy in a model's place: it asks no one, costs nothing, and says no to what it can't do.

    ``request`` is a pure function of the messages, the instructions and the tools offered. It raises
    ``RunError(retryable=False)`` where a task asks for something that no recipe does, or a recipe gives up; the loop
    must let it pass. It needs the tools ``shell`` and ``edit_file``. In the instructions it looks for the lines
    ``Checks:`` and ``Scope:``, each followed by a list with ``- ``.
    """

    @property
    def model_name(self) -> str:
        """The name that usage rows and traces show."""
        return "recipes"

    @property
    def system(self) -> str:
        """The name in the provider's place."""
        return "mechanic"

    @property
    def context_window(self) -> int:
        """No limit: nothing is read by a model, and a history cut short could not be replayed."""
        return sys.maxsize

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the next step as a response without usage."""
        del model_settings
        instructions = "\n".join(part.content for part in model_request_parameters.instruction_parts or ())
        tools = {tool.name for tool in model_request_parameters.function_tools}
        move = next_move(read_conversation(messages, instructions or None), RECIPES, tools)
        parts = [TextPart(move.text)]
        if move.call is not None:
            call = ToolCallPart(move.call.tool, move.call.arguments, tool_call_id=f"mechanic-{move.number}")
            parts = [TextPart(move.call.why), call]
        return ModelResponse(
            parts=parts,
            usage=RequestUsage(),
            model_name=self.model_name,
            provider_name=self.system,
            finish_reason="stop" if move.call is None else "tool_call",
        )
