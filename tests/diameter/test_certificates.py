"""Whom a certificate is for: RFC 6125, 6.4.4, and RFC 6733, 13.1."""

from __future__ import annotations

import pytest

from auth_diameter.diameter.certificates import name_to_prove, names_in


def test_the_names_in_a_certificate() -> None:
    """Of subjectAltName those of the DNS alone."""
    subject = ((("commonName", "Common"),), (("organizationName", "x"),))
    assert names_in({"subject": subject}) == {"common"}
    assert names_in({"subject": subject, "subjectAltName": (("DNS", "A.b"), ("URI", "c"))}) == {"a.b"}
    assert names_in({}) == names_in(None) == frozenset()


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("hss.example.net", "hss.example.net"),
        ("HSS.Example.Net.", "hss.example.net"),
        ("10.0.0.1", None),
        ("::1", None),
        ("::ffff:10.0.0.1", None),
        ("localhost", None),
        ("hss.", None),
    ],
)
def test_the_name_that_a_peer_must_prove(host: str, name: str | None) -> None:
    """That of the DNS by which it is dialled; an address proves nothing."""
    assert name_to_prove(host) == name
