"""Names of the refs that belong to a task; see ``mirrors`` for what each holds."""

from __future__ import annotations

from typing import Final

SALVAGE: Final = "refs/ezaigent/salvage"
CHECKPOINTS: Final = "refs/ezaigent/checkpoints"
BASES: Final = "refs/ezaigent/bases"
PUBLISHED: Final = "refs/ezaigent/published"
BRANCHES: Final = "refs/heads/ezaigent"


def branch_ref(task_id: str) -> str:
    """Return the ref of the task's change."""
    return f"{BRANCHES}/{task_id}"


def checkpoint_ref(task_id: str) -> str:
    """Return the hidden ref of the task's newest checkpoint."""
    return f"{CHECKPOINTS}/{task_id}"


def base_ref(task_id: str) -> str:
    """Return the hidden ref of the commit that the task's branch starts from."""
    return f"{BASES}/{task_id}"


def published_ref(task_id: str) -> str:
    """Return the hidden ref of the commit that was last handed back."""
    return f"{PUBLISHED}/{task_id}"


def salvage_folder(task_id: str) -> str:
    """Return the folder of the hidden refs of saved work."""
    return f"{SALVAGE}/{task_id}"
