"""The corpus of phrasings: what was said, what should come of it, and how near an answer is."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ezaigent.chat.commands import Command, destructive
from ezaigent.chat.known import Known

KNOWN = Known(
    agents=("claude-1", "claude-2", "gpt-1", "gpt-2", "deepseek-1", "mistral-1", "gemini-1", "mechanic-1"),
    profiles=("claude", "gpt", "deepseek", "mistral", "gemini", "mechanic"),
)


@dataclass(frozen=True)
class Phrasing:
    say: str
    want: dict[str, Any]
    also: tuple[str, ...]
    also_priority: tuple[str, ...]
    trap: bool

    def met_by(self, command: Command | None) -> bool:
        if command is None:
            return self.want["kind"] == "none" or "none" in self.also
        if command.kind != self.want["kind"]:
            return command.kind in self.also
        got = command.model_dump()
        got["except"] = got.pop("excepted", ())
        return all(self._same(name, got.get(name), value) for name, value in self._wanted(got).items())

    def _wanted(self, got: dict[str, Any]) -> dict[str, Any]:
        wanted = {name: value for name, value in self.want.items() if name != "kind"}
        return wanted | ({"except": wanted.get("except", [])} if "targets" in wanted else {})

    def _same(self, name: str, got: Any, want: Any) -> bool:
        if isinstance(want, list):
            return sorted(got or ()) == sorted(want)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        if name == "priority" and got in self.also_priority:
            return True
        return got == want

    def met_exactly_by(self, command: Command | None) -> bool:
        """Whether it is what was wanted in the first place, no other kind allowed."""
        return self.met_by(command) and (command.kind if command else "none") == self.want["kind"]

    def harmed_by(self, command: Command | None) -> bool:
        """Whether something destructive was understood that nobody asked for."""
        return command is not None and destructive(command) and not self.met_by(command)


def load(part: str) -> list[Phrasing]:
    """Return the phrasings of ``tuned``, or those of ``held_out`` that are not among the tuned ones."""
    if part == "tuned":
        return _read(part)
    tuned = {_plain(one.say) for one in _read("tuned")}
    return [one for one in _read(part) if _plain(one.say) not in tuned]


def _plain(say: str) -> str:
    return say.casefold().strip(" .!?")


def _read(part: str) -> list[Phrasing]:
    path = Path(__file__).parent / "corpus" / f"{part}.toml"
    groups = tomllib.loads(path.read_text(encoding="utf-8"))["group"]
    return [
        Phrasing(
            say=say,
            want=group["want"],
            also=tuple(group.get("also", ())),
            also_priority=tuple(group.get("also_priority", ())),
            trap=bool(group.get("trap")),
        )
        for group in groups
        for say in group["say"]
    ]
