"""Fixtures of the fleet's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.fleet.scene import STEPS, Scene, Zygote, make_repository, zygote_in

from ezaigent.testing import ModelServer, from_steps


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Starts worker processes."""
    with zygote_in(tmp_path_factory.mktemp("workers")) as started:
        yield started


@pytest.fixture
def workers(zygote: Zygote) -> Iterator[Zygote]:
    """Starts worker processes; what a test leaves running is ended."""
    yield zygote
    zygote.kill_all()


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    """A model that does ``STEPS``."""
    async with ModelServer(from_steps(STEPS)) as started:
        yield started


@pytest.fixture
def scene(tmp_path: Path, server: ModelServer) -> Scene:
    """An embedded fleet with the scripted model."""
    return Scene(tmp_path / "home", make_repository(tmp_path / "repo"), server)


@pytest.fixture
def postgres_scene(scene: Scene, postgres_database: str) -> Scene:
    """The same on PostgreSQL."""
    scene.database = postgres_database
    return scene
