"""Output of a command, kept within a fixed number of bytes however much there is."""

from __future__ import annotations

import codecs
from collections import deque

from ezaigent.workspaces.sandbox.ports import OnOutput

FLOOD = 64
"""A command is stopped once it has written this many times the output limit.

Until then the surplus is read and dropped, so that a talkative build is not ended for its noise.
"""


class BoundedOutput:
    """Keeps the first and the last half of a byte limit and counts what lies between."""

    def __init__(self, limit: int, on_output: OnOutput | None = None) -> None:
        """Keep at most ``limit`` bytes; pass everything on to ``on_output`` as it comes."""
        self._head_room = (limit + 1) // 2
        self._tail_room = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._flood = limit * FLOOD
        self._on_output = on_output
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.total = 0

    @property
    def flooded(self) -> bool:
        """Whether the command wrote so much that it should be stopped."""
        return self.total > self._flood

    @property
    def dropped(self) -> int:
        """Bytes that are not kept."""
        return max(0, self.total - len(self._head) - min(self._tail_size, self._tail_room))

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self.total += len(chunk)
        room = self._head_room - len(self._head)
        self._head += chunk[:room]
        rest = chunk[room:] if room else chunk
        if rest:
            self._tail.append(rest[-self._tail_room :] if self._tail_room else b"")
            self._tail_size += len(self._tail[-1])
            while self._tail_size - len(self._tail[0]) >= self._tail_room and len(self._tail) > 1:
                self._tail_size -= len(self._tail.popleft())
        self._tell(chunk, final=False)

    def close(self) -> None:
        """Pass on what a cut character at the very end left over."""
        self._tell(b"", final=True)

    def _tell(self, chunk: bytes, *, final: bool) -> None:
        if self._on_output is None:
            return
        text = self._decoder.decode(chunk, final)
        if text:
            self._on_output(text)

    def text(self) -> str:
        """Return the kept output; bytes that are not UTF-8 are replaced."""
        tail = b"".join(self._tail)[-self._tail_room :] if self._tail_room else b""
        if not self.dropped:
            return (bytes(self._head) + tail).decode("utf-8", "replace")
        marker = f"\n[... {self.dropped} bytes of output dropped ...]\n"
        return self._head.decode("utf-8", "replace") + marker + tail.decode("utf-8", "replace")
