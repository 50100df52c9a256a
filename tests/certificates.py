"""Certificates for tests, made with openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key."""

    certificate: Path
    key: Path


def authority(folder: Path, name: str) -> Certificate:
    """A CA."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl(
        *("req", "-x509", *KEY, "-subj", f"/CN={name}", "-days", "2"),
        *("-keyout", str(made.key), "-out", str(made.certificate)),
    )
    return made


def signed(folder: Path, name: str, by: Certificate, days: int = 2) -> Certificate:
    """A certificate of the loopback address. days: below 0, it has expired."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    request, more = folder / f"{name}.csr", folder / f"{name}.ext"
    more.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    _openssl("req", *KEY, "-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(request))
    _openssl(
        *("x509", "-req", "-in", str(request), "-days", str(days), "-extfile", str(more)),
        *("-CA", str(by.certificate), "-CAkey", str(by.key), "-out", str(made.certificate)),
    )
    return made


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
