"""What the server remembers of each request, so that tests can prove that nothing was paid twice."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

OutcomeName = Literal["pending", "finished", "cut", "faulted"]


@dataclass(slots=True)
class RequestRecord:
    """One model request."""

    number: int
    """1, 2, 3 … in order of arrival."""
    provider: str
    model: str
    api: str
    stream: bool
    conversation: str
    """Hash of the messages, see :meth:`ezaigent.testing.Turn.fingerprint`."""
    step: int
    """Assistant turns that the conversation already had."""
    key: str | None
    """Salted hash of the API key that was sent; compare it with :meth:`ezaigent.testing.ModelServer.key_mark`."""
    at: float
    """Seconds on the server's monotonic clock."""
    outcome: OutcomeName = "pending"
    """``finished``: every byte of a model's reply went out on an open connection; ``cut``: the connection ended first;
    ``faulted``: an error was answered in place of a reply."""
    fault: str | None = None
    """Kind of the fault or limit that met the request."""
    seconds: float = 0.0
    """Time until the outcome."""
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def complete(self) -> bool:
        """Whether the client was sent the complete reply."""
        return self.outcome == "finished"


class Ledger:
    """All requests of a server's life."""

    def __init__(self) -> None:
        """Start empty, with a fresh salt for key marks."""
        self.records: list[RequestRecord] = []
        self.salt = secrets.token_hex(8)

    def repeated(self) -> dict[str, list[RequestRecord]]:
        """Return the conversations whose reply was completed more than once: each was paid more than once.

        A client that is killed after the last byte arrived and before it could write it down repeats the call with
        good reason; everything else in here is waste.
        """
        counts = Counter(record.conversation for record in self.records if record.complete)
        found: dict[str, list[RequestRecord]] = {}
        for record in self.records:
            if record.complete and counts[record.conversation] > 1:
                found.setdefault(record.conversation, []).append(record)
        return found

    def mark(self, key: str) -> str:
        """Return the salted hash that stands for ``key`` in the records."""
        return key_mark(key, self.salt)


def key_mark(key: str, salt: str) -> str:
    """Return 12 hex digits that tell keys apart without giving them away."""
    return sha256(f"{salt}:{key}".encode()).hexdigest()[:12]
