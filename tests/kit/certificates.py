"""Certificates for tests, made with openssl: an authority, and names that it certifies."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path
from typing import NamedTuple

import pytest
from kit.process import run_command

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


class Certified(NamedTuple):
    """A certificate and its key, files in PEM, and that of its authority."""

    certificate: Path
    key: Path
    authority: Path

    def client(self) -> ssl.SSLContext:
        """The context of a client that shows the certificate."""
        context = self.stranger()
        context.load_cert_chain(self.certificate, self.key)
        return context

    def server(self) -> ssl.SSLContext:
        """The context of a server that shows the certificate, and wants one of its clients."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.authority))
        context.load_cert_chain(self.certificate, self.key)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def settings(self) -> dict[str, str]:
        """The settings of a client of ours that shows the certificate."""
        return {
            "tls_ca": str(self.authority),
            "tls_cert": str(self.certificate),
            "tls_key": str(self.key),
        }

    def stranger(self) -> ssl.SSLContext:
        """The context of a client that shows none."""
        return ssl.create_default_context(cafile=str(self.authority))


class Authority:
    """Certifies names.

    Args:
        folder: where its files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate, self._key = folder / "ca.pem", folder / "ca.key"
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
            "-subj", "/CN=tests", "-keyout", self._key, "-out", self.certificate,
            "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def certify(self, name: str, *alternatives: str) -> Certified:
        """Certifies a common name, and names in subjectAltName."""
        certificate, key, request = (self._folder / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
        extensions = self._folder / f"{name}.ext"
        names = ",".join(f"DNS:{each}" for each in alternatives)
        extensions.write_text(f"subjectAltName={names}\n" if names else "basicConstraints=CA:FALSE\n")
        self._openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request,
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
            "-days", 2, "-extfile", extensions, "-out", certificate,
        )  # fmt: skip
        return Certified(certificate, key, self.certificate)

    def _openssl(self, *arguments: object) -> None:
        done = run_command("openssl", *arguments)
        assert done.status == 0, done.err
