from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.terminal import Terminal

from ezaigent.cli.demo import build


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return build(tmp_path)


@pytest.fixture
def ezaigent(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "home", EZAIGENT_QUEUE__BACKOFF="0.1")
