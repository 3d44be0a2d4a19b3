"""MAR and MAA of Cx as a client has them: 3GPP TS 29.228, 6.3, and TS 29.229."""

from __future__ import annotations

from typing import Any

import pytest
from kit.captures import captured
from kit.dialect import ask, sip
from kit.hss import NODE, common, digest, experimental, item, of_3gpp

from auth_diameter import Avp, Message
from auth_diameter._core import Answer, CxApplication, Verdict, ha1_lookup
from auth_diameter.diameter.base import avp_named

HA1 = "0123456789abcdef0123456789abcdef"
HA1_256 = HA1 * 2


def application(**route: str) -> CxApplication:
    return CxApplication("scscf.h.test", "h.test", 0x12345678, "sip:scscf.h.test", **route)


def mar(msgid: int = 7, **route: str) -> Message:
    out = bytearray()
    application(**route).append(out, ha1_lookup("r.test", "alice@r.test", "sip:alice@r.test"), msgid)
    return Message.decode(out)


def tree(avps: Any) -> dict[str, Any]:
    found = {avp.name: tree(avp.value) if isinstance(avp.value, tuple) else avp.value for avp in avps}
    assert len(found) == len(avps)
    return found


def maa(*avps: Avp, result: int | None = 2001, **header: int) -> bytes:
    named = [avp_named("Session-Id", "scscf.h.test;1;2"), *common(), *NODE.origin(), *avps]
    if result is not None:
        named.append(avp_named("Result-Code", result))
    return Message(303, named, application_id=16777216, hop_by_hop=7, **({"flags": 0} | header)).encode()


def read(data: bytes) -> Answer:
    return application().decode(data)


class TestRequest:
    """TS 29.229, 6.1.7."""

    def test_mar(self) -> None:
        message = mar()
        assert (message.command, message.application_id, message.flags) == (303, 16777216, 0xC0)
        assert (message.hop_by_hop, message.end_to_end) == (7, 0x12345678)
        found = tree(message.avps)
        assert found.pop("Session-Id").startswith("scscf.h.test;")
        assert found == {
            "Vendor-Specific-Application-Id": {"Vendor-Id": 10415, "Auth-Application-Id": 16777216},
            "Auth-Session-State": 1,
            "Origin-Host": "scscf.h.test",
            "Origin-Realm": "h.test",
            "Destination-Realm": "r.test",
            "User-Name": "alice@r.test",
            "Public-Identity": "sip:alice@r.test",
            "SIP-Number-Auth-Items": 1,
            "SIP-Auth-Data-Item": {"SIP-Authentication-Scheme": "SIP Digest"},
            "Server-Name": "sip:scscf.h.test",
        }

    def test_flags(self) -> None:
        """Table 6.3.1: M and V for those of 3GPP."""
        for avp in mar().avps:
            assert (avp.flags, avp.vendor_id) == ((0xC0, 10415) if 600 <= avp.code < 700 else (0x40, None)), (
                avp.name
            )

    def test_the_same_as_kamailio_asks(self) -> None:
        """Kamailio's cdp: the same AVPs, by code and vendor, besides its scheme and what it wants besides."""
        [theirs, *_] = [
            one.message for one in captured("kam_ims_auth_fhoss_sipdigest") if one.message.command == 303
        ]
        ours = {(avp.code, avp.vendor_id) for avp in mar().avps}
        assert ours <= {(avp.code, avp.vendor_id) for avp in theirs.avps}

    def test_route(self) -> None:
        found = tree(mar(destination_realm="d.test", destination_host="hss.d.test").avps)
        assert (found["Destination-Realm"], found["Destination-Host"]) == ("d.test", "hss.d.test")

    def test_each_question_has_a_session_of_its_own_and_keeps_it(self) -> None:
        app = application()
        one, other = (ha1_lookup("r", "alice", "sip:alice@r") for _ in range(2))
        out = [bytearray() for _ in range(3)]
        for buffer, question in zip(out, (one, one, other), strict=True):
            app.append(buffer, question, 1)
        first, again, third = map(Message.decode, out)
        assert first.avps[0] == again.avps[0] != third.avps[0]
        assert first.end_to_end == again.end_to_end != third.end_to_end
        assert (first.flags, again.flags) == (0xC0, 0xD0)

    def test_a_sip_request_cannot_be_asked_about(self) -> None:
        with pytest.raises(TypeError, match="users"):
            application().append(bytearray(), ask(sip()), 1)


class TestAnswer:
    """TS 29.229, 6.1.8."""

    def test_ha1(self) -> None:
        found = read(maa(avp_named("User-Name", "alice"), item(digest("r.test", HA1))))
        assert found.verdict is Verdict.SUCCESS
        assert found.delegated == ((("MD5", HA1),), "r.test", None, "alice", None)
        assert HA1 not in repr(found)

    def test_a_second_algorithm(self) -> None:
        more = (
            of_3gpp("Alternate-Digest-Algorithm", "SHA-256"),
            of_3gpp("Alternate-Digest-HA1", HA1_256),
        )
        found = read(maa(item(digest("r.test", HA1, *more))))
        assert found.delegated is not None
        assert found.delegated[0] == (("MD5", HA1), ("SHA-256", HA1_256))

    def test_lifetime(self) -> None:
        found = read(maa(avp_named("Authorization-Lifetime", 60), item(digest("r.test", HA1))))
        assert found.delegated is not None
        assert found.delegated[4] == 60

    @pytest.mark.parametrize("code", [5001, 5002])
    def test_unknown(self, code: int) -> None:
        """USER_UNKNOWN, IDENTITIES_DONT_MATCH."""
        found = read(maa(experimental(code), result=None))
        assert (found.verdict, found.code, found.delegated) == (Verdict.REJECTED, code, None)

    @pytest.mark.parametrize("result", [3002, 5001, 5003, 5012, 4001, 2002])
    def test_any_other_is_an_error(self, result: int) -> None:
        assert read(maa(item(digest("r.test", HA1)), result=result)).verdict is Verdict.FAILURE

    def test_an_experimental_success_is_none(self) -> None:
        assert read(maa(experimental(2001), item(digest("r", HA1)), result=None)).verdict is Verdict.FAILURE

    @pytest.mark.parametrize(
        ("name", "ha1"),
        [("kam_ims_auth_fhoss_sipdigest", True), ("kam_ims_auth_vs_pydiameter_cx", True)],
    )
    def test_servers_of_others(self, name: str, ha1: bool) -> None:
        """FHoSS leaves Digest-QoP out."""
        answers = [
            one.data for one in captured(name) if one.message.command == 303 and not one.message.is_request
        ]
        assert answers
        for data in answers:
            found = read(data)
            assert found.fault is None
            assert (found.delegated is not None) is ha1

    @pytest.mark.parametrize("name", ["kam_ims_auth_fhoss_md5", "kam_ims_auth_fhoss_tispan-http-digest-md5"])
    def test_other_schemes_are_refused(self, name: str) -> None:
        """Digest-MD5 of FHoSS has the password in clear; TISPAN's is of another vendor."""
        answers = [
            one.data for one in captured(name) if one.message.command == 303 and not one.message.is_request
        ]
        assert answers
        assert all(read(data).fault is not None for data in answers)


UNUSABLE = {
    "no item": maa(),
    "two items": maa(item(digest("r", HA1)), item(digest("r", HA1))),
    "two digests": maa(item(digest("r", HA1), digest("r", HA1))),
    "another scheme": maa(item(digest("r", HA1), scheme="Digest-AKAv1-MD5")),
    "no HA1": maa(item(digest("r", None))),
    "HA1 too short": maa(item(digest("r", HA1[1:]))),
    "HA1 no hexadecimal": maa(item(digest("r", "x" * 32))),
    "HA1 of another algorithm": maa(item(digest("r", HA1, avp_named("Digest-Algorithm", "SHA-256")))),
    "HA1 with a cnonce": maa(item(digest("r", HA1, avp_named("Digest-Algorithm", "MD5-sess")))),
    "second HA1 without algorithm": maa(item(digest("r", HA1, of_3gpp("Alternate-Digest-HA1", HA1_256)))),
    "two realms": maa(item(digest("r", HA1, avp_named("Digest-Realm", "s")))),
    "two results": maa(experimental(2001), item(digest("r", HA1))),
    "no result": maa(item(digest("r", HA1)), result=None),
    "E flag": maa(item(digest("r", HA1)), flags=0x20),
    "unknown AVP with M": maa(item(digest("r", HA1)), Avp(99_999, b"x", flags=0x40)),
    "unknown AVP of 3GPP with M": maa(item(digest("r", HA1)), Avp(9_999, b"x", flags=0xC0, vendor_id=10415)),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_is_never_used(case: str) -> None:
    found = read(UNUSABLE[case])
    assert found.fault is not None
    assert (found.verdict, found.delegated) == (Verdict.FAILURE, None)


def test_ha1_beside_an_error_delegates_nothing() -> None:
    """TS 29.228, 6.3.1: HA1 comes with a success alone, and has been checked for that alone."""
    for result in (5012, 3002, 1001):
        found = read(maa(item(digest("r.test", HA1)), result=result))
        assert (found.verdict, found.code, found.delegated) == (Verdict.FAILURE, result, None)


def test_what_is_passed_over() -> None:
    more = (Avp(99_999, b"x", flags=0), Avp(9_999, b"x", flags=0x80, vendor_id=10415))
    assert read(maa(item(digest("r", HA1), *more), *more)).delegated is not None
