"""How many arrivals are improbable: the upper tail of the Poisson distribution."""

from __future__ import annotations

import math


def reserve(mean: float, miss: float) -> int:
    """Return the least ``H`` with P(Poisson(``mean``) >= H) <= ``miss``; ``miss`` is above 0.

    It sums the tail from far above the mean downwards, so that the small terms are added first and exactly.
    """
    if miss >= 1:
        return 0
    if mean <= 0:
        return 1
    count = math.ceil(mean + 12 * math.sqrt(mean) + 25)
    term = math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
    tail = term
    while count > 0 and tail <= miss:
        term *= count / mean
        count -= 1
        tail += term
    return count + 1
