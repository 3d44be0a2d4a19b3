"""From, To and Contact as values: RFC 3261, 20.10, 20.20 and 20.39. Their grammar is in test_fields.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.sip import REGISTER, changed, refused, with_line

from auth_diameter._core import NameAddr, ParseError, SipRequest


def seen(found: NameAddr | None) -> Any:
    return None if found is None else (found.display_name, found.uri.text, found.parameters)


@pytest.mark.parametrize(
    ("value", "name", "uri", "parameters"),
    [
        ("sip:a@b", None, "sip:a@b", ()),
        ("sip:a@b;tag=1;x", None, "sip:a@b", (("tag", "1"), ("x", None))),
        ("<sip:a@b;lr?h=v> ; Tag = 1", None, "sip:a@b;lr?h=v", (("Tag", "1"),)),
        ("Alice  B. <sip:a@b>", "Alice  B.", "sip:a@b", ()),
        ('"Alice" <sip:a@b>', "Alice", "sip:a@b", ()),
        ('""<sip:a@b>', "", "sip:a@b", ()),
        ('"A \\"B\\" <sip:c@d>, \\\\" <sip:a@b>', 'A "B" <sip:c@d>, \\', "sip:a@b", ()),
        ('"A\r\n  B"\r\n <sip:a@b>', "A B", "sip:a@b", ()),
        ("A\r\n  \\B <sip:a@b>", "A \\B", "sip:a@b", ()),
        ("Virtu\u00e1lis <sip:a@b>", "Virtu\u00e1lis", "sip:a@b", ()),
        ('<tel:+1-2>;q="a\\"b;c"', None, "tel:+1-2", (("q", 'a"b;c'),)),
        ("<sip:a@b>;h=[::1];e=host.example", None, "sip:a@b", (("h", "[::1]"), ("e", "host.example"))),
        ('<sip:a@b>;x=""', None, "sip:a@b", (("x", ""),)),
    ],
)
def test_an_address_with_name_and_parameters(value: str, name: Any, uri: str, parameters: Any) -> None:
    plain = REGISTER.replace(b"From: Alice <sip:alice@siphub.net>;tag=1928301774", b"From: <sip:x@y>")
    data = with_line(b"Contact: " + value.encode()).replace(
        b"To: <sip:alice@siphub.net>", b"To: " + value.encode()
    )
    r = SipRequest(data)
    assert seen(r.to) == (name, uri, parameters)
    assert [seen(found) for found in r.contacts] == [(name, uri, parameters)]
    data = plain.replace(b"From: <sip:x@y>", b"From: " + value.encode())
    assert seen(SipRequest(data).from_) == (name, uri, parameters)


def test_addresses_outlive_their_request() -> None:
    r = SipRequest(with_line(b'Contact: "A" <sip:a@b;x=y>;expires=5;Q'))
    [found] = r.contacts
    del r
    assert (found.uri.user, found.uri.host, found.uri.parameters) == ("a", "b", (("x", "y"),))
    assert (found.parameter("EXPIRES"), found.parameter("q"), found.parameter("x")) == ("5", "", None)
    with pytest.raises(AttributeError):
        found.display_name = "x"  # type: ignore[misc]


def test_a_missing_from_or_to_is_none() -> None:
    r = SipRequest(REGISTER.replace(b"From: ", b"X: ").replace(b"To: ", b"X: "))
    assert (r.from_, r.to, r.contacts, r.has_star_contact) == (None, None, (), False)
    # And of a request that was refused for it, which can still be answered.
    error = refused(changed(b"To: <", b"To: <<"))
    assert error.request is not None
    assert (error.request.to, error.request.from_ is None) == (None, False)


@pytest.mark.parametrize(
    ("text", "uris"),
    [
        ("Contact: <sip:a@b>,<sip:c@d>", "sip:a@b sip:c@d"),
        ("Contact: sip:a@b , sip:c@d;q=1\r\nm:<sip:e@f>\r\nX: 1\r\nCONTACT: <sip:g@h>",
         "sip:a@b sip:c@d sip:e@f sip:g@h"),
        ('Contact: "A, <B>" <sip:a@b>;x="y,z", C D <sip:c@d>', "sip:a@b sip:c@d"),
        ("Contact: <sip:a,b@c>,<urn:x:y>\r\n ,\r\n <mailto:a@b>", "sip:a,b@c urn:x:y mailto:a@b"),
        ("Contact: Doe <sip:a@b>, J\u00f6hn (home) <sip:c@d>", "sip:a@b sip:c@d"),
    ],
)  # fmt: skip
def test_contacts_of_all_fields_in_order(text: str, uris: str) -> None:
    assert " ".join(found.uri.text for found in SipRequest(with_line(text.encode())).contacts) == uris


@pytest.mark.parametrize("line", [b"Contact: *", b"m:*", b"Contact:\r\n * "])
def test_a_star_is_no_address(line: bytes) -> None:
    r = SipRequest(with_line(line))
    assert (r.has_star_contact, r.contacts) == (True, ())


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("", 0),
        ("a", 0),
        ("<sip:a@b", 8),
        ("<sip:a@b>,", 10),
        ("<sip:a@b>,,<sip:c@d>", 10),
        ("Doe, John <sip:a@b>", 0),  # in a list a comma ends an address
        ("<sip:a@b>;x=", 12),
        ("*, <sip:a@b>", 0),
        ("<sip:a@b>, *", 11),
        ("*;expires=0", 0),
    ],
)
def test_a_malformed_contact_is_told_to_who_asks_for_it(value: str, at: int) -> None:
    data = with_line(b"Contact: " + value.encode())
    r = SipRequest(data)  # it is not malformed for it
    assert r.header("Contact") == value
    assert not r.has_star_contact
    with pytest.raises(ParseError, match=r"^Contact: ") as caught:
        r.contacts  # noqa: B018
    assert (caught.value.header, caught.value.status, caught.value.request) == ("Contact", 400, r)
    assert caught.value.offset - data.index(b"Contact: ") - len("Contact: ") == at


def test_a_star_beside_an_address() -> None:
    """10.3, step 6."""
    for text in (b"Contact: *\r\nContact: <sip:a@b>", b"m: <sip:a@b>\r\nm: *", b"Contact: *\r\nContact: *"):
        r = SipRequest(with_line(text))
        assert not r.has_star_contact
        with pytest.raises(ParseError, match=r"^Contact: "):
            r.contacts  # noqa: B018


@given(st.text(alphabet='sip:@;=<>"\\,. \r\n\ttag[]1%*\u00fc\x01', max_size=40))
def test_any_contact_is_read_or_refused(value: str) -> None:
    data = with_line(b"Contact: " + value.encode())
    try:
        r = SipRequest(data)
    except ParseError:
        return
    try:
        found = r.contacts
    except ParseError as error:
        assert 0 <= error.offset <= len(data)  # noqa: PT017
        return
    for each in found:
        assert each.uri.text.encode() in data
        if "\\" not in value:  # a quoted-pair may stand for one (25.1)
            assert not any(character < " " and character != "\t" for character in each.display_name or "")
