"""The launcher's arguments: what to run, where, and what it may touch."""

from __future__ import annotations

from . import kernel


class Plan:
    """Everything that one start needs. A plain class: dataclasses take longer to import than the rest together."""

    def __init__(self) -> None:
        """Confine nothing until told."""
        self.status = -1
        self.gate = -1
        self.filter = -1
        self.confined = False
        self.abi = 0
        self.scoped = False
        self.no_network = False
        self.own_network = False
        self.folder = "/"
        self.readable: list[str] = []
        self.writable: list[str] = []
        self.devices: list[str] = []
        self.environment: dict[str, str] = {}
        self.command = ""


def parse(words: list[str]) -> Plan:
    """Read ``--name value`` pairs; the last word is the command. Raises ``ValueError`` for an unknown name."""
    plan = Plan()
    *pairs, plan.command = words
    lists = {"--read": plan.readable, "--write": plan.writable, "--device": plan.devices}
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        if name in lists:
            lists[name].append(value)
        elif name == "--env":
            key, _, text = value.partition("=")
            plan.environment[key] = text
        else:
            _set(plan, name, value)
    return plan


def _set(plan: Plan, name: str, value: str) -> None:
    match name:
        case "--status":
            plan.status = int(value)
        case "--gate":
            plan.gate = int(value)
        case "--filter":
            plan.filter = int(value)
            plan.confined = True
        case "--abi":
            plan.abi = int(value)
            plan.scoped = plan.abi >= kernel.SCOPES_SIGNALS
        case "--network":
            plan.no_network = value != "host"
            plan.own_network = value == "own"
        case "--chdir":
            plan.folder = value
        case _:
            raise ValueError(f"unknown option {name!r}")
