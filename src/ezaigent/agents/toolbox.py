"""All tools of an agent in one set, declared once: each further set costs every step of every run."""

from __future__ import annotations

from typing import Final

from pydantic_ai import FunctionToolset

from ezaigent.agents.deps import Deps
from ezaigent.agents.files import edit_file, grep, list_files, read_file, write_file
from ezaigent.agents.planning import PLAN_TOOLS
from ezaigent.agents.shell import shell

TOOLBOX: Final = FunctionToolset[Deps](
    id="tools", tools=[read_file, write_file, edit_file, list_files, grep, shell, *PLAN_TOOLS]
)
"""Read, write and edit files, list and search them, run a command, write the plan down."""
