"""The commands, one file each; importing this package registers them in the order that the help shows."""

from ezaigent.cli.commands import (  # noqa: I001 - help order
    demo,
    up,
    worker,
    mcp,
    submit,
    tasks,
    agents,
    scaler,
    chat,
    plan,
    status,
    accounts,
    webhooks,
    doctor,
)

__all__ = [
    "accounts",
    "agents",
    "chat",
    "demo",
    "doctor",
    "mcp",
    "plan",
    "scaler",
    "status",
    "submit",
    "tasks",
    "up",
    "webhooks",
    "worker",
]
