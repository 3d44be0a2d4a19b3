"""MAR and MAA of RFC 4740 as a client has them: which AVP is from where, and what an answer means."""

from __future__ import annotations

from typing import Any

import pytest
from kit.captures import answers_of
from kit.dialect import DIGEST, ask, sip
from kit.sip import build_request

from auth_diameter import Avp, Message
from auth_diameter._core import (
    Answer,
    DiscApplication,
    SipApplication,
    SipRequest,
    Verdict,
    authentication,
    avp_code,
    ha1_lookup,
    judge,
)
from auth_diameter.decision import Cause
from auth_diameter.diameter.base import avp_named

HOST, REALM = "sip.h.test", "h.test"
SCHEME = avp_named("SIP-Authentication-Scheme", 0)
CREDENTIALS = DIGEST.format("alice")
HA1 = "0123456789abcdef0123456789abcdef"


def application(**route: str) -> SipApplication:
    return SipApplication(HOST, REALM, 0x12345678, **route)


def mar(question: Any, msgid: int = 7, **route: str) -> Message:
    out = bytearray()
    application(**route).append(out, question, msgid)
    return Message.decode(out)


def tree(avps: Any) -> dict[str, Any]:
    """The AVPs by name; a group as a dictionary of its own."""
    found = {avp.name: tree(avp.value) if isinstance(avp.value, tuple) else avp.value for avp in avps}
    assert len(found) == len(avps)
    return found


def maa(*avps: Avp, result: int | None = 2001, session: str = "sip.h.test;1;2", **header: int) -> bytes:
    avps = (avp_named("Session-Id", session), *avps)
    if result is not None:
        avps += (avp_named("Result-Code", result),)
    return Message(286, avps, application_id=6, hop_by_hop=7, **({"flags": 0} | header)).encode()


def item(*avps: Avp) -> Avp:
    return avp_named("SIP-Auth-Data-Item", (SCHEME, *avps))


def authenticate(*more: tuple[str, str], realm: str = "siphub.net", nonce: str = "abc") -> Avp:
    named = (("Digest-Realm", realm), ("Digest-Nonce", nonce), *more)
    return avp_named("SIP-Authenticate", tuple(avp_named(name, value) for name, value in named))


def cause(answer: Answer, *, with_credentials: bool = False) -> Cause:
    request = sip(credentials=CREDENTIALS if with_credentials else None)
    return judge(ask(request, with_credentials=with_credentials), answer)[0]


def read(data: bytes) -> Answer:
    return application().decode(data)


class TestRequest:
    """RFC 4740, 8.7."""

    def test_without_credentials_there_is_no_item(self) -> None:
        message = mar(ask(sip()))
        assert (message.command, message.application_id, message.flags) == (286, 6, 0xC0)
        assert (message.hop_by_hop, message.end_to_end) == (7, 0x12345678)
        found = tree(message.avps)
        assert found.pop("Session-Id").startswith("sip.h.test;")
        assert message.avps[0].name == "Session-Id"
        assert found == {
            "Auth-Application-Id": 6,
            "Auth-Session-State": 1,
            "Origin-Host": HOST,
            "Origin-Realm": REALM,
            "Destination-Realm": "siphub.net",
            "SIP-AOR": "sip:bob@siphub.net",
            "SIP-Method": "REGISTER",
            "SIP-Number-Auth-Items": 1,
        }

    def test_credentials_are_plain_values(self) -> None:
        """9.5.1: without the quotes, and so without quoted-pairs."""
        text = (
            'Digest username="al\\"ice", realm="siphub.net", nonce="a\\\\b", uri="sip:siphub.net", '
            'response="00000000000000000000000000000000", algorithm=MD5, qop=auth, nc=00000001, cnonce="x", '
            'opaque="o"'
        )
        found = tree(mar(ask(sip(credentials=text), with_credentials=True)).avps)
        assert found["User-Name"] == 'al"ice'
        assert found["SIP-Auth-Data-Item"] == {
            "SIP-Authentication-Scheme": 0,
            "SIP-Authorization": {
                "Digest-Username": 'al"ice',
                "Digest-Realm": "siphub.net",
                "Digest-Nonce": "a\\b",
                "Digest-URI": "sip:siphub.net",
                "Digest-Response": "0" * 32,
                "Digest-Algorithm": "MD5",
                "Digest-CNonce": "x",
                "Digest-Opaque": "o",
                "Digest-Qop": "auth",
                "Digest-Nonce-Count": "00000001",
                "Digest-Method": "REGISTER",
            },
        }

    def test_every_avp_has_the_flags_of_the_rfc(self) -> None:
        """Table 2 and Table 3: M must be set, V must not."""
        message = mar(ask(sip(credentials=CREDENTIALS), with_credentials=True))
        for avp in message.avps:
            assert (avp.flags, avp.vendor_id) == (0x40, None), avp.name

    @pytest.mark.parametrize(
        ("method", "aor"), [("REGISTER", "sip:bob@siphub.net"), ("INVITE", "sip:carol@siphub.net:5070")]
    )
    def test_aor_is_to_of_a_register_and_else_the_request_uri(self, method: str, aor: str) -> None:
        request = sip(method, uri="sip:carol@siphub.net:5070;user=phone")
        assert tree(mar(ask(request)).avps)["SIP-AOR"] == aor

    @pytest.mark.parametrize("uri", ["tel:+15551234", "sips:bob@siphub.net"])
    def test_aor_of_another_scheme(self, uri: str) -> None:
        assert tree(mar(ask(sip("INVITE", uri=uri))).avps)["SIP-AOR"] == uri

    def test_hash_of_the_body_with_auth_int(self) -> None:
        """9.5.4: the server cannot make it, since it has no body."""
        text = CREDENTIALS + ', qop=auth-int, nc=00000001, cnonce="x"'
        found = tree(mar(ask(sip(credentials=text), with_credentials=True)).avps)
        authorization = found["SIP-Auth-Data-Item"]["SIP-Authorization"]
        assert authorization["Digest-Entity-Body-Hash"] == "d41d8cd98f00b204e9800998ecf8427e"

    def test_route(self) -> None:
        found = tree(
            mar(
                ask(sip()),
                destination_realm="d.test",
                destination_host="disc.d.test",
                server_uri="sip:registrar.h.test",
            ).avps
        )
        assert found["Destination-Realm"] == "d.test"
        assert found["Destination-Host"] == "disc.d.test"
        assert found["SIP-Server-URI"] == "sip:registrar.h.test"

    def test_both_requests_of_a_call_have_one_session(self) -> None:
        """freeDiameter's app_sip binds its nonces to the Session-Id."""
        app = application()
        sessions = []
        for credentials in (None, CREDENTIALS):
            out = bytearray()
            app.append(out, ask(sip(credentials=credentials), with_credentials=credentials is not None), 1)
            sessions.append(tree(Message.decode(out).avps)["Session-Id"])
        assert sessions[0] == sessions[1]
        assert tree(mar(ask(sip())).avps)["Session-Id"] != sessions[0]  # of another process: the key is drawn

    def test_sent_again(self) -> None:
        """RFC 6733, 3: the T flag, another Hop-by-Hop Identifier, the same End-to-End Identifier."""
        app, question = application(), ask(sip())
        out, again, other = bytearray(), bytearray(), bytearray()
        app.append(out, question, 1)
        app.append(again, question, 2)
        app.append(other, ask(sip()), 3)
        first, second, third = map(Message.decode, (out, again, other))
        assert (first.flags, second.flags) == (0xC0, 0xD0)
        assert (first.hop_by_hop, second.hop_by_hop) == (1, 2)
        assert first.end_to_end == second.end_to_end != third.end_to_end

    def test_a_group_check_cannot_be_asked(self) -> None:
        from kit.dialect import group_question

        with pytest.raises(TypeError, match="group check"):
            application().append(bytearray(), group_question(), 1)


class TestAnswer:
    """RFC 4740, 8.8: what a MAA means."""

    @pytest.mark.parametrize("result", [1001, 2008])
    def test_challenge(self, result: int) -> None:
        """Figure 2: 2008 without SIP-Server-URI."""
        more = (("Digest-Qop", "auth,auth-int"), ("Digest-Algorithm", "SHA-256"), ("Digest-Opaque", ""))
        found = read(maa(item(authenticate(*more, nonce='a"b\\')), result=result))
        assert found.verdict is Verdict.CHALLENGE
        assert found.challenges == (
            b'Digest realm="siphub.net", nonce="a\\"b\\\\", opaque="", algorithm=SHA-256, '
            b'qop="auth,auth-int"',
        )
        assert cause(found) is Cause.CHALLENGED
        assert cause(found, with_credentials=True) is Cause.RECHALLENGED

    def test_stale(self) -> None:
        found = read(maa(item(authenticate(("Digest-Stale", "true"))), result=1001))
        assert found.challenges == (b'Digest realm="siphub.net", nonce="abc", stale=true',)
        assert cause(found, with_credentials=True) is Cause.CHALLENGED

    @pytest.mark.parametrize("result", [2001, 2006])
    def test_success_for_credentials_alone(self, result: int) -> None:
        assert cause(read(maa(result=result)), with_credentials=True) is Cause.AUTHORIZED
        assert cause(read(maa(result=result))) is Cause.UNASKED_SUCCESS

    def test_proof_of_the_server(self) -> None:
        """9.5.5: SIP-Authentication-Info."""
        info = avp_named(
            "SIP-Authentication-Info",
            (avp_named("Digest-Nextnonce", "next"), avp_named("Digest-Response-Auth", HA1)),
        )
        found = read(maa(item(info)))
        assert (found.response_auth, found.nextnonce) == (HA1.encode(), b"next")

    @pytest.mark.parametrize("result", [4001, 5003, 5032, 5033])
    def test_refused(self, result: int) -> None:
        assert cause(read(maa(result=result)), with_credentials=True) is Cause.FORBIDDEN

    @pytest.mark.parametrize("result", [3002, 3004, 4002, 5001, 5012, 5037, 2002, 1002, 0, 0xFFFFFFFF])
    def test_any_other_is_an_error(self, result: int) -> None:
        assert cause(read(maa(result=result)), with_credentials=True) is Cause.DISC_REFUSED

    def test_user_name_required(self) -> None:
        """4013, with a challenge if the server likes."""
        challenged = read(maa(item(authenticate()), result=4013))
        assert cause(challenged) is Cause.CHALLENGED
        assert cause(read(maa(result=4013))) is Cause.DISC_REFUSED


UNUSABLE = {
    "another scheme": (
        maa(avp_named("SIP-Auth-Data-Item", (avp_named("SIP-Authentication-Scheme", 1),))),
        Cause.OTHER_SCHEME,
    ),
    "no scheme": (maa(avp_named("SIP-Auth-Data-Item", (authenticate(),)), result=1001), Cause.OTHER_SCHEME),
    "two items": (maa(item(authenticate()), item(authenticate()), result=1001), Cause.SEVERAL_ITEMS),
    "two challenges": (maa(item(authenticate(), authenticate()), result=1001), Cause.SEVERAL_ITEMS),
    "HA1 too short": (maa(item(authenticate(("Digest-HA1", HA1[1:]))), result=1001), Cause.UNFIT_HA1),
    "HA1 of MD5 for SHA-256": (
        maa(item(authenticate(("Digest-HA1", HA1), ("Digest-Algorithm", "SHA-256"))), result=1001),
        Cause.UNFIT_HA1,
    ),
    "HA1 is no hexadecimal": (
        maa(item(authenticate(("Digest-HA1", "x" * 32))), result=1001),
        Cause.UNFIT_HA1,
    ),
    "no Result-Code": (maa(result=None), Cause.DISC_UNUSABLE),
    "Result-Code twice": (maa(avp_named("Result-Code", 2001)), Cause.DISC_UNUSABLE),
    "success with the E flag": (maa(flags=0x20), Cause.DISC_UNUSABLE),
    "challenge without nonce": (
        maa(item(avp_named("SIP-Authenticate", (avp_named("Digest-Realm", "r"),))), result=1001),
        Cause.DISC_UNUSABLE,
    ),
    "challenge with a line break": (
        maa(item(authenticate(realm="a\r\nVia: x")), result=1001),
        Cause.DISC_UNUSABLE,
    ),
    "challenge too large": (maa(item(authenticate(nonce="n" * 3000)), result=1001), Cause.DISC_UNUSABLE),
    "unknown AVP with M": (maa(Avp(99_999, b"x", flags=0x40)), Cause.DISC_UNUSABLE),
    "unknown AVP with M in the item": (maa(item(Avp(99_999, b"x", flags=0x40))), Cause.DISC_UNUSABLE),
    "another command": (
        Message(303, [avp_named("Result-Code", 2001)], application_id=6, flags=0).encode(),
        Cause.DISC_UNUSABLE,
    ),
    "no AVP at all": (Message(286, [], application_id=6, flags=0).encode(), Cause.DISC_UNUSABLE),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_is_never_used(case: str) -> None:
    """It lets nobody in, and has a cause of its own: 500."""
    data, expected = UNUSABLE[case]
    found = read(data)
    assert found.fault is not None
    assert cause(found, with_credentials=True) is expected
    assert cause(found) is expected


def test_what_is_passed_over() -> None:
    """RFC 6733, 4.1: unknown AVPs without the M flag; and Route-Record, which freeDiameter adds."""
    more = (
        Avp(99_999, b"x", flags=0),
        Avp(99_999, b"x", vendor_id=99_999, flags=0),
        avp_named("Route-Record", "relay.test"),
        avp_named("Class", b"x"),
    )
    assert cause(read(maa(*more)), with_credentials=True) is Cause.AUTHORIZED


@pytest.mark.parametrize("name", ["radclient_fd_radgw_app_sip", "erlang_server_vs_pydiameter"])
def test_servers_of_others(name: str) -> None:
    """freeDiameter's app_sip and Erlang's dictionary: a challenge, then a success."""
    answers = [read(data) for data in answers_of(name, 286)]
    assert [answer.verdict for answer in answers] == [Verdict.CHALLENGE, Verdict.SUCCESS]
    assert all(answer.fault is None for answer in answers)


def test_every_beginning_of_an_answer_is_refused() -> None:
    """Cut anywhere, with the length in the header set right: never a success, never a crash."""
    _, whole = answers_of("erlang_server_vs_pydiameter", 286)
    code = avp_code("Result-Code").to_bytes(4, "big")
    behind = whole.index(code) + 12
    for size in range(20, behind, 4):
        cut = whole[:1] + size.to_bytes(3, "big") + whole[4:size]
        assert read(cut).fault is not None, size


def test_realm_is_a_question_of_the_server() -> None:
    """The challenge has the realm that the server says."""
    question = authentication(sip(), "other.net", None, False)
    assert tree(mar(question).avps)["Destination-Realm"] == "other.net"


# -- several applications ---------------------------------------------------------------------------


def test_a_lookup_of_ha1_is_a_question_of_cx_alone() -> None:
    lookup = ha1_lookup("siphub.net", "alice", "sip:alice@siphub.net")
    for application in (DiscApplication(), SipApplication("sip.example.net", "example.net", 1)):
        with pytest.raises(TypeError, match="about no SIP request"):
            application.append(bytearray(), lookup, 1)


def test_a_question_has_the_room_that_each_application_takes() -> None:
    """Its size is remembered, and another application may take more."""
    request = SipRequest(build_request())
    host = "a" * 3000 + ".example.net"
    question = authentication(request, "siphub.net", None, False)
    for application in (DiscApplication(), SipApplication(host, "example.net", 1), DiscApplication()):
        asked, other = bytearray(), bytearray()
        application.append(asked, question, 1)
        application.append(other, authentication(request, "siphub.net", None, False), 1)
        assert len(asked) == len(other)
        assert Message.decode(bytes(asked)).encode() == asked
