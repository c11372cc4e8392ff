"""Many clients of the event stream at one server that ends in order, comes again, is killed, and comes again.

Some clients stop reading while much is written, half of them until the server ends. Ends with 1 when a client misses
something, gets it twice or out of order. The server runs with the system's usual limit of open files, and all clients
have one token and the usual rate. The clients and who submits are one process; the server is another.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.api.storm import Size, storm

from benchmarks.api import spread
from benchmarks.conditions import conditions


def main() -> None:
    """Let it happen, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--slow", type=int, default=20, help="of them those that stop reading")
    parser.add_argument("--burst", type=int, default=4000, help="events that are written meanwhile")
    parser.add_argument("--text", type=int, default=9000, help="characters in each of those")
    parser.add_argument("--calm", type=float, default=10.0, help="seconds of mere work, before it and with it")
    parser.add_argument("--patience", type=float, default=180.0, help="seconds that anything may take")
    given = parser.parse_args()
    size = Size(**vars(given))
    print(conditions(**vars(given)))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        report = asyncio.run(storm(home, size))
    peaks = [(peak - report.rest) / 1024**2 for peak in report.peaks]
    print(f"{report.events} events, {report.delivered} delivered to {size.clients} clients")
    print(f"  all connected after          {report.connecting:6.2f} s")
    for title, late in zip(("event to client, at work", "the same, in the burst"), report.late, strict=True):
        print(f"  {title:<27} {spread(late)}")
    print(f"  ended in order within        {report.ending:6.2f} s")
    print(f"  all back, with everything    {report.returning[0]:6.2f} s after the start of the next server")
    print(f"  the same after a kill        {report.returning[1]:6.2f} s")
    print(f"  memory without clients       {report.rest / 1024**2:6.1f} MB; at the most {max(peaks):.1f} MB more")
    print(f"  fell behind and were told    {report.behind[0]} of {size.slow} slow, {report.behind[1]} others")
    print(f"  answers that were no stream: {dict(report.refused) or 'none'}")
    print(f"  missing, twice, out of order: {report.wrong or 'nothing'}")
    if report.log:
        print(f"the servers said:\n{report.log}")
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
