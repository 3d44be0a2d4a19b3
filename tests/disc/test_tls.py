"""TLS for standard Diameter: both sides show certificates, before the CER; and what the files may hold."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl

import pytest
from kit.certificates import Authority, Certified
from kit.machine import PATIENCE
from kit.mar import REALM, RawPeer, mar, result_of

from auth_diameter import ConfigError
from auth_diameter.diameter.base import SUCCESS, answer
from auth_diameter.disc.admission import ConnectionEvent
from auth_diameter.disc.config import DiameterConfig, ListenerConfig
from auth_diameter.disc.diameter import listen
from auth_diameter.disc.tls import server_context
from auth_diameter.disc.turns import Turns

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def disc_files(authority):
    return authority.certify("localhost", "localhost")


@pytest.fixture(scope="module")
def sip_server(authority):
    return authority.certify("sip.example.net", "SIP.example.net", "spare.example.net")


@pytest.fixture
def run(on_loop, disc, disc_files):
    """Runs `scenario(listener)` against a DISC of standard Diameter with TLS on a free port."""

    def play(scenario, **limits):
        async def whole():
            tls = server_context(*map(str, disc_files))
            config = DiameterConfig(origin_host="disc.siphub.net", origin_realm=REALM)
            listener = await listen(Turns(disc), "127.0.0.1", 0, config, ListenerConfig(**limits), tls)
            try:
                return await scenario(listener)
            finally:
                await asyncio.wait_for(listener.aclose(), PATIENCE)

        return on_loop(whole())

    return play


def test_a_peer_with_a_certificate(run, sip_server, caplog):
    """Its Origin-Host is in subjectAltName, whatever the case; the end is as without TLS."""
    caplog.set_level(logging.INFO)

    async def scenario(listener):
        peer = await RawPeer.open(listener.address, tls=sip_server.client())
        maa = await peer.ask(mar())
        ending = asyncio.create_task(listener.aclose())
        dpr = await peer.receive()
        peer.send(answer(peer.node, dpr, SUCCESS))
        await peer.ended()
        await ending
        return maa

    assert result_of(run(scenario)) == 1001
    assert "is disconnected: as agreed" in caplog.text


@pytest.mark.parametrize("host", ["other.example.net", "example.net", "x.sip.example.net"])
def test_a_certificate_for_another_name(run, sip_server, host):
    """RFC 6733, 2.9 and 13: the identity in the CER is that of the certificate."""

    async def scenario(listener):
        peer = await RawPeer.connect(listener.address, host, tls=sip_server.client())
        cea = await peer.ask(peer.cer())
        await peer.ended()
        return cea

    assert result_of(run(scenario)) == 3010


def test_the_common_name_counts_without_other_names(run, authority):
    only_common = authority.certify("old.example.net")

    async def scenario(listener):
        peer = await RawPeer.open(listener.address, "old.example.net", tls=only_common.client())
        maa = await peer.ask(mar())
        await peer.close()
        return maa

    assert result_of(run(scenario)) == 1001


async def is_let_in(listener, tls):
    """Whether a peer gets as far as a CEA."""
    try:
        peer = await RawPeer.connect(listener.address, tls=tls)
    except OSError:
        return False
    try:
        await peer.ask(peer.cer())
    except (OSError, AssertionError):
        return False
    finally:
        await peer.close()
    return True


def test_without_a_certificate_of_the_authority(run, sip_server, tmp_path, caplog):
    """None, or one of another authority: the handshake fails, and the log says so once a second."""
    other = Authority(tmp_path).certify("sip.example.net")
    forged = ssl.create_default_context(cafile=str(sip_server.authority))
    forged.load_cert_chain(other.certificate, other.key)

    async def scenario(listener):
        found = [await is_let_in(listener, tls) for tls in (sip_server.stranger(), forged, None)]
        found.append(await is_let_in(listener, sip_server.client()))
        return found, listener.counts

    found, counts = run(scenario)
    assert found == [False, False, False, True]
    assert counts[ConnectionEvent.NO_TLS] == 3
    assert sum("closed the connection" in record.getMessage() for record in caplog.records) == 1


def test_a_handshake_has_to_end_in_time(run):
    async def scenario(listener):
        _, writer = await asyncio.open_connection(*listener.address)
        async with asyncio.timeout(PATIENCE):
            while listener.open or not listener.counts[ConnectionEvent.NO_TLS]:
                await asyncio.sleep(0.01)
        writer.close()

    run(scenario, max_question_time=0.1)


def test_disc_stops_in_the_middle_of_a_handshake(run):
    async def scenario(listener):
        _, writer = await asyncio.open_connection(*listener.address)
        while not listener.open:
            await asyncio.sleep(0)
        await asyncio.wait_for(listener.aclose(), PATIENCE)
        writer.close()
        return listener.open

    assert run(scenario) == 0


# -- files ------------------------------------------------------------------------------------------


def files_with(files: Certified, **changed: object) -> list[str]:
    return [str(each) for each in files._replace(**changed)]


def test_files_that_cannot_be_used(disc_files, sip_server, tmp_path):
    """Each message names the option, and the file."""
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for changed, message in (
        ({"certificate": "/nowhere"}, "--tls-cert /nowhere: No such file or directory"),
        ({"key": "/nowhere"}, "--tls-key /nowhere: No such file"),
        ({"authority": "/nowhere"}, "--tls-ca /nowhere: No such file"),
        ({"authority": tmp_path}, "--tls-ca .*: Is a directory"),
        ({"authority": empty}, "--tls-ca .*: holds no certificate in PEM"),
        ({"certificate": empty}, "--tls-cert .*: no certificate and key in PEM"),
        ({"key": empty}, "--tls-key .*: no certificate and key in PEM"),
        ({"key": sip_server.key}, "--tls-key .*: is not the key of .*localhost.pem"),
        ({"key": "\0"}, "--tls-key"),
    ):
        with pytest.raises(ConfigError, match=message):
            server_context(*files_with(disc_files, **changed))
