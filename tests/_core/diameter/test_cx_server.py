"""MAR and MAA of Cx with SIP Digest (3GPP TS 29.228, 29.229) as a server has them; and HA1 with RFC 4740."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.captures import captured
from kit.cx import OF_3GPP, REALM, SERVER, V, mar
from kit.mar import ERROR, PROXIABLE, REQUEST, authenticate, credentials, result_of
from kit.mar import mar as sip_mar

from auth_diameter import Avp, Message
from auth_diameter._core import (
    AaRequest,
    CxMarRequest,
    DiameterServer,
    MarRequest,
    Received,
    cx_digest_of,
    ha1,
)
from auth_diameter.diameter.base import avp_named, value_of
from auth_diameter.disc.server import Asker, Disc
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.config import VerifierConfig

NOW = 1_800_000_000.0
HOST, SECOND = "hss.siphub.net", "second.example"
PASSWORD = "wonderland"
CX = 16777216


@pytest.fixture
def settings() -> dict[str, Any]:
    """Of the verifier; a test with others parametrizes this."""
    return {}


Ask = Callable[..., Message]


@pytest.fixture
def ask(settings: dict[str, Any]) -> Iterator[Ask]:
    """The MAA to a MAR of a peer that is told HA1."""
    with Accounts.open(":memory:", writable=True) as store:
        store.add_user("alice", REALM, PASSWORD)
        store.add_user("bob", REALM, "builder")
        store.add_user("carol", SECOND, "rosebud")
        store.add_user("dave", REALM, "hal")  # as a table of OpenSIPS may have it: without the other HA1
        sql = "UPDATE subscriber SET ha1b = '', ha1_sha256 = '' WHERE username = 'dave'"
        store.database.connection.execute(sql)
        disc = Disc(SqliteStore(store.database), VerifierConfig(**settings))

        def answer(data: bytes, *, tells_ha1: bool = True, realm: str = REALM, **server: Any) -> Message:
            stream = DiameterServer(HOST, realm, **server).stream()
            stream.tells_ha1 = tells_ha1
            (request,) = stream.feed(data)
            assert isinstance(request, Received)
            out = bytearray()
            disc.answer([request], out, NOW, Asker("scscf.siphub.net", one_challenge=True))
            return Message.decode(bytes(out))

        yield answer


def tree(avps: Any) -> list[Any]:
    return [(avp.name, tree(avp.value)) if isinstance(avp.value, tuple) else avp.name for avp in avps]


def digest_of(maa: Message) -> dict[str, Any]:
    """The values in SIP-Digest-Authenticate by name."""
    item = maa.find(612, V)
    assert item is not None, maa
    (found,) = (avp for avp in item.value if avp.code == 635)
    return {avp.name: avp.data.decode() if isinstance(avp.value, bytes) else avp.value for avp in found.value}


def experimental(maa: Message) -> int:
    """The Experimental-Result-Code."""
    inner = {avp.name: avp.value for avp in value_of(maa, "Experimental-Result")}
    assert inner["Vendor-Id"] == V
    return int(inner["Experimental-Result-Code"])


# -- Cx ---------------------------------------------------------------------------------------------


def test_ha1_for_sip_digest(ask: Ask) -> None:
    """29.229, 6.1.8 and 6.3.36; all AVPs of 3GPP have V and M but SIP-Digest-Authenticate, which has no M."""
    maa = ask(mar())
    assert tree(maa.avps) == [
        "Session-Id", ("Vendor-Specific-Application-Id", ["Vendor-Id", "Auth-Application-Id"]), "Result-Code",
        "Auth-Session-State", "Origin-Host", "Origin-Realm", "User-Name", "Public-Identity",
        "SIP-Number-Auth-Items",
        ("SIP-Auth-Data-Item", [
            "SIP-Item-Number", "SIP-Authentication-Scheme",
            ("SIP-Digest-Authenticate", ["Digest-Realm", "Digest-Algorithm", "Digest-Qop", "Digest-HA1"]),
        ]),
    ]  # fmt: skip
    assert (result_of(maa), maa.flags, maa.command, maa.application_id) == (2001, PROXIABLE, 303, CX)
    assert (maa.hop_by_hop, maa.end_to_end) == (7, 9)
    assert (value_of(maa, "User-Name"), maa.find(601, V).value) == (f"alice@{REALM}", f"sip:alice@{REALM}")
    item = maa.find(612, V)
    assert [(avp.code, avp.flags) for avp in (item, *item.value)] == [
        (612, 0xC0), (613, 0xC0), (608, 0xC0), (635, 0x80)]  # fmt: skip
    assert digest_of(maa) == {
        "Digest-Realm": REALM,
        "Digest-Algorithm": "MD5",
        "Digest-Qop": "auth",
        "Digest-HA1": ha1(f"alice@{REALM}", REALM, PASSWORD),
    }


def test_ha1_is_that_of_the_name_as_it_is_spelled(ask: Ask) -> None:
    """RFC 7616, 3.4.2: the username is in the hash."""
    assert digest_of(ask(mar(User_Name="alice")))["Digest-HA1"] == ha1("alice", REALM, PASSWORD)


def test_the_domain_of_the_name_is_the_realm(ask: Ask) -> None:
    second = {"User_Name": f"carol@{SECOND}", "Public_Identity": f"sip:carol@{SECOND}"}
    assert digest_of(ask(mar(**second)))["Digest-Realm"] == SECOND
    alone = {"User_Name": "carol", "Public_Identity": f"sip:carol@{SECOND}"}
    assert digest_of(ask(mar(**alone)))["Digest-Realm"] == SECOND


@pytest.mark.parametrize("settings", [{"algorithms": ("SHA-256",)}, {"algorithms": ("SHA-256", "MD5")}])
def test_digest_algorithm_stays_md5(ask: Ask) -> None:
    """29.229, 6.3.36: another algorithm has AVPs of its own."""
    found = digest_of(ask(mar()))
    assert (found["Digest-Algorithm"], len(found["Digest-HA1"])) == ("MD5", 32)


@pytest.mark.parametrize("scheme", ["SIP Digest", "unknown", "sip digest"])
def test_schemes_that_are_answered(ask: Ask, scheme: str) -> None:
    """ "unknown": the HSS chooses."""
    maa = ask(mar(SIP_Authentication_Scheme=scheme))
    (named,) = (avp.value for avp in maa.find(612, V).value if avp.code == 608)
    assert named == "SIP Digest"


REFUSED = {
    "unknown user": ({"User_Name": f"mallory@{REALM}", "Public_Identity": f"sip:mallory@{REALM}"}, 5001),
    "realm without subscribers": (
        {"User_Name": "alice@other.example", "Public_Identity": "sip:alice@other.example"}, 5001),
    "address of another": ({"Public_Identity": f"sip:bob@{REALM}"}, 5002),
    "no SIP URI": ({"Public_Identity": "tel:+4930123"}, 5002),
    "AKA": ({"SIP_Authentication_Scheme": "Digest-AKAv1-MD5"}, 5006),
    "AKA of an unknown user": (
        {"User_Name": f"mallory@{REALM}", "SIP_Authentication_Scheme": "Digest-AKAv1-MD5"}, 5001),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_experimental_results(ask: Ask, case: str) -> None:
    """29.228, 6.3.1, in that order; User-Name and Public-Identity come back, and no HA1."""
    changed, result = REFUSED[case]
    maa = ask(mar(**changed), realm="core.example" if "realm" in case else REALM)
    if "realm" in case:
        maa = ask(mar(Destination_Realm="core.example", **changed), realm="core.example")
    assert experimental(maa) == result
    assert maa.find(268) is None
    assert maa.find(612, V) is None
    assert maa.find(601, V) is not None
    assert value_of(maa, "Error-Message") is not None


def test_another_address_where_that_is_allowed(ask: Ask) -> None:
    assert result_of(ask(mar(Public_Identity=f"sip:bob@{REALM}"), own_addresses=False)) == 2001


MISSING = ("Session-Id", "Origin-Host", "Origin-Realm", "Destination-Realm", "User-Name", "Public-Identity",
           "SIP-Authentication-Scheme")  # fmt: skip


@pytest.mark.parametrize("name", MISSING)
def test_an_avp_is_missing(ask: Ask, name: str) -> None:
    """RFC 6733, 7.5: the example in Failed-AVP has the vendor, too."""
    maa = ask(mar(**{name.replace("-", "_"): None}))
    assert result_of(maa) == 5005
    (failed,) = maa.find(279).avps
    assert (failed.name, failed.vendor_id) == (name, V if name in OF_3GPP else None)


WRONG = {
    "Public-Identity twice": (mar(avp_named("Public-Identity", "sip:a@b", V)), 5009),
    "two items": (
        mar(avp_named("SIP-Auth-Data-Item", [avp_named("SIP-Authentication-Scheme", "x", V)], V)), 5009),
    "an unknown AVP with the M flag": (mar(Avp(65000, b"x")), 5001),
    "an item that cannot be read": (mar(Avp(612, b"\0\0\2\x60\x80\0\0\xff", vendor_id=V)), 5014),
    "another server": (mar(Destination_Host="else.siphub.net"), 3002),
    "the E flag": (mar(flags=REQUEST | ERROR), 3008),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_malformed_mar(ask: Ask, case: str) -> None:
    data, result = WRONG[case]
    maa = ask(data)
    assert result_of(maa) == result
    assert bool(maa.flags & ERROR) == (result // 1000 == 3)


@pytest.mark.parametrize(
    "name", ["Session-Id", "Origin-Host", "Origin-Realm", "User-Name", "Public-Identity", "Server-Name"]
)
def test_bytes_that_are_no_text_do_not_go_back(ask: Ask, name: str) -> None:
    maa = ask(mar(**{name.replace("-", "_"): b"\xff\xfe"}))
    assert result_of(maa) == 5004
    assert b"\xff\xfe" not in maa.encode()


def test_proxy_info_goes_back_as_it_came(ask: Ask) -> None:
    info = Avp(284, [avp_named("Proxy-Host", "relay.example"), avp_named("Proxy-State", b"\1\xff")])
    for data in (mar(info), mar(info, User_Name="mallory"), mar(info, User_Name=None)):
        assert ask(data).find_all(284) == [info]


@pytest.mark.parametrize("capture", ["kam_ims_auth_vs_pydiameter_cx", "kam_ims_auth_fhoss_sipdigest"])
def test_the_mar_of_kamailio_is_read(capture: str) -> None:
    stream = DiameterServer("hss.open-ims.test", "open-ims.test").stream()
    stream.tells_ha1 = True
    mars = [
        each.data for each in captured(capture) if each.message.command == 303 and each.message.is_request
    ]
    for data in mars:
        (request,) = stream.feed(data)
        assert isinstance(request, CxMarRequest)
        assert (request.fault, request.question.user_name) == (0, "bob@open-ims.test")
        assert "bob@open-ims.test" in repr(request)


def test_what_stands_in_for_a_missing_ha1_is_not_told(ask: Ask) -> None:
    """It is the same for all users, and would let whoever knows it in as any of them."""
    spelled = {"User_Name": f"dave@{REALM}", "Public_Identity": f"sip:dave@{REALM}"}
    maa = ask(mar(**spelled))
    assert result_of(maa) == 5012
    assert maa.find(612, V) is None
    assert digest_of(ask(mar(**spelled | {"User_Name": "dave"})))["Digest-HA1"] == ha1("dave", REALM, "hal")


def test_who_asks_about_whom() -> None:
    """What an HSS notes of a MAR that gets HA1 (29.228, 6.3.1)."""
    stream = DiameterServer(HOST, REALM).stream()
    stream.tells_ha1 = True
    request, nameless = stream.feed(mar() + mar(Server_Name=None))
    assert request.sender == ("scscf.siphub.net", REALM)
    assert request.identities == (f"alice@{REALM}", f"sip:alice@{REALM}")
    assert (request.server_name, nameless.server_name) == (SERVER, None)
    empty = CxMarRequest.__new__(CxMarRequest)
    for name in ("sender", "identities", "server_name"):
        with pytest.raises(TypeError, match="comes from a DiameterServer"):
            getattr(empty, name)


def test_the_digest_in_an_answer(ask: Ask) -> None:
    assert cx_digest_of(ask(mar()).encode()) == (REALM, ha1(f"alice@{REALM}", REALM, PASSWORD))


def test_an_answer_without_a_digest(ask: Ask) -> None:
    good = ask(mar()).encode()
    for other in (ask(mar(User_Name="mallory")).encode(), ask(sip_mar()).encode(), mar()):
        assert cx_digest_of(other) is None
    for n in range(len(good)):
        assert cx_digest_of(good[:n]) is None
    assert cx_digest_of(good + good) is None
    with pytest.raises(TypeError):
        cx_digest_of(None)  # type: ignore[arg-type]


def test_ha1_is_for_peers_that_are_told_it(ask: Ask) -> None:
    """To any other one a MAR of Cx is a message of an application that is not ours."""
    (other,) = DiameterServer(HOST, REALM).stream().feed(mar())
    assert other == mar()


# -- RFC 4740, 6.3 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "alice"])
def test_ha1_with_a_challenge(ask: Ask, name: str | None) -> None:
    """9.5.3: Digest-HA1 in SIP-Authenticate. Without User-Name the user is that of SIP-AOR."""
    maa = ask(sip_mar(User_Name=name))
    assert result_of(maa) == 1001
    assert value_of(maa, "User-Name") == "alice"  # whose it is
    found = authenticate(maa)
    assert list(found) == ["Digest-Realm", "Digest-Nonce", "Digest-Algorithm", "Digest-Qop", "Digest-HA1"]
    assert found["Digest-HA1"] == ha1("alice", REALM, PASSWORD)


def test_no_ha1_for_others(ask: Ask) -> None:
    assert "Digest-HA1" not in authenticate(ask(sip_mar(), tells_ha1=False))


@pytest.mark.parametrize("settings", [{"algorithms": ("SHA-256",)}])
def test_a_user_without_ha1_of_the_algorithm_is_challenged_without_it(ask: Ask) -> None:
    """So the server is asked again, with credentials."""
    for name in ("dave", f"dave@{REALM}"):
        asked = sip_mar(User_Name=name, SIP_AOR=f"sip:dave@{REALM}")
        assert "Digest-HA1" not in authenticate(ask(asked))


def test_an_unknown_user_is_challenged_without_ha1(ask: Ask) -> None:
    assert "Digest-HA1" not in authenticate(ask(sip_mar(SIP_AOR=f"sip:mallory@{REALM}")))
    assert "Digest-HA1" not in authenticate(ask(sip_mar(User_Name="mallory", SIP_AOR=f"sip:mallory@{REALM}")))


def test_no_ha1_for_the_address_of_another(ask: Ask) -> None:
    """8.8: with HA1 there is no second MAR, in which the addresses could be compared."""
    assert result_of(ask(sip_mar(User_Name="bob"))) == 5033


@pytest.mark.parametrize("settings", [{"algorithms": ("MD5-sess",)}])
def test_no_ha1_with_a_session_algorithm(ask: Ask) -> None:
    """9.5.6.1: it holds a cnonce that nobody has chosen yet."""
    found = authenticate(ask(sip_mar()))
    assert (found["Digest-Algorithm"], "Digest-HA1" in found) == ("MD5-sess", False)


@pytest.mark.parametrize("settings", [{"algorithms": ("SHA-256",)}])
def test_ha1_is_of_the_algorithm_in_the_challenge(ask: Ask) -> None:
    assert authenticate(ask(sip_mar()))["Digest-HA1"] == ha1("alice", REALM, PASSWORD, "SHA-256")


def test_credentials_are_verified_here_all_the_same(ask: Ask) -> None:
    nonce = authenticate(ask(sip_mar()))["Digest-Nonce"]
    assert result_of(ask(sip_mar(credentials(nonce)))) == 2001
    assert result_of(ask(sip_mar(credentials(nonce, ("alice", "guess"))))) == 4001


# -- what is received -------------------------------------------------------------------------------


def test_no_request_is_collected() -> None:
    """They share a free list: one with a header of the garbage collector in it would end the process."""
    for kind in (Received, AaRequest, MarRequest, CxMarRequest):
        assert not gc.is_tracked(kind.__new__(kind))
        assert kind.__basicsize__ == Received.__basicsize__
