"""What the levels that use the launcher share: its start, and a private home for each command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path

_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from launcher.main import main; main()"
_PREFIX = "ezaigent-run-"


def launcher(options: Sequence[tuple[str, str]], variables: Mapping[str, str], command: str) -> list[str]:
    """Return the argument vector that starts ``command``; see ``launcher/plan.py`` for the options.

    Isolated, without site packages, and by the interpreter itself in place of a virtual environment: the quickest
    start there is, and nothing from outside takes part in it.
    """
    python = os.path.realpath(sys.executable)
    words = [python, "-I", "-S", "-c", _START, str(Path(__file__).parent)]
    for name, value in (*options, *(("--env", f"{key}={value}") for key, value in variables.items())):
        words += [name, value]
    return [*words, command]


@contextlib.asynccontextmanager
async def private_folder() -> AsyncGenerator[Path]:
    """Give a command an empty home, with ``tmp`` inside, that is removed after it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        (folder / "tmp").mkdir()
        yield folder
    finally:
        await asyncio.shield(asyncio.to_thread(_remove, folder))


def sweep() -> None:
    """Remove the homes that workers killed outright have left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        with contextlib.suppress(OSError):
            if not Path("/proc", owner).exists() and folder.lstat().st_uid == os.getuid() and not folder.is_symlink():
                _remove(folder)


def _remove(folder: Path) -> None:
    """Remove whatever a command made of its home: also very deep folders, and ones that it closed to itself."""
    with contextlib.suppress(OSError):
        (folder / "tmp").rmdir()
        folder.rmdir()  # left empty, as most are
        return
    for words in (["rm", "-rf"], ["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        if folder.exists():
            subprocess.run([*words, "--", str(folder)], check=False, stderr=subprocess.DEVNULL)
