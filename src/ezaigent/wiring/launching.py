"""Pick the launcher that the settings name, and say what a worker is started with."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ezaigent.core.errors import LauncherError, UsageError
from ezaigent.core.ids import new_id
from ezaigent.core.settings import Settings
from ezaigent.wiring.services import Services

if TYPE_CHECKING:
    from ezaigent.fleet import Crew, Launcher, Patience

_OF_THIS_MACHINE: Final = ("EZAIGENT_HOME", "EZAIGENT_CONFIG", "EZAIGENT_LAUNCHER__", "EZAIGENT_PARENT_PID")
"""Variables that mean nothing in a container."""
_CLUSTER: Final = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")


def open_launcher(services: Services, hosts: Sequence[str]) -> Launcher:
    """Return the launcher of the settings; its workers host the profiles ``hosts``.

    Raises ``UsageError`` where the settings do not go together, naming what to change.
    """
    from ezaigent.fleet import InlineLauncher

    settings = services.settings
    kind = settings.launcher.kind
    if kind in {"docker", "kubernetes"} and services.embedded:
        raise UsageError(
            f"launcher.kind is {kind!r}, whose workers cannot share one file; set EZAIGENT_DATABASE_URL to PostgreSQL"
        )
    match kind:
        case "inline":
            return InlineLauncher()
        case "process":
            return _processes(services, hosts)
        case "docker":
            return _containers(services, hosts)
        case "kubernetes":
            return _replicas(services)


@asynccontextmanager
async def open_crew(services: Services, asked: Mapping[str, int], hosts: Sequence[str]) -> AsyncGenerator[Crew]:
    """Keep the agents ``asked`` for, by profile, on workers of the launcher that the settings name.

    These workers host the profiles ``hosts``, whoever orders their agents.
    """
    from ezaigent.fleet import Crew

    holder = f"{socket.gethostname()}-{os.getpid()}-{new_id()[-5:]}"
    crew = Crew(services.db, services.roster, open_launcher(services, hosts), asked, holder=holder)
    crew.start()
    try:
        yield crew
    finally:
        await crew.close()


def _worker(hosts: Sequence[str]) -> list[str]:
    return ["worker", "--pools", ",".join(hosts), "--agents", "{room}", "--json"]


def _processes(services: Services, hosts: Sequence[str]) -> Launcher:
    from ezaigent.fleet import PackedLauncher, Patience, ProcessSite

    settings = services.settings
    command = [sys.executable, "-m", "ezaigent", "--home", str(settings.home), *_worker(hosts)]
    return PackedLauncher(
        services.db,
        ProcessSite(command),
        room=settings.launcher.room,
        most=settings.launcher.max_workers,
        patience=_patience(settings, Patience),
    )


def _containers(services: Services, hosts: Sequence[str]) -> Launcher:
    from ezaigent.fleet import DockerSite, PackedLauncher, Patience

    settings = services.settings
    site = DockerSite(
        settings.launcher.docker_url,
        fleet=services.db.where,
        image=settings.launcher.image,
        command=_worker(hosts),
        environment=container_environment(settings, os.environ),
        network=settings.launcher.network,
        volumes=settings.launcher.volumes,
        drain=_ending(settings),
    )
    return PackedLauncher(
        services.db,
        site,
        room=settings.launcher.room,
        most=settings.launcher.max_workers,
        patience=_patience(settings, Patience),
    )


def _replicas(services: Services) -> Launcher:
    from ezaigent.fleet import KubernetesLauncher

    given = services.settings.launcher
    url, namespace, ca = given.kubernetes_url, given.namespace, given.kubernetes_ca
    if url is None:
        host, port = (os.environ.get(name) for name in _CLUSTER)
        if not host or not port:
            raise UsageError(
                "launcher.kind is 'kubernetes', but this process is in no cluster; set launcher.kubernetes_url"
            )
        url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        ca = ca or account_file("ca.crt")
    return KubernetesLauncher(
        services.db,
        url=url,
        token=_token(services.settings),
        namespace=namespace or account_file("namespace").read_text(encoding="utf-8").strip(),
        deployment=given.deployment,
        room=given.room,
        most=given.max_workers,
        idle=given.idle,
        ca=ca,
    )


def account_file(name: str, folder: Path | None = None) -> Path:
    """Return a file of the pod's service account. Raises ``UsageError`` where this process is in no pod."""
    from ezaigent.fleet import ACCOUNT

    path = (folder or ACCOUNT) / name
    if not path.is_file():
        raise UsageError(f"no {str(path)!r}: not in a pod; set launcher.namespace and launcher.kubernetes_token")
    return path


def _token(settings: Settings) -> Callable[[], str]:
    given = settings.launcher.kubernetes_token
    if given is not None:
        return given.get_secret_value
    path = account_file("token")

    def read() -> str:
        try:
            return path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise LauncherError(f"the token {str(path)!r} cannot be read: {error.strerror}") from None

    return read


def container_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a container: what this process has of the product's and the providers' own, then more.

    The addresses of the database and of Redis are always among them, wherever they were set.
    """
    from ezaigent.agents import keys_present, variables_of

    keys = {name for provider in keys_present(settings) for name in variables_of(provider)}
    passed = {
        name: value
        for name, value in environ.items()
        if name in keys or (name.startswith("EZAIGENT_") and not name.startswith(_OF_THIS_MACHINE))
    }
    for name, url in (("EZAIGENT_DATABASE_URL", settings.database_url), ("EZAIGENT_REDIS_URL", settings.redis_url)):
        if url is not None:
            passed[name] = url.get_secret_value()
    return passed | {name: value.get_secret_value() for name, value in settings.launcher.environment.items()}


def _ending(settings: Settings) -> float:
    """Return the seconds that a worker may take to end in order: the drain, and the last step."""
    return settings.fleet.drain + 30.0


def _patience(settings: Settings, kind: type[Patience]) -> Patience:
    return kind(
        startup=settings.launcher.startup,
        idle=settings.launcher.idle,
        silence=1.5 * settings.queue.lease,
        close=_ending(settings),
    )
