"""The file tools: those of pydantic-ai's harness, rooted at the run's work tree and opened race-free.

The harness builds a schema for each tool of each instance (30 ms a run). Here the tools are declared once for all
runs and call the harness's instance of the run that asks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from pydantic_ai import RunContext
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai_harness.filesystem import FileSystemToolset

from ezaigent.agents.confined import NotPlainFile, open_for_reading, open_for_writing
from ezaigent.agents.deps import Deps
from ezaigent.agents.limits import clip

READ_CHARS: Final = 48_000
"""Characters of complete lines that one ``read_file`` shows."""
READ_BYTES: Final = 8 * 1024**2
"""Size in bytes above which ``read_file`` and ``edit_file`` refuse a file: it would be held in memory whole."""
_RESULTS: Final = 500
_FOUND_CHARS: Final = 64_000
"""Characters that one ``grep`` shows: the harness bounds its matches, not their length."""
_GIT: Final = [".git", ".git/*", "*/.git", "*/.git/*"]
"""Git's own files: a worktree's ``.git`` names folders of this machine, and hooks or config in one run as us."""
_PROTECTED: Final = [".env", ".env.*", "*.pem", "*.key", "**/secrets*"]


class TreeFiles(FileSystemToolset[object]):
    """The harness's file tools for one work tree, without their schemas."""

    def __init__(self, root: Path) -> None:
        """Serve the tree at ``root``."""
        super().__init__(
            root_dir=root,
            allowed_patterns=[],
            denied_patterns=_GIT,
            protected_patterns=_PROTECTED,
            max_read_lines=2000,
            max_read_chars=READ_CHARS,
            max_list_results=_RESULTS,
            max_search_results=_RESULTS,
            max_find_results=_RESULTS,
            content_hashes=False,
            tools=(),
        )
        self.root = Path(os.path.realpath(root))

    def open_read(self, resolved: Path) -> BinaryIO:
        """Open a file of the tree for reading, or raise ``PermissionError``."""
        return open_for_reading(self.root, resolved.relative_to(self.root))

    def open_write(self, resolved: Path, *, read_back: bool, create: bool) -> tuple[BinaryIO, bool]:
        """Open a file of the tree for writing without truncating it; missing folders are made on the way."""
        return open_for_writing(self.root, resolved.relative_to(self.root), read_back=read_back, create=create)

    def locate(self, path: str) -> Path | None:
        """Return the real path below the root that ``path`` names, or None where it names nothing inside."""
        try:
            real = Path(os.path.realpath(self.root / path))
        except (OSError, ValueError):
            return None
        return real.relative_to(self.root) if real.is_relative_to(self.root) else None

    def refuse_unreadable(self, path: str) -> None:
        """Raise ``ToolFailed`` where ``path`` is a pipe, a device, or too large to be held in memory."""
        inside = self.locate(path)
        if inside is None or not os.path.lexists(self.root / inside) or (self.root / inside).is_dir():
            return  # the tool itself says so, in its own words
        try:
            with open_for_reading(self.root, inside) as source:
                size = os.fstat(source.fileno()).st_size
        except NotPlainFile as error:
            raise ToolFailed(f"{path!r} {error.strerror}.") from None
        except OSError as error:
            raise ToolFailed(f"{path!r} cannot be opened: {error.strerror}.") from None
        if size > READ_BYTES:
            raise ToolFailed(f"{path!r} has {size:,} bytes, more than this tool reads; use shell (head, sed -n, grep).")


def _writable(ctx: RunContext[Deps], path: str) -> TreeFiles:
    deps = ctx.deps
    inside = deps.files.locate(path)
    if inside is not None and not deps.in_scope(inside.as_posix()):
        raise ToolFailed(f"{path!r} is outside the task's scope ({', '.join(deps.scope)}); nothing was written.")
    if inside is not None and ".git" not in inside.parts:
        _make_folders(deps.files.root, inside.parent.parts)
    return deps.files


def _make_folders(root: Path, parts: Sequence[str]) -> None:
    """Make the folders on the way to a file: the harness has a tool for it, which costs a model request each time."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            try:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except FileNotFoundError:
                os.mkdir(part, dir_fd=folder)
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
    except OSError:
        return  # a file in the way, a name too long: the write says so
    finally:
        os.close(folder)


async def read_file(ctx: RunContext[Deps], path: str, offset: int = 0, limit: int | None = None) -> str:
    """Read a text file with line numbers.

    Args:
        ctx: The run.
        path: File path relative to the root of the work tree.
        offset: Zero-based line to start from.
        limit: Lines to return at most (default: 2000).
    """
    ctx.deps.files.refuse_unreadable(path)
    return await ctx.deps.files.read_file(path, offset=offset, limit=limit)


async def write_file(ctx: RunContext[Deps], path: str, content: str) -> str:
    """Create a file, with the folders on its way, or replace its whole content.

    Args:
        ctx: The run.
        path: File path relative to the root of the work tree.
        content: The new text.
    """
    return await _writable(ctx, path).write_file(path, content)


async def edit_file(ctx: RunContext[Deps], path: str, old_text: str, new_text: str) -> str:
    """Replace one exact piece of a text file.

    Args:
        ctx: The run.
        path: File path relative to the root of the work tree.
        old_text: The text to find; it must occur exactly once, so include enough of the lines around it.
        new_text: What to put in its place.
    """
    files = _writable(ctx, path)
    files.refuse_unreadable(path)
    return await files.edit_file(path, old_text, new_text)


async def list_files(ctx: RunContext[Deps], path: str = ".", glob: str | None = None) -> str:
    """List files below a folder, sorted by path; ignored and hidden files are left out.

    Args:
        ctx: The run.
        path: Folder relative to the root of the work tree.
        glob: Only files that match, such as '*.py' or 'src/**'.
    """
    return await ctx.deps.files.list_files(path, glob=glob)


async def grep(  # noqa: PLR0917 - a tool's schema, not an interface for people
    ctx: RunContext[Deps],
    pattern: str,
    path: str = ".",
    glob: str | None = None,
    ignore_case: bool = False,  # noqa: FBT001, FBT002 - models pass arguments by name
    literal: bool = False,  # noqa: FBT001, FBT002
    context: int = 0,
) -> str:
    """Search file contents with ripgrep; ignored and hidden files are left out.

    Args:
        ctx: The run.
        pattern: Regular expression, or exact text when literal is true.
        path: Folder or file to search, relative to the root of the work tree.
        glob: Only search files that match, such as '*.py'.
        ignore_case: Match without regard to case.
        literal: Take the pattern as exact text.
        context: Lines to show around each match (0 to 20).
    """
    found = await ctx.deps.files.grep(
        pattern, path=path, glob=glob, ignore_case=ignore_case, literal=literal, context=context
    )
    return clip(found, _FOUND_CHARS)
