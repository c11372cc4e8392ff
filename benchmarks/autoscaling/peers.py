"""Other autoscalers, each from its documented formula and defaults, with one task at a time per agent.

What they are given: ``load``, the exact number of queued and running tasks, without a scrape delay. Who goes on the
way down is not theirs to choose by busyness: a ReplicaSet removes pods that are not ready first, then the most
recently created (https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset). A busy
agent that is hit is counted and then, in the peers' favour, may finish its task however long it takes.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from ezaigent.fleet.scaling import Orders, PoolSnapshot


def resize(pool: PoolSnapshot, target: int) -> Orders:
    """Return the orders of a ReplicaSet."""
    more = target - pool.size
    if more >= 0:
        return Orders(start=more)
    busy = {seat.agent for seat in pool.busy}
    starting = sorted((seat.agent for seat in pool.starting), reverse=True)
    ready = sorted((*busy, *(seat.agent for seat in pool.idle)), reverse=True)  # names rise with the time of birth
    out = [*starting, *ready][:-more]
    return Orders(
        retire=tuple(agent for agent in out if agent not in busy), drain=tuple(agent for agent in out if agent in busy)
    )


def tasks(pool: PoolSnapshot) -> int:
    """Return the tasks that wait or run."""
    return pool.queued + len(pool.busy) + len(pool.draining)


@dataclass
class Hpa:
    """Kubernetes' HorizontalPodAutoscaler on a queue metric, as KEDA sets it up.

    desired = ceil(tasks / target); no change within a tolerance of 0.1; a sync every 15 s; up by at most the greater
    of 100 % and 4 pods in 15 s, without stabilisation; down to the highest recommendation of the last 300 s.
    The metric is queued and running tasks together: with waiting ones alone it would remove every running agent.
    https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details and #default-behavior;
    https://keda.sh/docs/latest/reference/scaledobject-spec/
    """

    target: float
    lowest: int
    highest: int
    period: float = 15.0
    eager: bool = False
    recommended: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def look(self, at: float, pool: PoolSnapshot, load: float) -> Orders:
        """Size the pool."""
        del load
        size, metric = pool.size, tasks(pool)
        desired = size
        if size == 0 or abs(metric / (self.target * size) - 1) > 0.1:
            desired = math.ceil(metric / self.target)
        self.recommended.append((at, desired))
        while self.recommended[0][0] <= at - 300:
            self.recommended.popleft()
        if desired < size:
            desired = min(size, max(count for _, count in self.recommended))
        desired = min(desired, max(2 * size, size + 4))
        return resize(pool, min(max(desired, self.lowest), self.highest))


@dataclass
class RayServe:
    """Ray Serve's default policy.

    desired = ceil(replicas x (ongoing requests per replica / target_ongoing_requests)), from the mean of the last 30 s
    (look_back_period_s); up when it has been higher for 30 s (upscale_delay_s), down when it has been lower for 600 s
    (downscale_delay_s). Ray's control loop runs every 0.1 s; here every second, which the delays make no difference to.
    https://docs.ray.io/en/latest/serve/advanced-guides/advanced-autoscaling.html
    """

    target: float
    lowest: int
    highest: int
    period: float = 1.0
    eager: bool = False
    loads: deque[tuple[float, float]] = field(default_factory=deque[tuple[float, float]])
    since: float = 0.0
    way: int = 0

    def look(self, at: float, pool: PoolSnapshot, load: float) -> Orders:
        """Size the pool."""
        size = pool.size
        ongoing = mean_load(self.loads, at, load, 30.0)
        desired = min(max(math.ceil(ongoing / self.target - 1e-9), self.lowest), self.highest)
        way = (desired > size) - (desired < size)
        if way != self.way:
            self.way, self.since = way, at
        if way == 0 or at - self.since < (30.0 if way > 0 else 600.0):
            return Orders()
        self.way = 0
        return resize(pool, desired)


@dataclass
class Knative:
    """The Knative Pod Autoscaler with containerConcurrency 1.

    desired = ceil(mean concurrency / (1 x 70 %)), over a stable window of 60 s; when the same over the panic window of
    6 s (10 %) is at least twice the ready pods (200 %), it panics: it takes the higher of both and never goes down
    until 60 s have passed without a reason. Looks every 2 s; up by at most 1,000 times and down by at most half of the
    ready pods at a look. The default target of 100 (container-concurrency-target-default) is for pods that serve many
    requests at once; an agent does one task at a time, so its hard limit is 1.
    https://knative.dev/docs/serving/autoscaling/kpa-specific/ and https://knative.dev/docs/serving/autoscaling/concurrency/
    """

    lowest: int
    highest: int
    concurrency: float = 0.7
    period: float = 2.0
    eager: bool = False
    stable: deque[tuple[float, float]] = field(default_factory=deque[tuple[float, float]])
    short: deque[tuple[float, float]] = field(default_factory=deque[tuple[float, float]])
    panic_at: float | None = None
    panic_pods: int = 0

    def look(self, at: float, pool: PoolSnapshot, load: float) -> Orders:
        """Size the pool."""
        ready = max(1, len(pool.busy) + len(pool.idle))
        most, least = math.ceil(1000 * ready), math.floor(ready / 2)
        calm = min(max(math.ceil(mean_load(self.stable, at, load, 60.0) / self.concurrency), least), most)
        rash = min(max(math.ceil(mean_load(self.short, at, load, 6.0) / self.concurrency), least), most)
        if rash / ready >= 2:
            self.panic_at = at
        elif self.panic_at is not None and at - self.panic_at > 60:
            self.panic_at, self.panic_pods = None, 0
        desired = calm
        if self.panic_at is not None:
            self.panic_pods = desired = max(self.panic_pods, calm, rash)
        return resize(pool, min(max(desired, self.lowest), self.highest))


def mean_load(seen: deque[tuple[float, float]], at: float, load: float, window: float) -> float:
    """Return the mean number of tasks over the last ``window`` seconds; ``seen`` remembers the integral."""
    seen.append((at, load))
    while len(seen) > 1 and seen[1][0] <= at - window:
        seen.popleft()
    begin, before = seen[0]
    return (load - before) / (at - begin) if at > begin else 0.0
