"""An HSS over TLS, which comes before the first message (RFC 6733, 13.1)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.certificates import Authority, needs_openssl
from kit.hss import NODE, Hss, running

import auth_diameter as ad
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.opening import open_store
from auth_diameter.store.store import StoreError, User
from auth_diameter.store.url import database_name

pytestmark = needs_openssl

REALM = "siphub.net"
USERS = [f"user{number}" for number in range(20)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def hss(authority: Authority, request: pytest.FixtureRequest) -> Iterator[Hss]:
    name = getattr(request, "param", NODE.host)
    with running(Hss, authority.certify(name, name).server()) as found:
        found.passwords.update({(user, REALM): "secret" for user in USERS})
        yield found


def ha1_of_all(hss: Hss, host: str = "127.0.0.1", **settings: str | Path) -> list[str]:
    """HA1 of all users, each asked for when the one before is known."""

    async def work() -> list[str]:
        url = database_name(f"cx://{host}:{hss.port}/{REALM}")
        config = ad.Config(application="sip", origin_host="scscf.c.test", **settings)
        store = await open_store(url, StoreConfig(), config)
        try:
            keys = [User(user, REALM, "MD5") for user in USERS]
            return [(await store.fetch([key]))[key].ha1s for key in keys]
        finally:
            store.close()
            await store.leaving

    return asyncio.run(work())


def test_questions_one_after_the_other(
    hss: Hss, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is held up, whenever TLS has nothing more to send."""
    found = ha1_of_all(hss, **authority.certify("scscf.c.test", "scscf.c.test").settings())
    assert found == [ad.ha1(user, REALM, "secret") for user in USERS]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("hss", ["other.h.test"], indirect=True)
def test_an_hss_with_the_certificate_of_another(
    hss: Hss, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoreError, match="no HSS can be reached"):
        ha1_of_all(hss, **authority.certify("scscf.c.test", "scscf.c.test").settings())
    assert "it says that it is hss.h.test, which its certificate does not" in caplog.text


@pytest.mark.parametrize("host", [NODE.host, "primary.h.test"])
def test_an_hss_that_is_dialled_by_a_name(
    hss: Hss,
    authority: Authority,
    host: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its certificate must be for that name, whatever the HSS says it is."""
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *more, **how: look_up("127.0.0.1", *more, **how))
    settings = authority.certify("scscf.c.test", "scscf.c.test").settings()
    if host == NODE.host:
        assert len(ha1_of_all(hss, host, **settings)) == len(USERS)
        return
    with pytest.raises(StoreError, match="no HSS can be reached"):
        ha1_of_all(hss, host, **settings)
    assert "is down: its certificate is not for primary.h.test" in caplog.text
    assert hss.base == []


def test_a_client_without_a_certificate(
    hss: Hss, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoreError, match="no HSS can be reached"):
        ha1_of_all(hss, tls_ca=str(authority.certificate))
    assert "is down: " in caplog.text
