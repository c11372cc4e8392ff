"""How much script the first load of the fleet page fetches, and how it is transferred."""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass
from urllib.request import urlopen

from playwright.sync_api import BrowserContext, Response

from benchmarks.browsing.sites import Wire, fleet_page


@dataclass(frozen=True)
class Script:
    """A script that was fetched; sizes in bytes."""

    name: str
    encoding: str
    """As the server sent it; ``none`` is not compressed."""
    plain: int
    zipped: int
    """With gzip at level 6, whatever the server does."""
    sent: int | None
    """Of the body as the server sent it; None where the browser does not tell."""


def first_load(context: BrowserContext, url: str, settle: float = 5.0) -> list[Script]:
    """Forget what the browser keeps of the site, its session excepted, load the page, wait; return what was fetched.

    The shared worker and the service worker count, and so does what they fetch within ``settle`` seconds.
    """
    eraser = context.new_page()
    wire = Wire.to_page(eraser)
    wire.ask("Network.clearBrowserCache")
    wire.ask("Storage.clearDataForOrigin", origin=url, storageTypes="service_workers,cache_storage,indexeddb")
    eraser.close()
    seen: dict[str, Response] = {}

    def fetched(answer: Response) -> None:
        if answer.url.endswith(".js"):
            seen.setdefault(answer.url, answer)

    context.on("response", fetched)
    page = fleet_page(context, url)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    time.sleep(settle)
    names: list[str] = page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
    page.close()
    found: list[Script] = []
    for name in sorted({*seen, *(one for one in names if one.endswith(".js"))}):
        with urlopen(name) as answer:  # noqa: S310 - of the server that was just started
            plain: bytes = answer.read()
        told = seen.get(name)
        encoding = (told.headers.get("content-encoding") if told else None) or "none"
        sent = told.headers.get("content-length") if told else None
        found.append(
            Script(
                name.rpartition("/")[2], encoding, len(plain), len(gzip.compress(plain, 6)), int(sent) if sent else None
            )
        )
    return found
