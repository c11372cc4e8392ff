"""Looking at a page as everybody may: light and dark, wide and narrow, with axe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from axe_playwright_python.sync_playwright import Axe  # pyright: ignore[reportMissingTypeStubs]
from playwright.sync_api import Locator, Page
from tests.web.conftest import NARROW, WIDE

PICTURES = os.environ.get("PICTURES")
"""A folder that is given one picture of each page and width, as large as the screen: those of the documentation."""
SCHEMES: Sequence[Literal["light", "dark"]] = ("light", "dark")

_RULES: Final = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
"""All rules that axe has switched on, and the one of WCAG 2.2, which it has not."""


def violations(page: Page) -> list[str]:
    """Return what axe finds, one line each, with the place."""
    axe: Any = Axe()
    found: list[dict[str, Any]] = axe.run(page, options=_RULES).response["violations"]
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than the screen."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def faults(page: Page, name: str, pictures: Path, *, place: Locator | None = None) -> dict[str, object]:
    """Look at the page in both schemes and widths; return what is wrong with it, and leave pictures of it.

    ``place`` is what the pictures for the documentation show; left out: the top.
    """
    found: dict[str, object] = {}
    for width, height in (NARROW, WIDE):
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.screenshot(path=pictures / f"{name}-{width}-{scheme}.png", full_page=True)
            if PICTURES and scheme == "light":
                if place is None:
                    page.evaluate("scrollTo(0, 0)")
                else:
                    place.scroll_into_view_if_needed()
                page.screenshot(path=Path(PICTURES, f"{name}-{width}.png"))
            if wrong := violations(page):
                found[f"{name} {width} {scheme}"] = wrong
        if wide := overflow(page):
            found[f"{name} {width}"] = f"{wide} px too wide"
    return found
