"""Which parts of the machine a command may read: a list of what is allowed, so that everything else is hidden.

Homes, ``/root``, ``/run``, ``/var``, ``/srv``, ``/mnt``, the data folder and other workspaces are not on the list.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store")
"""Folders of programs and libraries."""

ETC = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "hosts",
    "java-*",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "lsb-release",
    "magic",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "perl",
    "pki/ca-trust",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "python3*",
    "rpc",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "xattr.conf",
)
"""Parts of ``/etc`` that programs need. Not among them: shadow files, private keys, ``environment``, ``gitconfig``."""

_NETWORK_ETC = ("resolv.conf",)
_FIRST_PERSON = 1000
_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class View:
    """What is readable for every command on this machine."""

    paths: tuple[Path, ...]
    """Folders and files that may be read and executed; a symbolic link among them stays one."""
    programs: tuple[Path, ...]
    """Folders of the toolchain's programs, to be put on ``PATH``."""

    @classmethod
    def of_machine(cls, *, readable: Sequence[Path], hidden: Sequence[Path], network: bool) -> Self:
        """Look at this machine once. ``readable`` is the operator's addition, ``hidden`` must not be seen."""
        names = ETC + _NETWORK_ETC if network else ETC
        etc = [path for name in names for path in sorted(Path("/etc").glob(name))]
        system = [*map(Path, SYSTEM), *etc]
        # A system folder that is some account's home (a service in /opt) stays the system folder that it is.
        homes = [home.resolve() for home in _homes() if not any(path.is_relative_to(home.resolve()) for path in system)]
        data = [path.resolve() for path in hidden]
        secret = [*homes, *data]
        base = [part for path in system for part in _carve(path, secret)]
        tools = toolchain()
        named = [way for path in readable if path.exists() for way in (path.absolute(), path.resolve())]
        extra = [part for path in named for part in _carve(path, data)]
        covered = [path for path in base if path.is_dir() and not path.is_symlink()]
        more = [path for path in (*tools, *extra) if not any(path.is_relative_to(folder) for folder in covered)]
        return cls(
            paths=_without_duplicates([*base, *more]),
            programs=tuple(path / "bin" for path in tools if (path / "bin").is_dir()),
        )


def toolchain() -> list[Path]:
    """Return the folders of the Python that runs Ez Aigent, with its tools, wherever they were installed.

    They may lie below a home folder that is otherwise hidden; a prefix that is itself a home, or holds one, is left
    out. Each link between the virtual environment and its interpreter counts.
    """
    folders = [Path(sys.prefix), Path(sys.base_prefix)]
    program = Path(sys.executable)
    for _ in range(16):  # a chain of links is a few long
        folders.append(program.parent.parent)
        if not program.is_symlink():
            break
        program = program.parent / program.readlink()
    folders.append(Path(os.path.realpath(sys.executable)).parent.parent)
    homes = [home.resolve() for home in _homes()]
    good = (folder for folder in map(Path, map(os.path.normpath, folders)) if not _covers_a_home(folder, homes))
    return [folder for folder in _without_duplicates(list(good)) if not folder.is_relative_to("/usr")]


def _covers_a_home(folder: Path, homes: Sequence[Path]) -> bool:
    return any(home.is_relative_to(folder.resolve()) for home in homes)


def _homes() -> Iterator[Path]:
    yield from (Path("/root"), Path("/home"), Path.home())
    for user in pwd.getpwall():
        if _FIRST_PERSON <= user.pw_uid < _NOBODY:
            yield Path(user.pw_dir)


def _carve(path: Path, hidden: Sequence[Path]) -> Iterator[Path]:
    """Yield ``path``, or in place of it all its parts but the hidden one when something hidden lies inside."""
    if path in hidden or not path.exists():
        return
    inside = [secret for secret in hidden if secret.is_relative_to(path)]
    if not inside or path.is_symlink() or not path.is_dir():
        yield path
        return
    for child in sorted(path.iterdir()):
        yield from _carve(child, inside)


def _without_duplicates(paths: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(paths))
