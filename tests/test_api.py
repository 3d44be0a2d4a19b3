"""What users call by name: the module functions, `configure`, and all public names."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
import threading

import pytest
from kit.disc import answer_all
from kit.sip import RIGHT, build_request

import auth_diameter as ad
from auth_diameter.standard import StandardConfig
from auth_diameter.store.config import StoreConfig
from auth_diameter.verifier.config import VerifierConfig


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch):
    """Each test begins as a fresh process does, and leaves no connection open."""
    monkeypatch.setattr(ad, "_default", None)
    yield
    if ad._default is not None:
        ad._default.close()


# ------------------------------------------------------------------ the module functions


def test_the_functions_after_configure(fake_disc):
    ad.configure(**fake_disc().settings)
    decision = ad.diameter_www_authorize(build_request(), "$fd")
    assert (decision.status, decision.return_code) == (401, -5)
    decision = ad.diameter_proxy_authorize(build_request(), "$fd")
    assert (decision.status, decision.return_code) == (407, -5)
    request = ad.SipRequest(RIGHT, source=("192.0.2.1", 5060))
    assert ad.diameter_is_user_in(request, "Credentials", "voicemail").return_code == -4
    assert ad.diameter_www_authorize(request, "")
    assert ad.diameter_is_user_in(request, "Credentials", "voicemail")


def test_without_configure_the_defaults_hold(monkeypatch):
    seen = []

    class Recorder(ad.AuthDiameter):
        def __init__(self, config):
            seen.append(config)
            super().__init__(config)

    monkeypatch.setattr(ad, "AuthDiameter", Recorder)
    assert ad.diameter_www_authorize(build_request("ACK"), "$fd")
    assert ad.diameter_proxy_authorize(build_request("ACK"), "$fd")
    assert seen == [ad.Config()]


def test_a_second_configure_replaces_the_first(fake_disc):
    first, second = fake_disc(), fake_disc()
    ad.configure(**first.settings)
    assert ad.diameter_www_authorize(RIGHT, "$fd")
    old = ad._default
    ad.configure(**second.settings)
    assert ad.diameter_www_authorize(RIGHT, "$fd")
    assert (len(first.questions), len(second.questions)) == (1, 1)
    assert old._transport.pool.connections == []


def test_configure_while_other_threads_ask(fake_disc):
    """They get a decision, from the old one or the new one, and never an exception."""
    disc = fake_disc()
    ad.configure(**disc.settings)
    failures = []
    stop = threading.Event()

    def work():
        while not stop.is_set():
            try:
                ad.diameter_www_authorize(RIGHT, "$fd")
            except ad.Error as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        ad.configure(**disc.settings)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_client_that_was_closed_by_hand_is_the_callers_mistake(fake_disc):
    ad.configure(**fake_disc().settings)
    ad._default.close()
    with pytest.raises(ad.DiscError, match="closed"):
        ad.diameter_www_authorize(RIGHT, "$fd")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"diameter_client_prot": 3000}, "diameter_client_prot"),
        ({"diameter_client_port": "3000"}, "diameter_client_port"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_settings_that_cannot_be_used_leave_the_old_ones(settings, named, fake_disc):
    ad.configure(**fake_disc(answer_all).settings)
    with pytest.raises(ad.ConfigError, match=named):
        ad.configure(**settings)
    assert ad.diameter_www_authorize(RIGHT, "$fd")


# ------------------------------------------------------------------ the public names


def test_all_names_are_there_and_described():
    for name in ad.__all__:
        value = getattr(ad, name)
        assert inspect.getdoc(value), f"{name} has no docstring"
    assert sorted(ad.__all__) == ad.__all__


@pytest.mark.parametrize("client", [ad.AuthDiameter, ad.AsyncAuthDiameter])
@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        ("diameter_www_authorize", ["request", "realm"]),
        ("diameter_proxy_authorize", ["request", "realm"]),
        ("diameter_is_user_in", ["request", "who", "group"]),
    ],
)
def test_the_three_functions_have_the_same_parameters_everywhere(client, function, parameters):
    assert list(inspect.signature(getattr(ad, function)).parameters) == parameters
    assert list(inspect.signature(getattr(client, function)).parameters) == ["self", *parameters]


def test_errors_tell_who_is_at_fault():
    for error in (ad.ConfigError, ad.ParseError, ad.DiscError):
        assert issubclass(error, ad.Error)
    assert not issubclass(ad.ParseError, ad.ConfigError)
    with pytest.raises(ad.ParseError) as caught:
        ad.SipRequest(b"nonsense")
    assert isinstance(caught.value.offset, int)


def test_a_sip_request():
    request = ad.SipRequest(RIGHT, source=("192.0.2.1", 5060))
    assert request.method == "INVITE"
    assert request.request_uri == "sip:bob@siphub.net"
    assert request.from_uri == "sip:alice@siphub.net"
    assert request.to_uri == "sip:bob@siphub.net"
    assert request.call_id == "c1@127.0.0.1"
    assert request.cseq == 7
    assert request.header("via") == request.headers("v")[0]
    assert request.body == b""
    assert request.credentials("siphub.net").username == "alice"
    assert request.credentials("siphub.net", proxy=True) is None
    assert request.credentials("other.example") is None
    assert request.reply(200, "OK", [("X-A", "b")]).startswith(b"SIP/2.0 200 OK\r\n")


def test_credentials_and_their_check():
    ha1 = ad.ha1("alice", "siphub.net", "wonderland")
    response = ad.digest_response(
        ha1, "REGISTER", "sip:siphub.net", "n1", qop="auth", nc="00000001", cnonce="c1"
    )
    credentials = ad.Credentials.parse(
        f'Digest username="alice", realm="siphub.net", nonce="n1", uri="sip:siphub.net", '
        f'response="{response}", qop=auth, nc=00000001, cnonce="c1", algorithm=MD5, opaque="o"'
    )
    names = ("username", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "nc", "qop", "opaque")
    assert [getattr(credentials, name) for name in names] == [
        *("alice", "siphub.net", "n1", "sip:siphub.net", response),
        *("MD5", "c1", "00000001", "auth", "o"),
    ]
    assert ad.verify(credentials, "REGISTER", ha1) is True
    assert ad.verify(credentials, "INVITE", ha1) is False
    assert ad.verify_many([(credentials, "REGISTER", ha1), (credentials, "X", ha1)]) == bytearray(b"\1\0")
    for secret in (response, "n1", ha1):
        assert secret not in repr(credentials)


def test_the_general_diameter_codec():
    message = ad.Message(257, [ad.Avp(264, b"disc.example")], hop_by_hop=7)
    assert ad.Message.decode(message.encode()) == message
    assert "Origin-Host" in repr(message)


def test_a_decision(fake_disc):
    ad.configure(**fake_disc().settings)
    decision = ad.diameter_www_authorize(RIGHT, "$fd")
    assert bool(decision) is decision.authorized is True
    assert isinstance(decision.cause, ad.Cause)
    assert (decision.username, decision.realm) == ("alice", "siphub.net")
    assert (decision.status, decision.reply, list(decision.headers)) == (None, None, [])
    assert "5f3c9a1d" not in repr(decision)
    refused = ad.diameter_www_authorize(build_request(), "$fd")
    assert bool(refused) is refused.authorized is False
    assert isinstance(refused.reply, bytes)
    assert [name for name, _ in refused.headers] == ["WWW-Authenticate"]


def test_every_setting_is_explained():
    source = "".join(map(inspect.getsource, (ad.Config, StandardConfig, StoreConfig, VerifierConfig)))
    for field in dataclasses.fields(ad.Config):
        declaration = source.index(f"    {field.name}: ")
        following = source[declaration:].split("\n", 2)[1]
        assert following.strip().startswith('"""'), f"{field.name} is not explained"


def test_the_library_needs_nothing_but_itself():
    """No run-time dependency: what it imports is the standard library's."""
    script = (
        "import sys; before = set(sys.modules); import auth_diameter\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - set(sys.stdlib_module_names) - {'auth_diameter'}))"
    )
    result = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    own = [name for name in result.stdout.split() if "cython" in name]  # what Cython adds, no module of its
    assert result.stdout.split() == own


def test_dir_lists_the_public_names_alone():
    assert dir(ad) == sorted(ad.__all__)
    assert all(getattr(ad, name) is not None for name in dir(ad))
