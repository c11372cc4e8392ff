"""A certificate authority and a server certificate for 127.0.0.1, made by the ``openssl`` program."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.services.processes import ServiceMissing


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make a throwaway authority and one server certificate signed by it, valid for a day."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise ServiceMissing("no openssl program here: TLS cannot be tried")
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")

    def run(*arguments: str) -> None:
        done = subprocess.run([openssl, *arguments], capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise ServiceMissing(f"openssl {arguments[0]} failed: {done.stderr.strip()[-200:]}")

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")
    run("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test authority")
    run("req", *new[:-2], "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-extfile", str(extensions))
    run("x509", "-req", "-in", "server.csr", *signed, "-out", "server.crt")
    return made
