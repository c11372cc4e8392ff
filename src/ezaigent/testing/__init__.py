"""Fakes that ship with the product: a scripted model server that speaks every provider's wire format."""

from __future__ import annotations

from ezaigent.testing.conversation import (
    Conversation,
    Message,
    Reply,
    Script,
    ToolCall,
    ToolOffer,
    ToolResult,
    Turn,
    Usage,
)
from ezaigent.testing.faults import FAULTS, Fault, FaultKind
from ezaigent.testing.limits import Limits
from ezaigent.testing.record import RequestRecord, key_mark
from ezaigent.testing.scripts import (
    SCRIPTS,
    big_context,
    build,
    chatty,
    echo_tools,
    fix_failing_check,
    from_steps,
    loop_forever,
)
from ezaigent.testing.server import ModelServer
from ezaigent.testing.toolbox import Toolbox

__all__ = [
    "FAULTS",
    "SCRIPTS",
    "Conversation",
    "Fault",
    "FaultKind",
    "Limits",
    "Message",
    "ModelServer",
    "Reply",
    "RequestRecord",
    "Script",
    "ToolCall",
    "ToolOffer",
    "ToolResult",
    "Toolbox",
    "Turn",
    "Usage",
    "big_context",
    "build",
    "chatty",
    "echo_tools",
    "fix_failing_check",
    "from_steps",
    "key_mark",
    "loop_forever",
]
