"""Which launcher the settings mean, and what a container is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ezaigent.core.errors import LauncherError, UsageError
from ezaigent.costs import CostBook
from ezaigent.fleet import InlineLauncher, KubernetesLauncher, PackedLauncher
from ezaigent.fleet.launchers import kubernetes
from ezaigent.live import MemoryBus
from ezaigent.store import Database, EventLog
from ezaigent.tasks import TaskQueue
from ezaigent.wiring import Services, load_settings
from ezaigent.wiring.launching import account_file, container_environment, open_launcher


@asynccontextmanager
async def services(home: Path, database: str | None = None, **launcher: Any) -> AsyncGenerator[Services]:
    settings = load_settings(home=home, database_url=database, launcher=launcher)
    db = await Database.open(database or f"sqlite:///{home / 'store.db'}")
    try:
        yield Services(
            settings=settings,
            db=db,
            bus=MemoryBus(),
            events=EventLog(db),
            queue=TaskQueue(db, settings.queue),
            costs=CostBook(db, settings.costs),
        )
    finally:
        await db.close()


async def test_one_file_has_launchers_on_its_own_machine_only(tmp_path: Path) -> None:
    async with services(tmp_path) as inline:
        assert isinstance(open_launcher(inline, ["claude"]), InlineLauncher)
    async with services(tmp_path, kind="process") as process:
        launcher = open_launcher(process, ["claude"])
        assert isinstance(launcher, PackedLauncher)
        assert not launcher.lasting
    for kind in ("docker", "kubernetes"):
        async with services(tmp_path, kind=kind) as far:
            with pytest.raises(UsageError, match=f"{kind}.*set EZAIGENT_DATABASE_URL to PostgreSQL"):
                open_launcher(far, ["claude"])


@pytest.mark.postgres
async def test_a_shared_store_has_launchers_everywhere(
    tmp_path: Path, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    async with services(tmp_path, postgres_database, kind="docker") as docker:
        assert open_launcher(docker, ["claude"]).lasting
    async with services(tmp_path, postgres_database, kind="kubernetes") as outside:
        with pytest.raises(UsageError, match=r"in no cluster; set launcher\.kubernetes_url"):
            open_launcher(outside, ["claude"])
    given = {"kubernetes_url": "https://cluster", "kubernetes_token": "t", "namespace": "fleet"}
    async with services(tmp_path, postgres_database, kind="kubernetes", **given) as inside:
        launcher = open_launcher(inside, ["claude"])
        assert isinstance(launcher, KubernetesLauncher)
        await launcher.close()
    account = tmp_path / "account"
    account.mkdir()
    for name, text in (("token", "secret\n"), ("namespace", "fleet"), ("ca.crt", "")):
        (account / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    async with services(tmp_path, postgres_database, kind="kubernetes") as pod:
        with pytest.raises(UsageError, match="not in a pod"):
            open_launcher(pod, ["claude"])
        monkeypatch.setattr(kubernetes, "ACCOUNT", account)
        launcher = open_launcher(pod, ["claude"])
        assert isinstance(launcher, KubernetesLauncher)
        token = launcher._token  # pyright: ignore[reportPrivateUsage]
        assert token() == "secret"
        (account / "token").unlink()
        with pytest.raises(LauncherError, match="cannot be read"):
            token()


def test_a_container_gets_the_addresses_and_the_keys_and_nothing_of_this_machine(tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path,
        database_url="postgresql://u:p@db/fleet",
        launcher={"environment": {"EZAIGENT_LOG_LEVEL": "info", "EXTRA": "1"}},
    )
    here = {
        "EZAIGENT_HOME": "/here",
        "EZAIGENT_CONFIG": "/here/ezaigent.toml",
        "EZAIGENT_LAUNCHER__KIND": "docker",
        "EZAIGENT_LOG_LEVEL": "debug",
        "EZAIGENT_QUEUE__LEASE": "10",
        "ANTHROPIC_API_KEY": "key",
        "PATH": "/bin",
        "SECRET": "mine",
    }
    assert container_environment(settings, here) == {
        "EZAIGENT_DATABASE_URL": "postgresql://u:p@db/fleet",
        "EZAIGENT_QUEUE__LEASE": "10",
        "EZAIGENT_LOG_LEVEL": "info",
        "ANTHROPIC_API_KEY": "key",
        "EXTRA": "1",
    }


def test_the_service_account_is_read_from_the_pod(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    assert account_file("token", tmp_path).read_text() == "secret"
    with pytest.raises(UsageError, match="not in a pod"):
        account_file("namespace", tmp_path)
