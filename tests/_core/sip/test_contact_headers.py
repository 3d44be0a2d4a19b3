"""200 to a REGISTER: RFC 3261, 10.3, as a registrar that keeps no bindings has it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.host import replies_of
from kit.wire import build_answer

import auth_diameter as ad

DIGEST = (
    f'Digest username="alice", realm="siphub.net", nonce="6b04", uri="sip:siphub.net", response="{"0" * 32}"'
)


def register(*lines: str) -> bytes:
    head = (
        "REGISTER sip:siphub.net SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
        "From: <sip:alice@siphub.net>;tag=1",
        "To: <sip:alice@siphub.net>;tag=2",
        "Call-ID: c1",
        "CSeq: 1 REGISTER",
    )
    return "\r\n".join((*head, *lines, "", "")).encode("utf-8", "surrogateescape")


def contacts(*lines: str) -> list[str]:
    return [f"{name}: {value}" for name, value in ad.SipRequest(register(*lines)).contact_headers()]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), []),  # it asks what is bound: nothing is
        (("Contact: <sip:a@h>",), ["<sip:a@h>;expires=3600"]),
        (("Contact: <sip:a@h>", "Expires: 60"), ["<sip:a@h>;expires=60"]),
        (("EXPIRES: 60", "Contact: <sip:a@h>", "Expires: 7"), ["<sip:a@h>;expires=60"]),  # the first
        (("Contact: <sip:a@h>;expires=120", "Expires: 60"), ["<sip:a@h>;expires=120"]),
        (("Contact: <sip:a@h>;EXPIRES=120",), ["<sip:a@h>;expires=120"]),
        (('m: "A, <B>" <sip:a@h:5070;transport=tcp>;q=0.5;+sip.instance="<urn:uuid:1>"',),
         ["<sip:a@h:5070;transport=tcp>;expires=3600"]),
        (("Contact: sip:a@h;expires=7",), ["<sip:a@h>;expires=7"]),
        (("Contact: <sip:a@h>;expires=7, <sip:b@h> , <sip:c@h>;expires=0", "m: <sip:d@h>", "Expires: 9"),
         ["<sip:a@h>;expires=7", "<sip:b@h>;expires=9", "<sip:d@h>;expires=9"]),
        (("Contact: <sip:a@h>\r\n ;expires=5,\r\n\t<sip:b@h>",),
         ["<sip:a@h>;expires=5", "<sip:b@h>;expires=3600"]),
        # Removed: 10.2.2
        (("Contact: <sip:a@h>;expires=0",), []),
        (("Contact: <sip:a@h>", "Expires: 0"), []),
        (("Contact: *", "Expires: 0"), []),
        (("m:*", "Expires:\t000"), []),
        # The same address once, as it was said last: it is one binding.
        (("Contact: <sip:a@h>;expires=5, <sip:b@h>, <sip:a@h>;expires=6",),
         ["<sip:a@h>;expires=6", "<sip:b@h>;expires=3600"]),
        # 20.10: what is no number is an hour, and too large a number the largest that there is.
        (("Contact: <sip:a@h>;expires=soon",), ["<sip:a@h>;expires=3600"]),
        (("Contact: <sip:a@h>;expires=-1",), ["<sip:a@h>;expires=3600"]),
        (('Contact: <sip:a@h>;expires=""',), ["<sip:a@h>;expires=3600"]),
        (("Contact: <sip:a@h>;expires",), ["<sip:a@h>;expires=3600"]),
        (("Contact: <sip:a@h>", "Expires: Thu, 01 Dec 1994"), ["<sip:a@h>;expires=3600"]),
        (("Contact: <sip:a@h>", "Expires: \u0661"), ["<sip:a@h>;expires=3600"]),
        (("Contact: <sip:a@h>;expires=4294967295",), ["<sip:a@h>;expires=4294967295"]),
        (("Contact: <sip:a@h>;expires=4294967296",), ["<sip:a@h>;expires=4294967295"]),
        (("Contact: <sip:a@h>;expires=10000000000",), ["<sip:a@h>;expires=4294967295"]),
        ((f"Contact: <sip:a@h>;expires={'9' * 5000}",), ["<sip:a@h>;expires=4294967295"]),
        ((f"Contact: <sip:a@h>;expires={'0' * 5000}9",), ["<sip:a@h>;expires=9"]),
        # Other schemes: 20.10 has any URI.
        (("Contact: <tel:+33123>",), ["<tel:+33123>;expires=3600"]),
    ],
)  # fmt: skip
def test_the_contacts_of_the_200(lines: tuple[str, ...], expected: list[str]) -> None:
    assert contacts(*lines) == [f"Contact: {value}" for value in expected]


@pytest.mark.parametrize(
    "lines",
    [
        ("Contact: *",),  # 10.3, step 6: "*" goes with Expires: 0, and alone
        ("Contact: *", "Expires: 3600"),
        ("Contact: *", "Expires: never"),
        ("Contact: *, <sip:a@h>", "Expires: 0"),
        ("Contact: *", "Contact: <sip:a@h>", "Expires: 0"),
        ("Contact: *", "m: *", "Expires: 0"),
        ("m: <sip:a@h>", "Contact: *", "Expires: 0"),
        ("Contact: *;expires=0", "Expires: 0"),
        ("Contact: ",),
        ("Contact: a@h",),
        ("Contact: <sip:a@h",),
        ("Contact: <sip:a@h>,",),
        ("Contact: <sip:a@h>, , <sip:b@h>",),
        ("Contact: <sip:a@h>;expires=",),
        ("Contact: <sip:a@h>", "Contact: <sip:@h>"),
    ],
)
def test_a_contact_that_no_registrar_takes(lines: tuple[str, ...]) -> None:
    with pytest.raises(ad.ParseError, match=r"^Contact: ") as caught:
        contacts(*lines)
    assert caught.value.header == "Contact"
    assert caught.value.request is not None


@given(st.text(alphabet='sip:@;=<>"\\,. \r\n\texpirs=0*\u00fc\x01', max_size=40))
def test_no_line_of_a_reply_begins_in_a_contact(value: str) -> None:
    try:
        request = ad.SipRequest(register(f"Contact: {value}"))
        headers = request.contact_headers()
    except ad.ParseError:
        return
    reply = request.reply(200, "OK", headers)
    assert reply.count(b"\r\n") == 8 + len(headers)


# --- serve's default route ------------------------------------------------------------------------------


def served(datagram: bytes, result_code: int = 2001) -> bytes:
    """The reply of the default route, where DISC says that."""

    def answer(question: ad.Message) -> bytes:
        return build_answer(question, result_code, challenge='Digest realm="a", nonce="b"')

    [reply] = asyncio.run(replies_of(answer, datagram))
    return reply


def test_serve_repeats_the_contacts_with_their_expiry() -> None:
    data = register(
        f"Authorization: {DIGEST}",
        'Contact: "Alice" <sip:alice@192.0.2.1:5060;ob>;q=1, <sip:b@h>;expires=0',
        "m: sip:c@h",
        "Expires: 600",
    )
    assert served(data).split(b"\r\n") == [
        b"SIP/2.0 200 OK",
        b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
        b"From: <sip:alice@siphub.net>;tag=1",
        b"To: <sip:alice@siphub.net>;tag=2",
        b"Call-ID: c1",
        b"CSeq: 1 REGISTER",
        b"Contact: <sip:alice@192.0.2.1:5060;ob>;expires=600",
        b"Contact: <sip:c@h>;expires=600",
        b"Content-Length: 0",
        b"",
        b"",
    ]


@pytest.mark.parametrize("lines", [(), ("Contact: *", "Expires: 0"), ("Contact: <sip:a@h>;expires=0",)])
def test_serve_has_no_other_bindings(lines: tuple[str, ...]) -> None:
    reply = served(register(f"Authorization: {DIGEST}", *lines))
    assert reply.startswith(b"SIP/2.0 200 OK\r\n")
    assert b"Contact" not in reply


def test_serve_answers_400_to_a_contact_that_is_none_once_it_knows_who_it_is() -> None:
    """10.3: the registrar authenticates first (step 3), and then looks at the Contacts (steps 6 and 7)."""
    assert served(register(f"Authorization: {DIGEST}", "Contact: <sip:a@h")).startswith(b"SIP/2.0 400 ")
    assert served(register("Contact: <sip:a@h"), 4001).startswith(b"SIP/2.0 401 ")


def test_serve_repeats_no_contact_of_another_request() -> None:
    data = register(f"Proxy-Authorization: {DIGEST}", "Contact: <sip:a@h").replace(b"REGISTER", b"INVITE")
    reply = served(data)
    assert reply.startswith(b"SIP/2.0 200 OK\r\n")
    assert b"Contact" not in reply


def test_strangers_get_no_contacts() -> None:
    reply = served(register(*[f"Contact: <sip:a{number}@h>" for number in range(50)]), 4001)
    assert reply.startswith(b"SIP/2.0 401 ")
    assert b"Contact" not in reply
