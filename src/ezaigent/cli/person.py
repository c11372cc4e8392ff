"""Who runs the command, for the log of what people did."""

from __future__ import annotations

import os


def person() -> str:
    """Return the name of whoever runs this process; ``uid-1000`` where the system has none, as in some containers."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"
