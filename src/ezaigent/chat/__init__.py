"""Chat: what people say becomes one typed command, an answer, or a proposed task; conversations are kept.

A line goes down one ladder: slash grammar, sentence templates, a model where there is one, "did you mean". What would
take work away, or touches many, is shown and asked for first.
"""

from ezaigent.chat.commands import Command, command_type, destructive, harmless
from ezaigent.chat.known import Known
from ezaigent.chat.models import FLEET, KEPT, ChatMessage, Confirmation, Reply
from ezaigent.chat.plan_files import read_plan, write_plan
from ezaigent.chat.plans import Plan, PlannedTask, checked
from ezaigent.chat.ports import AgentFacts, CostFacts, FleetDoor, Interpreter
from ezaigent.chat.queries import record_answer, stands_for
from ezaigent.chat.requirements import Draft, draft_plan
from ezaigent.chat.service import Chat
from ezaigent.chat.slash import GRAMMAR, Usage
from ezaigent.chat.understanding import Understood, interpret, understand

__all__ = [
    "FLEET",
    "GRAMMAR",
    "KEPT",
    "AgentFacts",
    "Chat",
    "ChatMessage",
    "Command",
    "Confirmation",
    "CostFacts",
    "Draft",
    "FleetDoor",
    "Interpreter",
    "Known",
    "Plan",
    "PlannedTask",
    "Reply",
    "Understood",
    "Usage",
    "checked",
    "command_type",
    "destructive",
    "draft_plan",
    "harmless",
    "interpret",
    "read_plan",
    "record_answer",
    "stands_for",
    "understand",
    "write_plan",
]
