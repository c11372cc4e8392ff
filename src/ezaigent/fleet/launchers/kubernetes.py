"""Workers as the pods of a Deployment, through its scale subresource.

The scale subresource is the narrowest right that sizes a Deployment (``deployments/scale``: get, patch); see
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/. Which pod goes when there are
fewer is up to Kubernetes, which takes those of the least deletion cost first; see
https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost. So before there are fewer, each
pod is annotated with the number of its agents. Whichever goes gets SIGTERM, drains, and its seats find another worker.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import structlog

from ezaigent.core.errors import LauncherError
from ezaigent.fleet.launchers.packing import workers_for
from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.seats import Seat
from ezaigent.store import Database, emit

log = structlog.get_logger(__name__)

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the token, the namespace and the certificate authority of its service account."""
_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_TIMEOUT: Final = 15.0
_OK: Final = 300


class KubernetesLauncher:
    """A ``Launcher`` that sets the replicas of ``deployment``, whose pods host ``room`` agents each.

    It grows at once and shrinks when fewer were enough for ``idle`` seconds, by pods without agents alone, unless there
    are more than ``most``. Seats that other workers host, for example those that a person started elsewhere, need no
    replica.
    """

    lasting = True

    def __init__(
        self,
        db: Database,
        *,
        url: str,
        token: Callable[[], str],
        namespace: str,
        deployment: str,
        room: int,
        most: int,
        idle: float,
        ca: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``token`` is asked before each call: the pod's own is renewed on disk. ``clock`` counts seconds."""
        self._db = db
        self._url = url.rstrip("/")
        self._scale = f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}/scale"
        self._pods = f"/api/v1/namespaces/{namespace}/pods/"
        self._token = token
        self._deployment = deployment
        self._room = room
        self._most = most
        self._idle = idle
        self._ca = ca
        self._clock = clock
        self._fewer_since: float | None = None
        self._failing = False
        self._session: aiohttp.ClientSession | None = None
        self._one_at_a_time = asyncio.Lock()

    async def ensure(self, seats: Sequence[Seat], workers: Sequence[WorkerInfo]) -> None:
        """See ``Launcher.ensure``."""
        async with self._one_at_a_time:
            try:
                await self._ensure(seats, workers)
                self._failing = False
            except LauncherError as error:
                if not self._failing:
                    log.warning("the Deployment cannot be scaled; trying again", reason=str(error))
                    told = {"reason": str(error), "ready": False, "failures": 1, "wait": 0.0}
                    await self._tell("launcher.failed", told)
                self._failing = True

    def hurry(self) -> None:
        """See ``Launcher.hurry``."""

    async def close(self) -> None:
        """See ``Launcher.close``."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ensure(self, seats: Sequence[Seat], workers: Sequence[WorkerInfo]) -> None:
        pods = {worker.id: worker for worker in workers if worker.host.startswith(f"{self._deployment}-")}
        hosted = Counter(seat.worker for seat in seats if seat.worker in pods)
        wanted = self._wanted(sum(seat.worker is None for seat in seats), hosted, pods)
        before = int((await self._call("GET", self._scale))["spec"].get("replicas", 0))
        now = self._clock()
        if wanted >= before:
            self._fewer_since = None
        elif self._fewer_since is None:
            self._fewer_since = now
        if wanted == before or (self._fewer_since is not None and now - self._fewer_since < self._idle):
            return
        if wanted < before and hosted:
            for worker in pods.values():
                await self._set_cost(worker.host, hosted[worker.id])
        await self._call("PATCH", self._scale, {"spec": {"replicas": wanted}})
        self._fewer_since = None
        await self._tell("launcher.scaled", {"before": before, "after": wanted})

    def _wanted(self, waiting: int, hosted: Mapping[str, int], pods: Mapping[str, WorkerInfo]) -> int:
        """Return how many replicas are enough; a pod that is ending, and so hosts no profile, is none any more."""
        kept = sum(bool(pods[name].hosts) for name in hosted)
        return min(self._most, max(kept, workers_for(waiting + sum(hosted.values()), self._room)))

    async def _set_cost(self, pod: str, agents: int) -> None:
        await self._call("PATCH", self._pods + pod, {"metadata": {"annotations": {_COST: str(agents)}}}, gone=True)

    async def _call(self, verb: str, path: str, body: dict[str, Any] | None = None, *, gone: bool = False) -> Any:
        """Return the answer; where what is asked for may be ``gone``, None. Raises ``LauncherError``."""
        if self._session is None:
            secure = ssl.create_default_context(cafile=self._ca) if self._ca is not None else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=secure), timeout=aiohttp.ClientTimeout(total=_TIMEOUT)
            )
        headers = {"Authorization": f"Bearer {self._token()}"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        data = orjson.dumps(body) if body is not None else None
        try:
            async with self._session.request(verb, self._url + path, headers=headers, data=data) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise LauncherError(f"Kubernetes does not answer at {self._url}{path} ({type(error).__name__})") from None
        if gone and answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status >= _OK:
            reason = " ".join(text.decode(errors="replace").split())[:300]
            raise LauncherError(f"Kubernetes refuses {verb} of {path}: {answer.status} {reason}")
        return orjson.loads(text)

    async def _tell(self, kind: str, data: Mapping[str, object]) -> None:
        said = {"launcher": "kubernetes", "name": self._deployment, **data}
        await self._db.write(lambda conn: emit(conn, kind, data=said))
