"""The peers' own virtual environment: made once for each list of versions, outside of the product's."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements-peers.txt")


class PeersMissing(RuntimeError):
    """The peers cannot be installed here."""


def python_with_peers() -> str:
    """Return a Python that has the peers installed. Raises ``PeersMissing``, such as without a package index."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"ezaigent-peers-{digest}"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists():
        print(f"installing the peers into {folder}", file=sys.stderr)
        uv = shutil.which("uv") or next(iter(map(str, Path().glob(".uv/bin/uv"))), None)
        if uv:
            _run(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder))
            _run(uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(REQUIREMENTS))
        else:
            _run(sys.executable, "-m", "venv", str(folder))
            _run(str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS))
        ready.touch()
    return str(python)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeersMissing((done.stderr or done.stdout).strip()[-300:])
