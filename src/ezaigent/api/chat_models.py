"""What the chat's routes take and give, beside the messages and replies of room chat."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ezaigent.api.models import Given, Line, Listing, Shown, Text
from ezaigent.chat import FLEET, AgentFacts, ChatMessage, Confirmation


class Conversation(Shown):
    """A conversation that can be read and continued."""

    name: str
    """``fleet``, or an agent's name."""
    newest: int | None
    """Id of its newest message; null while it has none."""
    agent: AgentFacts | None
    """The agent with its derived status; null for the fleet, and for an agent that is gone."""


class Conversations(Listing[Conversation]):
    """The whole fleet's conversation first, then those with agents."""


class ChatPage(Listing[ChatMessage]):
    """Messages of one conversation, oldest first. Text of people and models: show it, never interpret it."""

    next: int | None = None
    """Give it as ``before`` for older ones; null at the beginning. The page behind it may be empty."""


class ChatLine(Given):
    """A line for the fleet or an agent."""

    text: Annotated[Text, Field(min_length=1, max_length=20_000)]
    """A slash command, a sentence, or words for the agent; ``/tell all TEXT`` asks and reaches every agent at work."""
    to: Line = FLEET
    """``fleet``, or an agent."""
    repo: Line | None = None
    """Repository meant where the line names none: a path on the server, or a URL."""


class Confirmations(Listing[Confirmation]):
    """What waits for the caller's yes."""


class ProfileFacts(Shown):
    """A kind of agent."""

    name: str
    specialties: list[str]


class ChatAgents(Listing[AgentFacts]):
    """Agents that one can speak to."""

    profiles: list[ProfileFacts]


class CommandForm(Shown):
    """A slash command."""

    name: str
    form: str
    meaning: str


class Commands(Listing[CommandForm]):
    """All slash commands."""
