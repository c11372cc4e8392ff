"""A model that reads what people say and write: structured output over closed types, nothing else comes out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from ezaigent.chat import Command, Known, Plan
from ezaigent.core.errors import RunError, UsageError

if TYPE_CHECKING:
    from pydantic_ai.models import Model

    from ezaigent.agents.profiles import Profile
    from ezaigent.core.settings import Settings
    from ezaigent.costs import OutsideCalls

T = TypeVar("T", bound=BaseModel)

_COMMANDS = """\
You turn one line that a person wrote to a fleet of coding agents into one command, or into none. Answer with none
unless the person plainly asks for it now: a question, a negation, a condition or a report is none. Never guess a task's
id, an agent or a profile: use only names given here, and ids that stand in the line.
Agents: {agents}. Profiles: {profiles}. The target of all agents is "*".\
"""
_PLANS = """\
You turn a document (requirements, an issue, a list) into a small graph of tasks for coding agents, each done on its own
in a work tree and checked by commands. One task is one reviewable change. Give each a short name in lower case with
dashes, a prompt that stands alone, the names of the tasks that it needs, globs of the files it may touch only where the
document says so, and check commands only where the document names them. No circles. Profiles: {profiles}; leave the
profile out unless the document asks for one.\
"""


class _Reading(BaseModel):
    """What the line asks for."""

    command: Command | None = None


class ModelInterpreter:
    """Reads with one model; the port of the chat."""

    def __init__(self, model: Model) -> None:
        """Ask ``model``."""
        self._model = model

    async def command(self, text: str, known: Known) -> Command | None:
        """Return the command that is meant; None for none, or where it names what does not exist."""
        given = _COMMANDS.format(agents=", ".join(known.agents) or "none", profiles=", ".join(known.profiles))
        command = (await self._ask(_Reading, given, text)).command
        return command if command is None or _exists(command, known) else None

    async def plan(self, text: str, known: Known) -> Plan:
        """Return the task graph that a document asks for. Raises ``UsageError`` where there is no work in it."""
        plan = await self._ask(Plan, _PLANS.format(profiles=", ".join(known.profiles)), text)
        if not plan.tasks:
            raise UsageError("the model found no work in the document")
        unknown = next(
            (task.profile for task in plan.tasks if task.profile and task.profile not in known.profiles), None
        )
        if unknown is not None:
            raise UsageError(f"the model's plan names the profile {unknown!r}, which does not exist; try again")
        return plan

    async def _ask(self, kind: type[T], instructions: str, text: str) -> T:
        from pydantic_ai import Agent
        from pydantic_ai.exceptions import UnexpectedModelBehavior

        agent = Agent(self._model, output_type=kind, instructions=instructions, retries=2)
        try:
            return (await agent.run(text)).output
        except UnexpectedModelBehavior as error:
            raise RunError(f"the model's answer could not be used: {error.message}; say it in other words") from error


def _exists(command: Command, known: Known) -> bool:
    names = {"*", *known.agents, *known.profiles}
    meant = command.model_dump()
    given = {*meant.get("targets", ()), *meant.get("excepted", ())}
    profiles = {meant[field] for field in ("pool", "profile") if meant.get(field)}
    return given <= names and profiles <= set(known.profiles)


@asynccontextmanager
async def open_interpreter(
    profile: Profile, settings: Settings, purse: OutsideCalls | None = None
) -> AsyncGenerator[ModelInterpreter]:
    """Yield an interpreter that asks the profile's model, with its fallbacks, and pays out of ``purse``.

    Raises ``UsageError`` for a profile without a model, ``UnavailableError`` where its key is missing.
    """
    from ezaigent.agents.meter import Meter
    from ezaigent.agents.native import unhurried
    from ezaigent.agents.resilient import ResilientModel
    from ezaigent.agents.transport import Transport

    if profile.offline:
        raise UsageError(f"profile {profile.name!r} has no model that could read")
    meter = Meter()
    reserve = purse.reserve if purse is not None and purse.limited else None
    async with Transport() as transport:
        try:
            yield ModelInterpreter(ResilientModel(profile, settings, transport, meter=meter, reserve=reserve))
        finally:
            if purse is not None:
                await unhurried(purse.settle(meter.drain()))
