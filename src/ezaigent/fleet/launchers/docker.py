"""Workers as containers, through the Docker Engine's HTTP API.

The calls are those of https://docs.docker.com/reference/api/engine/version/v1.41/ (Docker 20.10 and newer, Podman's
compatible service too). Containers belong to a fleet by a label; they outlive this process, and the next launcher of
the same fleet finds them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp
import orjson

from ezaigent.core.errors import LauncherError
from ezaigent.fleet.models import WorkerInfo

_API: Final = "/v1.41"
_LABEL: Final = "ezaigent.fleet"
_TIMEOUT: Final = 30.0
_CREATED: Final = 201
_OK: Final = 300
_GONE: Final = (404, 409)
"""No such container; it does not run, or is being removed: what was wanted is so."""


class DockerSite:
    """Starts a container of ``image`` for each worker, with ``command`` for its entry point (``{room}`` as above)."""

    kind = "docker"
    lasting = True

    def __init__(
        self,
        url: str,
        *,
        fleet: str,
        image: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        network: str | None = None,
        volumes: Sequence[str] = (),
        drain: float = 60.0,
    ) -> None:
        """``url`` is ``unix:///path`` or ``http://host:port``; containers of the label ``fleet`` are this one's.

        ``drain`` is how many seconds a container may take to end in order when the engine itself stops it.
        """
        self._socket = url.removeprefix("unix://") if url.startswith("unix://") else None
        self._base = "http://docker" if self._socket is not None else url.rstrip("/")
        self._fleet = fleet
        self._image = image
        self._command = tuple(command)
        self._environment = dict(environment)
        self._network = network
        self._volumes = list(volumes)
        self._drain = drain
        self._session: aiohttp.ClientSession | None = None

    async def running(self) -> set[str]:
        """See ``Site.running``; containers that have ended are removed."""
        filters = orjson.dumps({"label": [f"{_LABEL}={self._fleet}"]}).decode()
        listed = await self._call("GET", "/containers/json", params={"all": "true", "filters": filters})
        running: set[str] = set()
        for container in listed:
            name = str(container["Names"][0]).lstrip("/")
            if container["State"] in {"exited", "dead"}:
                await self._call("DELETE", f"/containers/{name}", params={"force": "true"}, fine=_GONE)
            elif container["State"] != "removing":
                running.add(name)
        return running

    async def start(self, name: str, room: int) -> None:
        """See ``Site.start``."""
        host: dict[str, Any] = {"Init": True, "Binds": self._volumes}
        if self._network is not None:
            host["NetworkMode"] = self._network
        body = {
            "Image": self._image,
            "Hostname": name,
            "Cmd": [word.replace("{room}", str(room)) for word in self._command],
            "Env": [f"{key}={value}" for key, value in sorted(self._environment.items())],
            "Labels": {_LABEL: self._fleet},
            "StopTimeout": round(self._drain),
            "HostConfig": host,
        }
        await self._call("POST", "/containers/create", params={"name": name}, body=body)
        try:
            await self._call("POST", f"/containers/{name}/start")
        except LauncherError:
            await self._call("DELETE", f"/containers/{name}", params={"force": "true"}, fine=_GONE)
            raise

    async def stop(self, name: str) -> None:
        """See ``Site.stop``."""
        await self._call("POST", f"/containers/{name}/kill", params={"signal": "SIGTERM"}, fine=_GONE)

    async def kill(self, name: str) -> None:
        """See ``Site.kill``."""
        await self._call("DELETE", f"/containers/{name}", params={"force": "true"}, fine=_GONE)

    def is_it(self, name: str, worker: WorkerInfo) -> bool:
        """See ``Site.is_it``."""
        return worker.host == name

    def hurry(self) -> None:
        """See ``Site.hurry``."""

    async def close(self, *, patience: float) -> None:
        """See ``Site.close``; the containers go on."""
        del patience
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(
        self,
        verb: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        fine: Sequence[int] = (),
    ) -> Any:
        if self._session is None:
            connector = aiohttp.UnixConnector(self._socket) if self._socket is not None else aiohttp.TCPConnector()
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        try:
            async with self._session.request(verb, f"{self._base}{_API}{path}", params=params, json=body) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            where = self._socket or self._base
            raise LauncherError(
                f"Docker at {where!r} does not answer ({type(error).__name__}); is it running?"
            ) from None
        if answer.status in fine:
            return None
        if answer.status >= _OK:
            raise LauncherError(f"Docker refuses {verb} {path}: {answer.status} {_said(text)}")
        return orjson.loads(text) if text.strip() else None


def _said(text: bytes) -> str:
    try:
        message = str(orjson.loads(text)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = text.decode(errors="replace")
    return " ".join(message.split())[:300]
