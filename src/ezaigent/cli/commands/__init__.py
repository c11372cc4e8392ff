"""The commands, one file each; importing this package registers them in the order that the help shows."""

from ezaigent.cli.commands import demo, up, worker, submit, tasks, agents, scaler, chat, plan, status, accounts, doctor  # noqa: I001 - help order

__all__ = [
    "accounts",
    "agents",
    "chat",
    "demo",
    "doctor",
    "plan",
    "scaler",
    "status",
    "submit",
    "tasks",
    "up",
    "worker",
]
