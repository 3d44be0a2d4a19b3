"""Certificates for tests, made with openssl: one authority, and one certificate for each name."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificate(NamedTuple):
    """A certificate and its key, as files in PEM."""

    file: Path
    key: Path


class Authority:
    """An authority that certifies whom a test wants.

    Args:
        folder: where the files are.

    Attributes:
        file: its own certificate, in PEM.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file, self._key = folder / "authority.pem", folder / "authority.key"
        _openssl("req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.file, "-subj", "/CN=Authority")

    def certify(self, name: str) -> Certificate:
        """A new certificate for a name of the DNS."""
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        asked = self._folder / f"{name}.csr"
        _openssl(
            *("req", *_NEW_KEY, "-keyout", made.key, "-out", asked),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
        )
        _openssl(
            *("x509", "-req", "-in", asked, "-out", made.file, "-copy_extensions", "copy"),
            *("-CA", self.file, "-CAkey", self._key, "-CAcreateserial"),
        )
        return made

    def settings(self, name: str) -> dict[str, Any]:
        """The settings of a client with a certificate for that name."""
        own = self.certify(name)
        return {"tls_ca": str(self.file), "tls_cert": str(own.file), "tls_key": str(own.key)}

    def server_context(self, name: str) -> ssl.SSLContext:
        """TLS of a server with a certificate for that name, which wants one of its clients."""
        own = self.certify(name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own.file, own.key)
        context.load_verify_locations(self.file)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def _openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
