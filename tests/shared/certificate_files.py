"""Certificates made by the real openssl, for tests of TLS."""

import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_authority(folder: Path, name: str = "ca") -> None:
    """Write `<name>.pem` and `<name>-key.pem`: who signs."""
    files = ("-keyout", f"{name}-key.pem", "-out", f"{name}.pem")
    _openssl(folder, "req", "-x509", *_KEY, *files, "-subj", f"/CN={name}", "-days", "2")


def make_certificate(folder: Path, name: str, days: int = 2, authority: str = "ca") -> None:
    """Write `<name>.pem` and `<name>-key.pem`, good for `days` from now; -1: run out."""
    request = ("-keyout", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", "/CN=127.0.0.1")
    _openssl(folder, "req", *_KEY, *request)
    (folder / "names.cnf").write_text("subjectAltName=IP:127.0.0.1\n")
    by = (
        "-extfile",
        "names.cnf",
        "-CA",
        f"{authority}.pem",
        "-CAkey",
        f"{authority}-key.pem",
        "-CAcreateserial",
    )
    signed = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-days", str(days))
    _openssl(folder, "x509", "-req", *signed, *by)


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
