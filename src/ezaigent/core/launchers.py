"""Where workers run: the names, apart from the settings because the command line shows them without loading those."""

from __future__ import annotations

from typing import Literal

LauncherKind = Literal["inline", "process", "docker", "kubernetes"]
