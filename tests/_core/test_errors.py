"""The tree of exceptions, and what a ParseError carries."""

from __future__ import annotations

import copy
import pickle

import pytest

from auth_diameter._core import ConfigError, DiscError, Error, ParseError, SipRequest

BROKEN = (
    b"OPTIONS sip:siphub.net SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport\r\n"
    b"f: <sip:alice@siphub.net>;tag=1\r\nt: <sip:alice@siphub.net>\r\ni: 1\r\nCSeq: 1 INVITE\r\n\r\n"
)


@pytest.mark.parametrize("kind", [ConfigError, ParseError, DiscError])
def test_one_root(kind: type[Exception]) -> None:
    assert issubclass(kind, Error)
    assert issubclass(Error, Exception)


def test_value_errors_are_those_of_values() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ParseError, ValueError)
    assert not issubclass(DiscError, ValueError)


def test_parse_error_says_what_and_where() -> None:
    error = ParseError("no colon", 7, header="Via", status=505)
    assert str(error) == "no colon (at byte 7)"
    assert (error.reason, error.offset, error.header, error.status) == ("no colon", 7, "Via", 505)
    assert error.request is None


def test_parse_error_without_more() -> None:
    error = ParseError("short")
    assert (error.offset, error.header, error.status, error.request) == (0, None, 400, None)


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_parse_error_goes_to_another_process(again: object) -> None:
    error = again(ParseError("no colon", 7, header="Via", status=505))  # type: ignore[operator]
    assert (str(error), error.header, error.status) == ("no colon (at byte 7)", "Via", 505)


def test_parse_error_can_be_answered() -> None:
    with pytest.raises(ParseError) as caught:
        SipRequest(BROKEN, ("192.0.2.9", 4711))
    error = caught.value
    assert (error.header, error.status) == ("CSeq", 400)
    assert BROKEN[error.offset :].startswith(b"INVITE\r\n")
    assert error.request is not None
    reply = error.request.reply(error.status, "Bad Request").decode().split("\r\n")
    assert reply[:2] == [
        "SIP/2.0 400 Bad Request",
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport=4711;received=192.0.2.9",
    ]
    assert reply[3].startswith("To: <sip:alice@siphub.net>;tag=")
    assert reply[-4:] == ["CSeq: 1 INVITE", "Content-Length: 0", "", ""]


def test_parse_error_of_something_that_is_no_request() -> None:
    with pytest.raises(ParseError) as caught:
        SipRequest(b"SIP/2.0 200 OK\r\n\r\n")
    assert caught.value.request is None
