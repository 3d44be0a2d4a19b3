"""Whom a certificate is for: the names in it, and the name that a peer must prove.

A peer shows a certificate that an authority vouches for (RFC 6733, 13.1). The peer's Origin-Host must be in
it. So must the host name under which the peer is configured, or by which a redirect calls it: otherwise any
server that the same authority certifies could take the place of the one that is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def names_in(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """The names that a certificate is for, in lower case.

    Those of its subjectAltName count; its common name counts if there are none (RFC 6125, 6.4.4).

    Args:
        certificate: as `ssl.SSLSocket.getpeercert` returns it; None: there is none.
    """
    if not certificate:
        return frozenset()
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    if not names:
        names = [
            value for rdn in certificate.get("subject", ()) for name, value in rdn if name == "commonName"
        ]
    return frozenset(name.lower() for name in names)


def name_to_prove(host: str) -> str | None:
    """The name that must be in the certificate of a peer at `host`, in lower case.

    None: `host` is an address, or a name without a dot, such as ``localhost``, which no authority certifies.
    """
    name = host.lower().removesuffix(".")
    is_address = ":" in name or name.rpartition(".")[2].isdecimal()
    return name if "." in name and not is_address else None
