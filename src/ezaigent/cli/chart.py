"""A drawing of numbers over time in the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"


def fit(values: Sequence[float], width: int) -> list[float]:
    """Return at most ``width`` numbers: the highest of each part, so that no peak is lost."""
    if len(values) <= width:
        return list(values)
    edges = [round(place * len(values) / width) for place in range(width + 1)]
    return [max(values[begin : max(end, begin + 1)]) for begin, end in itertools.pairwise(edges)]


def chart(values: Sequence[float], *, width: int, height: int) -> list[str]:
    """Return lines, the top one first, that draw ``values`` from 0 to their highest, each line with its scale."""
    columns = fit(values, width)
    top = max([*columns, 1.0])
    labels = len(f"{top:.0f}")
    lines: list[str] = []
    for row in range(height, 0, -1):
        cells = "".join(_EIGHTHS[_eighths(value / top * height - (row - 1))] for value in columns)
        scale = f"{top:.0f}" if row == height else "0" if row == 1 else ""
        lines.append(f"{scale:>{labels}} ┤{cells}".rstrip())
    return lines


def _eighths(filled: float) -> int:
    """Return how many eighths of a cell are filled; a little is one, so that nothing vanishes."""
    if filled <= 0:
        return 0
    return min(8, max(1, round(filled * 8)))
