"""`SipRequest.from_parts`: a request of a SIP stack that keeps no bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.sip import REGISTER, SOURCE

from auth_diameter import ConfigError, ParseError, SipRequest

HEADERS = [
    ("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds"),
    ("Max-Forwards", "70"),
    ("From", "Alice <sip:alice@siphub.net>;tag=1928301774"),
    ("To", "<sip:alice@siphub.net>"),
    ("Call-ID", "a84b4c76e66710@pc33"),
    ("CSeq", "1 REGISTER"),
]


def parts(*more, method="REGISTER", uri="sip:siphub.net", body=b"", **settings):
    return SipRequest.from_parts(method, uri, [*HEADERS, *more], body, SOURCE, **settings)


def test_it_is_the_request_that_its_bytes_are():
    ours, theirs = parts(), SipRequest(REGISTER, SOURCE)
    for name in ("method", "request_uri", "from_uri", "to_uri", "call_id", "cseq", "body", "source"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.data_size == len(REGISTER)
    assert ours.reply(200, "OK") == theirs.reply(200, "OK")


def test_bytes_and_text_are_the_same():
    ours = SipRequest.from_parts(
        b"REGISTER", b"sip:siphub.net", [(name.encode(), value.encode()) for name, value in HEADERS]
    )
    assert ours.reply(200, "OK") == SipRequest(REGISTER).reply(200, "OK")


def test_the_headers_may_be_a_dict():
    assert SipRequest.from_parts("REGISTER", "sip:siphub.net", dict(HEADERS)).call_id == "a84b4c76e66710@pc33"


def test_several_fields_of_one_name_keep_their_order():
    request = parts(("Authorization", "Basic x"), ("Contact", "<sip:a@h>"), ("Authorization", "Digest y"))
    assert request.headers("Authorization") == ["Basic x", "Digest y"]


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "l", "L"])
def test_content_length_is_that_of_the_body(name):
    """Whatever the stack has: it may have changed the body."""
    request = parts((name, "77"), body="h\xe9llo")
    assert request.body == "h\xe9llo".encode()
    assert request.headers("Content-Length") == ["6"]


def test_what_is_no_utf8_comes_through():
    """As the stack has it: bytes, or with surrogate escapes."""
    for value in (b"caf\xe9", "caf\udce9"):
        assert parts(("Subject", value)).header("Subject") == "caf\udce9"


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\0"])
def test_no_part_ends_its_line(end):
    """Or a value could bring a header field of its own."""
    for wrong in (
        lambda: parts(("Subject", f"x{end}Authorization: Digest y")),
        lambda: parts((f"Subject{end}", "x")),
        lambda: parts(method=f"REGISTER{end}"),
        lambda: parts(uri=f"sip:siphub.net{end}X: y"),
    ):
        with pytest.raises(ParseError):
            wrong()


def test_the_field_at_fault_is_named():
    with pytest.raises(ParseError, match="end of a line") as caught:
        parts(("Subject", "x\r\ny"))
    assert caught.value.header == "Subject"
    assert "x\r\ny" not in str(caught.value)


@pytest.mark.parametrize("part", [{"method": "A B"}, {"uri": "sip:siphub.net SIP/2.0 x"}, {"method": ""}])
def test_the_request_line_has_three_words(part):
    with pytest.raises(ParseError):
        parts(**part)


@pytest.mark.parametrize("name", ["", "Sub ject", "Subject:", "Subj\xe9ct", "(x)"])
def test_a_name_is_a_token(name):
    with pytest.raises(ParseError, match="no token"):
        parts((name, "x"))


def test_a_character_that_utf8_does_not_have():
    with pytest.raises(ParseError, match="UTF-8"):
        parts(("Subject", "\ud800"))


@pytest.mark.parametrize("pair", ["ab", ("a",), ("a", "b", "c"), 5, None])
def test_a_header_is_a_pair(pair):
    with pytest.raises(ConfigError, match="pairs"):
        parts(pair)


@pytest.mark.parametrize("wrong", [5, None, ["x"], 1.0])
def test_other_types(wrong):
    for call in (
        lambda: parts(("Subject", wrong)),
        lambda: parts((wrong, "x")),
        lambda: parts(method=wrong),
        lambda: parts(uri=wrong),
        lambda: parts(body=wrong),
    ):
        with pytest.raises(TypeError):
            call()


def test_the_limits_are_those_of_a_request():
    with pytest.raises(ParseError, match="limit"):
        parts(max_headers=3)
    with pytest.raises(ParseError, match="limit"):
        parts(max_size=100)
    with pytest.raises(ConfigError):
        SipRequest.from_parts("REGISTER", "sip:siphub.net", HEADERS, source=("192.0.2.9", 70_000))


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=20)), max_size=4), st.binary(max_size=20))
def test_any_parts_are_a_request_or_an_error(more, body):
    """And no other header field comes of them than those that were given."""
    try:
        request = parts(*((f"X-{name}", value) for name, value in more), body=body)
    except ParseError:
        return
    assert request.body == body
    assert request.headers("Authorization") == []
    for name, value in more:
        assert value.strip(" \t") in [found.strip(" \t") for found in request.headers(f"X-{name}")]
