"""What an agent's model says, as AG-UI's text messages: while it speaks, or once it has spoken, never both."""

from __future__ import annotations

from collections.abc import Iterator

from ag_ui.core import BaseEvent, TextMessageContentEvent, TextMessageEndEvent, TextMessageStartEvent

from ezaigent.core.events import Event
from ezaigent.live import Piece


def whole(message_id: str, text: str, name: str | None) -> Iterator[BaseEvent]:
    """Tell a whole message."""
    yield TextMessageStartEvent(message_id=message_id, role="assistant", name=name)
    if text:
        yield TextMessageContentEvent(message_id=message_id, delta=text)
    yield TextMessageEndEvent(message_id=message_id)


class Speech:
    """Puts the pieces of one task's models together; what was missed comes with the event of the step."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._told: set[tuple[str, int]] = set()
        """Steps of runs whose words the client has in full."""
        self._open: tuple[str, int, int] | None = None
        self._text = ""

    def piece(self, piece: Piece) -> Iterator[BaseEvent]:
        """Tell a piece that fits to what was said before it."""
        key = (piece.run_id, piece.step, piece.attempt)
        if key[:2] in self._told:
            return
        if key != self._open:
            yield from self.close()
            if piece.start or not piece.text:
                return  # begun before anybody listened
            self._open, self._text = key, ""
            yield TextMessageStartEvent(message_id=_name(key), role="assistant", name=piece.agent)
        if piece.start != len(self._text):
            return
        if piece.text:
            self._text += piece.text
            yield TextMessageContentEvent(message_id=_name(key), delta=piece.text)
        if piece.end:
            if piece.end == "whole":
                self._told.add(key[:2])
            yield from self.close()

    def step(self, event: Event) -> Iterator[BaseEvent]:
        """Tell what a finished step said, as far as it has not been told."""
        text, run_id, step = event.data.get("text"), event.run_id, event.data.get("step")
        if not isinstance(text, str) or not isinstance(step, int) or run_id is None or (run_id, step) in self._told:
            return
        self._told.add((run_id, step))
        if self._open is not None and self._open[:2] == (run_id, step) and text.startswith(self._text):
            rest = text[len(self._text) :]
            if rest:
                yield TextMessageContentEvent(message_id=_name(self._open), delta=rest)
            yield from self.close()
        else:
            yield from self.close()
            yield from whole(f"{run_id}-{step}", text, event.agent)

    def close(self) -> Iterator[BaseEvent]:
        """End the message that is open."""
        if self._open is not None:
            yield TextMessageEndEvent(message_id=_name(self._open))
            self._open = None


def _name(key: tuple[str, int, int]) -> str:
    return "-".join(map(str, key))
