"""Which pool a task belongs to that names no profile.

Whoever is idle takes such a task, so the idle agents of the general pools count first. What is left goes, one task
after the other, to the pool with the most room: its ceiling less the agents that have a task and the tasks that were
given to it here. Of pools with the same room the first by name gets it. So nothing is started for a task that an idle
agent takes, and no pool that cannot grow is given what another one could do.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping


def share(tasks: int, idle: Mapping[str, int], room: Mapping[str, int]) -> dict[str, int]:
    """Return how many of ``tasks`` each pool gets. ``room`` is how many more it could have at most, idle ones included.

    Both name the same pools. When the room is used up, the rest is dealt out in turn.
    """
    if not room:
        return {}
    got = dict.fromkeys(room, 0)
    left = tasks
    for pool in sorted(idle):
        taken = min(left, idle[pool])
        got[pool] += taken
        left -= taken
    heap = [(got[pool] - most, pool) for pool, most in room.items() if most > got[pool]]
    heapq.heapify(heap)
    while left and heap:
        full, pool = heapq.heappop(heap)
        got[pool] += 1
        left -= 1
        if full + 1 < 0:
            heapq.heappush(heap, (full + 1, pool))
    names = sorted(room)
    for place, pool in enumerate(names):
        got[pool] += left // len(names) + (place < left % len(names))
    return got
