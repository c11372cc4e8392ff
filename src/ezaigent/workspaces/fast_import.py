"""Writing changed files as a commit: objects, tree, commit and ref by one ``git fast-import``.

Content comes through its standard input, so git itself opens no file of a tree that an agent may be changing.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from ezaigent.workspaces.mirrors import IDENTITY, Mirror
from ezaigent.workspaces.reading import Blob, Tree

BATCH: Final = 32 * 1024 * 1024
"""Bytes of file content held in memory at a time, unless one file alone is larger."""
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - set(b'"\\')


@dataclass(slots=True)
class Changes:
    """What a tree has that its last snapshot has not, or has otherwise, with the new content."""

    removed: list[bytes] = field(default_factory=list[bytes])
    written: list[tuple[bytes, Blob]] = field(default_factory=list[tuple[bytes, Blob]])
    unreadable: list[bytes] = field(default_factory=list[bytes])
    known: set[bytes] = field(default_factory=set[bytes])
    """Which of the changed paths the last snapshot has."""
    kept: int = 0
    """Bytes of content in memory."""

    def __bool__(self) -> bool:
        return bool(self.removed or self.written)


async def import_changes(
    mirror: Mirror, changes: Changes, tree: Callable[[], Tree], *, label: str, ref: str, parent: str
) -> tuple[str, str]:
    """Commit ``changes`` on top of ``parent``, point ``ref`` there, and return the commit and its tree.

    ``tree`` opens the tree for reading once more what was too large to be kept.
    """
    batches = _batches(changes)
    if len(batches) == 1:
        return await _import(mirror, batches[0], tree, label=label, ref=ref, parent=parent)
    # In parts, so that a huge change does not need its size in memory; the result is one commit all the same.
    part, tip, name = f"{ref}.part", parent, ""
    for batch in batches:
        tip, name = await _import(mirror, batch, tree, label=label, ref=part, parent=tip)
    commit = await mirror.write_commit(name, [parent], f"{label}\n")
    await mirror.set_ref(ref, commit)
    await mirror.drop_refs([part])
    return commit, name


async def _import(
    mirror: Mirror, batch: Changes, tree: Callable[[], Tree], *, label: str, ref: str, parent: str
) -> tuple[str, str]:
    if any(blob.data is None for _, blob in batch.written):
        batch = await asyncio.to_thread(_complete, batch, tree)
    result = await mirror.git.run(
        "fast-import", "--quiet", "--done", "--force", "--date-format=raw",
        at=mirror.path, data=_stream(batch, label, ref, parent),
    )  # fmt: skip
    commit = result.out.split(b"\n", 1)[0].decode()
    found = re.search(rb"^040000 tree ([0-9a-f]+)", result.out, re.MULTILINE)
    return commit, found[1].decode() if found else await mirror.tree(commit)


def _complete(batch: Changes, open_tree: Callable[[], Tree]) -> Changes:
    """Read what was too large to be kept; what is gone meanwhile is left for the next snapshot."""
    tree = open_tree()
    try:
        blobs = [(path, tree.blob(path) if blob.data is None else blob) for path, blob in batch.written]
    finally:
        tree.close()
    return replace(batch, written=[(path, blob) for path, blob in blobs if isinstance(blob, Blob)])


def _batches(changes: Changes) -> list[Changes]:
    batches = [Changes(removed=changes.removed)]
    size = 0
    for path, blob in changes.written:
        if size and size + blob.size > BATCH:
            batches.append(Changes())
            size = 0
        batches[-1].written.append((path, blob))
        size += blob.size
    return batches


def _stream(changes: Changes, label: str, ref: str, parent: str) -> bytes:
    pieces: list[bytes] = [b"feature done\n"]
    for mark, (_, blob) in enumerate(changes.written, 2):
        pieces += [b"blob\nmark :%d\ndata %d\n" % (mark, blob.size), blob.data or b"", b"\n"]
    message = label.encode("utf-8", "replace").replace(b"\0", b"") + b"\n"
    pieces.append(
        b"commit %s\nmark :1\ncommitter %s %d +0000\ndata %d\n%s\nfrom %s\n"
        % (ref.encode(), IDENTITY.encode(), int(time.time()), len(message), message, parent.encode())
    )
    pieces += [b"D %s\n" % _quoted(path) for path in changes.removed]
    pieces += [
        b"M %s :%d %s\n" % (blob.mode.encode(), mark, _quoted(path))
        for mark, (path, blob) in enumerate(changes.written, 2)
    ]
    pieces.append(b'get-mark :1\nls :1 ""\ndone\n')
    return b"".join(pieces)


def _quoted(path: bytes) -> bytes:
    return b'"%s"' % b"".join(bytes([byte]) if byte in _PLAIN else b"\\%03o" % byte for byte in path)
