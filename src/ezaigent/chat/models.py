"""What a conversation is made of."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

FLEET: Final = "fleet"
"""Name of the conversation with the whole fleet; the others are named after their agent."""
KEPT: Final = 1000
"""Messages that a conversation keeps: the 1,001st drops the first."""

Role = Literal["person", "agent", "fleet"]


class ChatMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(frozen=True)

    id: int
    """Grows within the store; a reader asks for what is above the last one it saw."""
    conversation: str
    role: Role
    """Who speaks: a person, an agent's model, or the fleet itself."""
    author: str
    text: str
    at: float
    """Seconds since 1970, database time."""
    task_id: str | None = None
    message_id: str | None = None
    """The message to an agent that this is, or that it answers."""
    data: dict[str, Any] = {}
    """For programs: the command that was understood, its facts, a confirmation that is asked for."""


class NewChatMessage(BaseModel):
    """A message to be kept."""

    model_config = ConfigDict(frozen=True)

    conversation: str
    role: Role
    author: str
    text: str
    task_id: str | None = None
    message_id: str | None = None
    data: dict[str, Any] = {}


class Confirmation(BaseModel):
    """What waits for a yes: good once, for the person who was asked, until it expires."""

    model_config = ConfigDict(frozen=True)

    token: str
    expires_at: float
    """Seconds since 1970, database time."""
    understood: str
    """What will be done, in one line."""
    touches: tuple[str, ...] = ()
    """Agents or tasks that it touches; of many tasks the first few."""
    count: int = 0
    """How many it touches."""
    conversation: str = FLEET
    """Where it was asked."""
    by: str = ""
    """Who was asked."""


class Reply(BaseModel):
    """What comes back for a message."""

    model_config = ConfigDict(frozen=True)

    conversation: str
    text: str
    ok: bool = True
    """False where nothing could be done: not understood, refused, or an error."""
    command: dict[str, Any] | None = None
    """The command that was understood, whether or not it has been carried out yet."""
    source: Literal["slash", "sentence", "model", "reply", "agent"] = "sentence"
    data: Any = None
    """The facts behind the text, for programs."""
    confirmation: Confirmation | None = None
    suggestions: tuple[str, ...] = ()
    id: int | None = None
    """Number of the reply in the conversation; None where it came from no store."""
