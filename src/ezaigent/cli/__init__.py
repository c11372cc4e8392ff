"""The command line: parse, call wiring, print."""

from __future__ import annotations

from ezaigent.cli.app import main

__all__ = ["main"]
