"""Cost against p95 wait as an SVG, written by hand: one mark for each policy, start-up and trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 560
LEFT, RIGHT, TOP, BOTTOM = 80, 250, 50, 70
COLOURS = (
    "#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#6b7280",
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """One policy on one trace."""

    name: str
    cost: float
    wait: float
    met: bool
    note: str


def draw(marks: Sequence[Mark], title: str, target: float) -> str:
    """Return the picture; a filled mark meets the goal, a hollow one misses it. The line is the wait target."""
    names = list(dict.fromkeys(mark.name for mark in marks))
    costs = [mark.cost for mark in marks]
    low, high = min(0.95, *costs), max(costs) * 1.05
    longest = max(100.0, *(mark.wait for mark in marks))

    def across(cost: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(cost / low) / math.log(high / low)

    def down(wait: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log1p(wait) / math.log1p(longest)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="28" font-size="16">{escape(title)}</text>',
    ]
    ticks = [value for value in (1.0, 1.1, 1.2, 1.35, 1.5, 2, 3, 4, 6, 10, 20, 40) if low <= value <= high]
    for value in ticks:
        x = across(value)
        out += [_line(x, TOP, x, HEIGHT - BOTTOM), _text(x, HEIGHT - BOTTOM + 18, f"{value:g}", "middle")]
    for wait in (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000):
        if wait <= longest:
            y = down(wait)
            out += [_line(LEFT, y, WIDTH - RIGHT, y), _text(LEFT - 8, y + 4, f"{wait:g}", "end")]
    out.append(_line(LEFT, down(target), WIDTH - RIGHT, down(target), goal=True))
    out.append(_text(LEFT + 6, down(target) - 5, f"wait target {target:g} s", "start"))
    out.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 24, "cost: agent-hours / busy-hours (log)", "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = _text(22, middle, "p95 wait in seconds (log)", "middle")
    out.append(turned.replace("<text ", f'<text transform="rotate(-90 22 {middle:.0f})" ', 1))
    for mark in marks:
        colour = COLOURS[names.index(mark.name) % len(COLOURS)]
        title = f"{mark.name}, {mark.note}: cost {mark.cost:.2f}, p95 {mark.wait:.0f} s"
        out.append(_dot(across(mark.cost), down(mark.wait), colour, title, filled=mark.met))
    for number, name in enumerate(names):
        y = TOP + 14 + 22 * number
        colour = COLOURS[number % len(COLOURS)]
        out += [_dot(WIDTH - RIGHT + 24, y - 4, colour, name, filled=True)]
        out.append(_text(WIDTH - RIGHT + 38, y, name, "start"))
    y = TOP + 30 + 22 * len(names)
    out.append(_text(WIDTH - RIGHT + 18, y, "filled: SLO met; hollow: missed", "start"))
    return "\n".join([*out, "</svg>", ""])


def _line(x1: float, y1: float, x2: float, y2: float, *, goal: bool = False) -> str:
    colour, dashes = ("#d33", "6 4") if goal else ("#ddd", "none")
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-dasharray="{dashes}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}">{escape(text)}</text>'


def _dot(x: float, y: float, colour: str, title: str, *, filled: bool) -> str:
    fill = colour if filled else "none"
    place = f'cx="{x:.1f}" cy="{y:.1f}" r="5"'
    return f'<circle {place} fill="{fill}" stroke="{colour}" stroke-width="2"><title>{escape(title)}</title></circle>'
