"""MAR and MAA of RFC 4740 as a server reads and writes them: which MAR gets which MAA, and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.captures import captured
from kit.mar import (
    ALICE,
    ERROR,
    PROXIABLE,
    REALM,
    REQUEST,
    RETRANSMITTED,
    authenticate,
    credentials,
    digest_avps,
    item,
    mar,
    nonce_of,
    result_of,
)

from auth_diameter import Avp, Message
from auth_diameter._core import DiameterServer, DiameterStream, MarRequest, Received
from auth_diameter.diameter.base import avp_named, value_of
from auth_diameter.disc.server import Asker, Disc
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.config import VerifierConfig

NOW = 1_800_000_000.0
HOST = "disc.siphub.net"
BOB = ("bob", "builder")
OTHER = "other.example"  # a realm with no subscribers
SECOND = "second.example"  # another that has some
ASKER = Asker("sip.example.net", one_challenge=True)

Ask = Callable[..., Message]


@pytest.fixture
def settings() -> dict[str, Any]:
    """Of the verifier; a test with others parametrizes this."""
    return {}


@pytest.fixture
def disc(settings: dict[str, Any]) -> Iterator[Disc]:
    with Accounts.open(":memory:", writable=True) as store:
        store.add_user(ALICE[0], REALM, ALICE[1])
        store.add_user(BOB[0], REALM, BOB[1])
        store.add_user("carol", SECOND, "rosebud")
        yield Disc(SqliteStore(store.database), VerifierConfig(**settings))


@pytest.fixture
def ask(disc: Disc) -> Ask:
    """The MAA to a MAR."""

    def answer(
        data: bytes, *, stream: DiameterStream | None = None, now: float = NOW, **server: Any
    ) -> Message:
        stream = DiameterServer(HOST, REALM, **server).stream() if stream is None else stream
        (request,) = stream.feed(data)
        assert isinstance(request, MarRequest)
        out = bytearray()
        disc.answer([request], out, now, ASKER)
        return Message.decode(bytes(out))

    return answer


@pytest.fixture
def nonce(ask: Ask) -> str:
    return nonce_of(ask(mar()))


def tree(avps: Any) -> list[Any]:
    """The names of the AVPs in order, of a group as a pair with those in it."""
    return [(avp.name, tree(avp.value)) if isinstance(avp.value, tuple) else avp.name for avp in avps]


# -- the two rounds: RFC 4740, 6.2 ------------------------------------------------------------------


def test_a_challenge(ask: Ask) -> None:
    """8.8: Session-Id first, and the order of the grammar; 9.5.3: what SIP-Authenticate holds."""
    maa = ask(mar(User_Name="alice"))
    assert tree(maa.avps) == [
        "Session-Id", "Auth-Application-Id", "Result-Code", "Auth-Session-State", "Origin-Host",
        "Origin-Realm", "User-Name", "SIP-Number-Auth-Items",
        ("SIP-Auth-Data-Item", [
            "SIP-Authentication-Scheme",
            ("SIP-Authenticate", ["Digest-Realm", "Digest-Nonce", "Digest-Algorithm", "Digest-Qop"]),
        ]),
    ]  # fmt: skip
    assert result_of(maa) == 1001
    assert value_of(maa, "Session-Id") == "sip.example.net;1;2"
    assert (value_of(maa, "Origin-Host"), value_of(maa, "Origin-Realm")) == (HOST, REALM)
    challenge = authenticate(maa)
    assert len(challenge.pop("Digest-Nonce")) > 16
    assert challenge == {"Digest-Realm": REALM, "Digest-Algorithm": "MD5", "Digest-Qop": "auth"}


def test_every_avp_has_the_m_flag_and_none_the_v_flag(ask: Ask) -> None:
    """Table 3; Error-Message must not have it (RFC 6733, 4.5)."""

    def check(avps: Any) -> None:
        for avp in avps:
            assert avp.flags == (0 if avp.name == "Error-Message" else 0x40)
            if isinstance(avp.value, tuple):
                check(avp.value)

    check(ask(mar(User_Name="alice")).avps)
    check(ask(mar(SIP_Method=None)).avps)


def test_a_success(ask: Ask, nonce: str) -> None:
    maa = ask(mar(credentials(nonce), User_Name="alice"))
    assert tree(maa.avps) == [
        "Session-Id", "Auth-Application-Id", "Result-Code", "Auth-Session-State", "Origin-Host",
        "Origin-Realm", "User-Name",
    ]  # fmt: skip
    assert (result_of(maa), value_of(maa, "User-Name")) == (2001, "alice")


def test_the_header_of_a_maa(ask: Ask) -> None:
    """RFC 6733, 6.2: the identifiers and the P flag of the request, without R and T."""
    maa = ask(mar(flags=REQUEST | PROXIABLE | RETRANSMITTED, hop_by_hop=0xFFFFFFFF, end_to_end=0xFEDCBA98))
    assert (maa.command, maa.application_id, maa.flags) == (286, 6, PROXIABLE)
    assert (maa.hop_by_hop, maa.end_to_end) == (0xFFFFFFFF, 0xFEDCBA98)
    assert ask(mar(flags=REQUEST)).flags == 0


def test_without_a_server_uri_to_store(ask: Ask, nonce: str) -> None:
    """8.8 and figure 2: a proxy sends none, and the results have other codes."""
    assert result_of(ask(mar(SIP_Server_URI=None))) == 2008
    assert result_of(ask(mar(credentials(nonce), SIP_Server_URI=None))) == 2006


@pytest.mark.parametrize("settings", [{"authentication_info": True}])
def test_the_servers_own_proof(ask: Ask, nonce: str) -> None:
    """9.5.5: SIP-Authentication-Info; Digest-Nextnonce once half the lifetime of the nonce is over."""
    maa = ask(mar(credentials(nonce)))
    proof = ("SIP-Authentication-Info", ["Digest-Response-Auth"])
    assert tree(maa.avps)[-1] == ("SIP-Auth-Data-Item", ["SIP-Authentication-Scheme", proof])
    assert value_of(maa, "SIP-Number-Auth-Items") == 1
    late = ask(mar(credentials(nonce, count=2), end_to_end=10), now=NOW + 200)
    assert tree(late.avps)[-1][1][1] == (
        "SIP-Authentication-Info", ["Digest-Nextnonce", "Digest-Response-Auth"])  # fmt: skip


# -- refused ----------------------------------------------------------------------------------------


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(ask: Ask, nonce: str) -> None:
    """The text of RFC 4740 names no code for a wrong digest: 4001 of the base protocol."""
    wrong = ask(mar(credentials(nonce, ("alice", "guess"))))
    unknown = ask(mar(credentials(nonce, ("mallory", "guess"))))
    assert result_of(wrong) == result_of(unknown) == 4001
    assert tree(wrong.avps) == tree(unknown.avps)
    assert value_of(wrong, "SIP-Auth-Data-Item") is None
    assert value_of(wrong, "Error-Message") == value_of(unknown, "Error-Message")


def test_an_unknown_user_is_told_if_that_is_wanted(ask: Ask, nonce: str) -> None:
    """8.8: DIAMETER_ERROR_USER_UNKNOWN; that tells who exists."""
    unknown = mar(credentials(nonce, ("mallory", "guess")))
    assert result_of(ask(unknown, tells_unknown=True)) == 5032
    assert result_of(ask(mar(credentials(nonce, ("alice", "guess"))), tells_unknown=True)) == 4001


OWN = {
    "another user": ("bob", f"sip:alice@{REALM}"),
    "another host": ("alice", f"sip:alice@{SECOND}"),
    "no user": ("alice", f"sip:{REALM}"),
    "another case of the user": ("alice", f"sip:Alice@{REALM}"),
    "a telephone number": ("alice", "tel:+4930123"),
    "no URI": ("alice", f"alice@{REALM}"),
    "more behind it": ("alice", f"sip:alice@{REALM} x"),
}


@pytest.mark.parametrize("case", OWN)
def test_nobody_registers_the_address_of_another(ask: Ask, nonce: str, case: str) -> None:
    """8.8: DIAMETER_ERROR_IDENTITIES_DONT_MATCH; but a wrong password is no more than that."""
    name, address = OWN[case]
    user = (name, dict([ALICE, BOB])[name])
    asked = mar(credentials(nonce, user), SIP_AOR=address)
    assert result_of(ask(mar(credentials(nonce, (name, "guess")), SIP_AOR=address))) == 4001
    assert result_of(ask(asked)) == 5033
    assert result_of(ask(asked, own_addresses=False)) == 2001


@pytest.mark.parametrize(
    "address", [f"sip:alice@{REALM.upper()}", f"sips:alice@{REALM}:5061", f"sip:alice@{REALM};transport=tcp"]
)
def test_an_address_of_ones_own(ask: Ask, nonce: str, address: str) -> None:
    """RFC 3261, 19.1.4: a host is compared without case; the port and parameters are no part of the user."""
    assert result_of(ask(mar(credentials(nonce), SIP_AOR=address))) == 2001


def test_another_request_may_be_for_anybody(ask: Ask, nonce: str) -> None:
    """8.7: SIP-AOR of an INVITE is its target."""
    uri = "sip:bob@else.example"
    right = credentials(nonce, method="INVITE", uri=uri)
    assert result_of(ask(mar(right, SIP_Method="INVITE", SIP_AOR=uri, SIP_Server_URI=None))) == 2006


def test_the_digest_uri_is_compared_with_the_target(ask: Ask, nonce: str) -> None:
    """RFC 7616, 3.4.6. Of a REGISTER only the host is known, from SIP-AOR."""
    other = credentials(nonce, uri="sip:else.example")
    maa = ask(mar(other))
    assert result_of(maa) == 4001
    (failed,) = value_of(maa, "Failed-AVP")
    assert (failed.name, failed.data) == ("Digest-URI", b"sip:else.example")


def test_another_scheme(ask: Ask, nonce: str) -> None:
    """8.8: DIAMETER_ERROR_AUTH_SCHEME_NOT_SUPPORTED."""
    maa = ask(mar(item(digest_avps(nonce), scheme=1)))
    assert result_of(maa) == 5037
    assert tree(maa.avps)[-1] == ("Failed-AVP", ["SIP-Authentication-Scheme"])


# -- which realm ------------------------------------------------------------------------------------

CHALLENGED_IN = {
    "REGISTER: the host of SIP-AOR": ({"SIP_AOR": f"sip:carol@{SECOND}"}, SECOND),
    "REGISTER of a realm that is not served": ({"SIP_AOR": f"sip:carol@{OTHER}"}, REALM),
    "INVITE: Destination-Realm": ({"SIP_Method": "INVITE", "SIP_AOR": f"sip:carol@{SECOND}"}, REALM),
    "INVITE to the realm of the Diameter servers": (
        {"SIP_Method": "INVITE", "SIP_AOR": f"sip:carol@{SECOND}", "Destination_Realm": "core.example"},
        SECOND,
    ),
    "no URI": ({"SIP_AOR": "carol"}, REALM),
}  # fmt: skip


@pytest.mark.parametrize("case", CHALLENGED_IN)
def test_the_realm_of_a_challenge(ask: Ask, disc: Disc, case: str) -> None:
    """8.7: a caller is often in another realm than the target; who registers is in that of the address."""
    changed, realm = CHALLENGED_IN[case]
    stream = DiameterServer(HOST, "core.example").stream()
    assert authenticate(ask(mar(**changed), stream=stream))["Digest-Realm"] == realm


def test_credentials_that_answer_nothing_name_the_realm(ask: Ask) -> None:
    dummy = item(digest_avps("nonce", realm=SECOND, Digest_Response="none"))
    assert authenticate(ask(mar(dummy)))["Digest-Realm"] == SECOND


@pytest.mark.parametrize(
    "changed",
    [{"Destination_Realm": OTHER}, {"Destination_Realm": "core.example", "SIP_AOR": f"sip:carol@{OTHER}"}],
    ids=["the message is for it", "the user is of it"],
)
def test_a_realm_that_is_not_served(ask: Ask, changed: dict[str, str]) -> None:
    """RFC 6733, 7.1.3 and 7.2: 3003 has the E flag and the small grammar."""
    maa = ask(mar(User_Name="carol", **changed), stream=DiameterServer(HOST, "core.example").stream())
    assert (result_of(maa), maa.flags) == (3003, PROXIABLE | ERROR)
    assert tree(maa.avps) == ["Session-Id", "Result-Code", "Origin-Host", "Origin-Realm", "Error-Message"]


def test_a_message_for_another_server(ask: Ask) -> None:
    """RFC 6733, 6.1.4: Destination-Host, compared without case."""
    assert result_of(ask(mar(Destination_Host="else.siphub.net"))) == 3002
    assert result_of(ask(mar(Destination_Host=HOST.upper()))) == 1001


# -- nonces -----------------------------------------------------------------------------------------


def test_an_unknown_nonce_is_challenged_whatever_the_digest(ask: Ask) -> None:
    """Section 11: the Diameter server makes all nonces. One that is not ours is no guess either."""
    for password in ("wonderland", "guess"):
        maa = ask(mar(credentials("bm9uY2U", ("alice", password))))
        assert result_of(maa) == 1001
        assert authenticate(maa)["Digest-Stale"] == "true"


def test_an_expired_nonce(ask: Ask, nonce: str) -> None:
    """RFC 7616, 3.3: stale only with a right digest."""
    late = NOW + 400
    assert authenticate(ask(mar(credentials(nonce)), now=late))["Digest-Stale"] == "true"
    assert result_of(ask(mar(credentials(nonce, ("alice", "guess"))), now=late)) == 4001


def test_a_message_sent_again(ask: Ask, nonce: str) -> None:
    """RFC 6733, 3: End-to-End and Origin-Host are those of the first, also through another relay."""
    first = mar(credentials(nonce), avp_named("Route-Record", "relay-1.example.net"))
    again = mar(
        credentials(nonce),
        avp_named("Route-Record", "relay-2.example.net"),
        flags=REQUEST | PROXIABLE | RETRANSMITTED,
        hop_by_hop=99,
    )
    assert [result_of(ask(data)) for data in (first, again)] == [2001, 2001]


@pytest.mark.parametrize(
    "other",
    [{"end_to_end": 10}, {"Origin_Host": "other.example.net"}, {"Session_Id": "sip.example.net;1;3"}],
    ids=["End-to-End", "Origin-Host", "Session-Id"],
)
def test_a_replay_is_no_message_sent_again(ask: Ask, nonce: str, other: dict[str, Any]) -> None:
    """The T flag alone does not make it one."""
    assert result_of(ask(mar(credentials(nonce)))) == 2001
    maa = ask(mar(credentials(nonce), flags=REQUEST | RETRANSMITTED, **other))
    assert (result_of(maa), authenticate(maa)["Digest-Stale"]) == (1001, "true")


@pytest.mark.parametrize("settings", [{"algorithms": ("SHA-256", "MD5")}, {"algorithms": ("SHA-256",)}])
def test_there_is_one_challenge(ask: Ask, settings: dict[str, Any]) -> None:
    """9.5: one SIP-Authenticate at a time, with MD5 unless that is not configured."""
    assert authenticate(ask(mar()))["Digest-Algorithm"] == settings["algorithms"][-1]


# -- the forms of real peers ------------------------------------------------------------------------


def mars_of(capture: str) -> list[bytes]:
    found = [each.data for each in captured(capture) if each.message.command == 286]
    return [data for data in found if Message.decode(data).is_request]


def test_the_first_mar_of_freediameters_gateway_gets_a_challenge(ask: Ask, disc: Disc) -> None:
    """It has credentials that answer nothing: nonce "nonce", and the URI as the response."""
    first, second = mars_of("radclient_fd_radgw_app_sip")[:2]
    stream = DiameterServer("h.test", "h.test").stream()
    maa = ask(first.replace(b"h.test", b"r.test"), stream=DiameterServer("x.test", "r.test").stream())
    assert result_of(maa) == 3003  # no realm of the capture has subscribers here
    with Accounts.open(":memory:", writable=True) as store:
        store.add_user("alice", "h.test", "secret")
        own, out = Disc(SqliteStore(store.database)), bytearray()
        own.answer(stream.feed(first), out, NOW, ASKER)
        assert "Digest-Stale" not in authenticate(Message.decode(bytes(out)))
        # The second answers a nonce of app_sip, which is none of ours.
        own.answer(stream.feed(second), out := bytearray(), NOW, ASKER)
        assert authenticate(Message.decode(bytes(out)))["Digest-Stale"] == "true"


def test_erlangs_mar_without_m_flags(ask: Ask) -> None:
    """OTP's dictionary sets none on Digest AVPs."""
    for data in mars_of("erlang_vs_freediameter"):
        (request,) = DiameterServer("h.test", "h.test").stream().feed(data)
        assert (type(request), request.fault) == (MarRequest, 0)


def opensips(password: str = "wonderland", **changed: Any) -> bytes:
    """A MAR of OpenSIPS: the Digest AVPs lie in the message, and the nonce is its own (captures)."""
    return mar(
        *digest_avps("VG9pd3BPQ3Rjanc", ("alice", password)),
        Avp(44, b"0.8140629728807099", flags=0),
        SIP_AOR=f"alice@{REALM}",
        SIP_Method="opensips-auth",
        SIP_Server_URI="server",
        User_Name=f"alice@{REALM}",
        **changed,
    )


@pytest.mark.parametrize("takes_any", [False, True])
def test_the_nonce_of_opensips(ask: Ask, takes_any: bool) -> None:
    """It can use no challenge, and is refused instead. It knows refusals by their Error-Message."""
    stream = DiameterServer(HOST, REALM).stream()
    stream.takes_any_nonce = takes_any
    maa = ask(opensips(), stream=stream)
    assert result_of(maa) == (2001 if takes_any else 4001)
    assert (value_of(maa, "Error-Message") is None) == takes_any
    assert maa.find(44).data == b"0.8140629728807099"
    refused = ask(opensips("guess"), stream=stream)
    assert result_of(refused) == 4001
    assert value_of(refused, "Error-Message") is not None
    assert value_of(ask(opensips(Destination_Realm=OTHER), stream=stream), "Error-Message") is not None


def test_another_nonce_counts_only_where_the_avps_are_flat(ask: Ask) -> None:
    """RFC 4740, 11: whoever has SIP-Auth-Data-Item takes our nonces."""
    stream = DiameterServer(HOST, REALM).stream()
    stream.takes_any_nonce = True
    assert result_of(ask(mar(credentials("bm9uY2U")), stream=stream)) == 1001


def test_the_captured_mar_of_opensips_is_read(disc: Disc) -> None:
    (data,) = mars_of("opensips_auth_aaa_vs_pydiameter")[:1]
    (request,) = DiameterServer("server", "d.test").stream().feed(data)
    assert isinstance(request, Received)
    assert (request.fault, request.question.credentials.username) == (0, "alice")
    assert request.question.method == "REGISTER"  # Digest-Method, not SIP-Method (9.14)


# -- malformed --------------------------------------------------------------------------------------

MISSING = (
    "Session-Id", "Auth-Application-Id", "Auth-Session-State", "Origin-Host", "Origin-Realm",
    "Destination-Realm", "SIP-AOR", "SIP-Method",
)  # fmt: skip


@pytest.mark.parametrize("name", MISSING)
def test_an_avp_is_missing(ask: Ask, name: str) -> None:
    """RFC 6733, 7.1.5: DIAMETER_MISSING_AVP, with an example of it in Failed-AVP."""
    maa = ask(mar(**{name.replace("-", "_"): None}))
    assert (result_of(maa), maa.flags) == (5005, PROXIABLE)
    (failed,) = maa.find(279).avps
    assert failed.name == name
    of_32_bits = name in ("Auth-Application-Id", "Auth-Session-State")
    assert failed.data == (bytes(4) if of_32_bits else b"")  # of the least length, with zeros
    assert value_of(maa, "Error-Message") is not None


def test_a_username_that_is_no_text_does_not_go_back(ask: Ask, nonce: str) -> None:
    """A telephone chooses it, and there are agents that end at the sight of it."""
    maa = ask(mar(credentials(nonce, ("\x01\xff", "guess"), Digest_Username=b"\x01\xff"), User_Name=None))
    assert result_of(maa) == 4001
    assert b"\x01\xff" not in maa.encode()


@pytest.mark.parametrize("name", ["Digest-Username", "Digest-Realm", "Digest-URI"])
def test_a_parameter_is_missing(ask: Ask, nonce: str, name: str) -> None:
    maa = ask(mar(credentials(nonce, **{name.replace("-", "_"): None})))
    assert result_of(maa) == 5005
    assert maa.find(279).avps[0].name == name


WRONG = {
    "Session-Id twice": (mar(avp_named("Session-Id", "a;1;2")), 5009),
    "SIP-AOR twice": (mar(avp_named("SIP-AOR", "sip:a@b")), 5009),
    "two items": (mar(credentials("n"), credentials("n")), 5009),
    "an unknown AVP with the M flag": (mar(Avp(65000, b"x")), 5001),
    "one of an unknown vendor": (mar(Avp(1, b"x", vendor_id=65000)), 5001),
    "one in the item": (mar(item([*digest_avps("n"), Avp(65000, b"x")])), 5001),
    "a nonce count of seven digits": (mar(credentials("n", Digest_Nonce_Count="0000001")), 5004),
    "qop without a nonce count": (mar(credentials("n", Digest_Nonce_Count=None)), 5004),
    "a response too short for the algorithm": (mar(credentials("n", Digest_Algorithm="SHA-256")), 5004),
    "a parameter of 1025 bytes": (mar(credentials("n" * 1025)), 5004),
    "User-Name of another": (mar(credentials("n"), User_Name="bob"), 5004),
    "User-Name in another realm": (mar(credentials("n"), User_Name=f"alice@{OTHER}"), 5004),
    "the E flag": (mar(flags=REQUEST | ERROR), 3008),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_malformed_mar(ask: Ask, case: str) -> None:
    """RFC 6733, 7.1.3 and 7.1.5."""
    data, result = WRONG[case]
    maa = ask(data)
    assert result_of(maa) == result
    assert (maa.find(279) is not None) == (result // 1000 == 5)


def test_a_length_beyond_the_end(ask: Ask) -> None:
    """RFC 6733, 7.1.5: DIAMETER_INVALID_AVP_LENGTH; Failed-AVP has what is left of it."""
    data = bytearray(mar(Avp(25, b"abcd", flags=0)))
    data[-5] = 0xFF
    maa = ask(bytes(data))
    assert result_of(maa) == 5014


def test_an_unknown_avp_without_the_m_flag_is_passed_over(ask: Ask) -> None:
    assert result_of(ask(mar(Avp(65000, b"x", flags=0), Avp(1, b"x", flags=0, vendor_id=9)))) == 1001


GARBAGE = (b"\xff\xfe", b"a\x00b", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"a\x7f")


@pytest.mark.parametrize("name", ["Session-Id", "User-Name", "SIP-AOR"])
@pytest.mark.parametrize("garbage", GARBAGE)
def test_bytes_that_are_no_text_do_not_go_back(ask: Ask, name: str, garbage: bytes) -> None:
    """UTF8String (RFC 6733, 4.3.1). freeDiameter 1.6 ends at the sight of such a Session-Id."""
    maa = ask(mar(**{name.replace("-", "_"): garbage}))
    assert result_of(maa) == 5004
    assert garbage not in maa.encode()
    (failed,) = maa.find(279).avps
    assert (failed.name, failed.data) == (name, b"")


@pytest.mark.parametrize("text", ["ä;1;2", "\u20ac;1;2", "\U0001f600;1;2", "\ud7ff;1", "\ue000;1"])
def test_a_session_id_in_utf8(ask: Ask, text: str) -> None:
    assert value_of(ask(mar(Session_Id=text)), "Session-Id") == text


def test_proxy_info_goes_back_as_it_came(ask: Ask) -> None:
    """RFC 6733, 6.7.2: in order, in answers of every kind."""
    infos = [
        Avp(
            284,
            [
                avp_named("Proxy-Host", f"relay-{number}.example"),
                avp_named("Proxy-State", bytes([number, 255])),
            ],
        )
        for number in (2, 1)
    ]
    for changed in ({}, {"SIP_Method": None}, {"Destination_Realm": OTHER}):
        assert (
            ask(mar(infos[0], avp_named("Route-Record", "r.example"), infos[1], **changed)).find_all(284)
            == infos
        )


@pytest.mark.parametrize("settings", [{"authentication_info": True}])
def test_no_mar_makes_an_answer_larger_than_its_room(ask: Ask, disc: Disc, nonce: str) -> None:
    """Whatever is copied from the request, and however long: the answer ends where its header says."""
    for size in (0, 1, 2, 3, 900):
        text = "x" * size
        for data in (
            mar(credentials(nonce, count=size + 1), Session_Id=text, end_to_end=size),
            mar(User_Name=text, Session_Id=text),
            mar(credentials("n", ("y" * size, "p"))),
            mar(Avp(65000, text)),
            mar(Avp(44, text, flags=0), Destination_Realm=OTHER),
        ):
            maa = ask(data)
            assert Message.decode(maa.encode()) == maa


# -- the stream -------------------------------------------------------------------------------------


def test_the_stream_of_a_peer() -> None:
    """MAR of application 6 are made objects; whatever else comes is left as bytes, in order."""
    others = [
        Message(280, ()).encode(),
        Message(286, (), application_id=6, flags=0).encode(),
        Message(286, (), application_id=7).encode(),
        Message(285, (), application_id=6).encode(),
    ]
    stream = DiameterServer(HOST, REALM).stream()
    data = others[0] + mar() + others[1] + others[2] + mar() + others[3]
    found = [one for at in range(0, len(data), 7) for one in stream.feed(data[at : at + 7])]
    assert [type(one) for one in found] == [bytes, MarRequest, bytes, bytes, MarRequest, bytes]
    assert [one for one in found if isinstance(one, bytes)] == others
    assert stream.fault is None


def test_a_stream_ends_with_its_framing() -> None:
    stream = DiameterServer(HOST, REALM).stream(limit=4096)
    assert len(stream.feed(mar() + b"\x02" + bytes(19))) == 1
    assert stream.fault is not None
    assert stream.feed(mar()) == []
    large = DiameterServer(HOST, REALM).stream(limit=64)
    assert large.feed(mar()) == []
    assert large.fault is not None


def test_what_nobody_makes_by_hand() -> None:
    for kind in (MarRequest, DiameterStream, Received):
        with pytest.raises(TypeError):
            kind()
    with pytest.raises(TypeError):
        DiameterStream.__new__(DiameterStream).feed(mar())


def test_results_are_counted(disc: Disc) -> None:
    server = DiameterServer(HOST, REALM)
    stream = server.stream()
    disc.answer(stream.feed(mar() + mar() + mar(Destination_Realm=OTHER)), bytearray(), NOW, ASKER)
    assert server.answers == {(286, 1001): 2, (286, 3003): 1}


def test_what_a_request_says_of_itself() -> None:
    """No secret is in it."""
    (request,) = (
        DiameterServer(HOST, REALM).stream().feed(mar(credentials("5f3c9a1d5f3c9a1d"), User_Name="alice"))
    )
    assert isinstance(request, MarRequest)
    assert "alice" in repr(request)
    assert "5f3c9a1d" not in repr(request)
    question = request.question
    assert (question.realm, question.user_name, question.method) == (REALM, "alice", "REGISTER")
    assert (question.resource, question.source, question.is_extended) == (REALM, "", True)


def test_a_uri_with_a_password_is_no_address() -> None:
    """It would get into the log."""
    (request,) = DiameterServer(HOST, REALM).stream().feed(
        mar(SIP_AOR=f"sip:alice:hunter2@{REALM}", SIP_Method="INVITE"))  # fmt: skip
    assert isinstance(request, MarRequest)
    assert request.question.user_name == REALM
