"""The demo: a small real project, eight tasks, three agents."""

from ezaigent.cli.demo.plan import EXPECTED_FAILURE, tasks
from ezaigent.cli.demo.project import build

__all__ = ["EXPECTED_FAILURE", "build", "tasks"]
