"""The settings for standard Diameter: their defaults, and a ConfigError that names what cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit.certificates import Authority, needs_openssl
from kit.process import run_command

from auth_diameter import AsyncAuthDiameter, AuthDiameter, Config, ConfigError
from auth_diameter.diameter.speaking import tls_of

SIP = {"application": "sip", "origin_host": "sip1.example.net"}


@pytest.mark.parametrize(
    ("settings", "port"),
    [
        ({}, 3868),
        ({"tls_ca": "ca.pem"}, 5868),
        ({"diameter_client_host": "aaa.example.net:4000"}, 4000),
        ({"diameter_client_port": 4000}, 4000),
    ],
)
def test_port(settings: dict[str, Any], port: int) -> None:
    """RFC 6733, 2.1, and erratum 3997."""
    [(_, found)] = Config(**SIP | settings).addresses()
    assert found == port


def test_the_realm_is_that_of_the_host() -> None:
    assert Config(**SIP).origin_realm == "example.net"
    assert Config(**SIP, origin_realm="other.net").origin_realm == "other.net"


def test_an_hss_is_a_database() -> None:
    by_url = Config(db="cx://hss.example.net/example.net", origin_host="sip1.example.net")
    assert (by_url.application, by_url.database) == ("cx", "cx://hss.example.net/example.net")
    by_host = Config(**SIP | {"application": "cx"}, diameter_client_host="hss.example.net")
    assert by_host.database == "cx://hss.example.net:3868"
    assert Config(**SIP).database is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"application": "cx"}, "origin_host: "),
        ({"application": "sip"}, "origin_host: "),
        ({"application": "radius"}, "application: expected disc, sip, cx"),
        ({"origin_host": "sip1.example.net"}, 'origin_host: needs application "sip" or "cx"'),
        ({"watchdog": 10.0}, 'watchdog: needs application "sip" or "cx"'),
        (SIP | {"origin_host": "sip1"}, "origin_host: "),
        (SIP | {"origin_host": "sip1 example"}, "origin_host: expected a name"),
        (SIP | {"destination_realm": ""}, "destination_realm: expected a name"),
        (SIP | {"watchdog": 5.9}, "watchdog: expected seconds from 6 to 3600"),
        (SIP | {"delegation_lifetime": 0}, "delegation_lifetime: "),
        (SIP | {"plain_ha1": 1}, "plain_ha1: "),
        (SIP | {"server_uri": "sip:a\r\nb"}, "server_uri: "),
        (SIP | {"tls_cert": "own.pem"}, "tls_ca: is missing"),
        (SIP | {"tls_ca": "ca.pem", "tls_key": "own.key"}, "tls_cert: is missing"),
        (SIP | {"db": "users.sqlite"}, "application: "),
        (SIP | {"nonce_key": b"0" * 16}, "nonce_key: "),
        ({"db": "cx://hss.example.net"}, "origin_host: "),
    ],
)
def test_what_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config(**settings)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("kind", [AuthDiameter, AsyncAuthDiameter])
def test_a_file_of_tls_that_cannot_be_used(kind: Any, tmp_path: Any) -> None:
    """It is said when the client is made, and not in the thread that connects."""
    with pytest.raises(ConfigError, match=r"^tls_ca: .*none.pem: No such file or directory$"):
        kind(Config(**SIP, tls_ca=str(tmp_path / "none.pem")))
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"^tls_ca: .*wrong.pem: is no PEM file of its kind"):
        kind(Config(**SIP, tls_ca=str(wrong)))


@needs_openssl
def test_a_key_with_a_password_cannot_be_used(tmp_path: Path) -> None:
    """OpenSSL would ask for it on the terminal, and a daemon would wait there for ever."""
    certified = Authority(tmp_path).certify("sip.example.net")
    locked = tmp_path / "locked.key"
    done = run_command(
        "openssl", "pkey", "-in", certified.key, "-aes256", "-passout", "pass:secret", "-out", locked
    )
    assert done.status == 0, done.err
    files = certified.settings() | {"tls_key": str(locked)}
    with pytest.raises(ConfigError, match=r"^tls_key: .*locked.key: has a password; it must have none$"):
        tls_of(Config(**SIP, **files))
    both = tmp_path / "both.pem"
    both.write_bytes(certified.certificate.read_bytes() + locked.read_bytes())
    with pytest.raises(ConfigError, match=r"^tls_cert: .*both.pem: has a password; it must have none$"):
        tls_of(Config(**SIP, tls_ca=files["tls_ca"], tls_cert=str(both)))


def test_groups_are_not_in_standard_diameter() -> None:
    with AuthDiameter(Config(**SIP)) as auth, pytest.raises(ConfigError, match="has no groups"):
        auth.diameter_is_user_in(b"", "From", "voicemail")
