"""The metrics, all of them, as Prometheus reads them."""

from __future__ import annotations

import time
from collections import Counter as Count
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

from ezaigent.api.backstage import Stage

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """One registry for one app: nothing is global."""

    def __init__(self) -> None:
        """Register every metric."""
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            "ezaigent_http_requests", "Requests that were answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "ezaigent_http_request_seconds",
            "Seconds until a request was answered, streams left out.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._tasks = Gauge("ezaigent_tasks", "Tasks by state.", ["state"], registry=registry)
        self._queued = Gauge("ezaigent_queued_tasks", "Queued tasks by pool; * is any.", ["pool"], registry=registry)
        self._oldest = Gauge("ezaigent_queue_oldest_seconds", "Wait of the oldest queued task.", registry=registry)
        self._agents = Gauge("ezaigent_agents", "Agents by derived status.", ["status"], registry=registry)
        self._workers = Gauge("ezaigent_workers", "Live workers.", registry=registry)
        self._streams = Gauge("ezaigent_event_streams", "Live event streams of this process.", registry=registry)
        self._event = Gauge("ezaigent_event_sequence", "Number of the newest event.", registry=registry)
        self._cost = Gauge("ezaigent_cost_today_usd", "Known spending of this UTC day, in USD.", registry=registry)
        self._unknown = Gauge(
            "ezaigent_unpriced_calls_today", "Model calls of this UTC day whose price is unknown.", registry=registry
        )

    def seen(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request. What matched no route counts together: a caller must not make names here."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if route != "none" else "any"
        self._requests.labels(method, route, str(status or "gone")).inc()
        if not route.endswith("/events"):
            self._seconds.labels(method, route).observe(seconds)

    async def collect(self, on: Stage) -> bytes:
        """Look at the fleet and return everything as text."""
        stats = await on.queue.stats()
        for state, count in stats.states.items():
            self._tasks.labels(state.value).set(count)
        self._queued.clear()
        for profile, count in stats.by_profile.items():
            self._queued.labels(profile).set(count)
        self._oldest.set(stats.oldest_wait or 0.0)
        found = Count(view.status for view in await on.roster.agents())
        self._agents.clear()
        for status, count in found.items():
            self._agents.labels(status).set(count)
        self._workers.set(len(await on.roster.workers()))
        self._streams.set(on.fanout.clients)
        self._event.set(await on.events.head())
        today = await on.costs.total(since=time.time() // 86_400 * 86_400)
        self._cost.set(today.cost_nusd / 1e9)
        self._unknown.set(today.unknown_calls)
        return generate_latest(self._registry)
