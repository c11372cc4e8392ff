"""Tasks: submit, claim under a lease with a fence, settle, retry; what a person decides; why a task waits."""

from ezaigent.tasks.attempts import Run
from ezaigent.tasks.editing import Edit
from ezaigent.tasks.messages import deliver_messages, pending_messages, post_message, take_messages
from ezaigent.tasks.models import (
    GENERAL,
    MET,
    SETTLED,
    TRANSITIONS,
    Claim,
    Message,
    NewTask,
    Priority,
    Pulse,
    QueueStats,
    Slot,
    State,
    Task,
)
from ezaigent.tasks.pausing import EVERYONE, Pauses, pauses
from ezaigent.tasks.queries import guard
from ezaigent.tasks.service import TaskQueue, bell
from ezaigent.tasks.submitting import draft_of, project_of

__all__ = [
    "EVERYONE",
    "GENERAL",
    "MET",
    "SETTLED",
    "TRANSITIONS",
    "Claim",
    "Edit",
    "Message",
    "NewTask",
    "Pauses",
    "Priority",
    "Pulse",
    "QueueStats",
    "Run",
    "Slot",
    "State",
    "Task",
    "TaskQueue",
    "bell",
    "deliver_messages",
    "draft_of",
    "guard",
    "pauses",
    "pending_messages",
    "post_message",
    "project_of",
    "take_messages",
]
