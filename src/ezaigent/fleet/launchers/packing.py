"""How many seats find no room with the workers that are there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.seats import Seat


def without_room(seats: Sequence[Seat], workers: Sequence[WorkerInfo]) -> int:
    """Return how many seats that wait for a worker find no room with the living ``workers``."""
    waiting = Counter(seat.profile for seat in seats if seat.worker is None and seat.leaving is None)
    for worker in workers:
        free = math.inf if worker.free is None else worker.free
        for profile in worker.hosts:
            taken = min(waiting[profile], free)
            waiting[profile] -= int(taken)
            free -= taken
    return waiting.total()


def workers_for(seats: int, room: int) -> int:
    """Return how many workers of ``room`` agents each are needed for so many seats."""
    return -(-seats // room)
