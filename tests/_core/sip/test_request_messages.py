"""SIP requests of others, and any bytes: what is read as a request, and what no reader falls over."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kit.places import SHARED, VECTORS
from kit.replies import lines
from kit.sip import DIGEST, SOURCE, refused, with_line

from auth_diameter._core import ParseError, SipRequest

DATA = SHARED / "data"
REQUESTS = VECTORS / "sip-requests"


# Messages of others. Where our outcome is not the one proposed beside a file, the reason stands here.

# name -> what is wrong: the header field's name, or part of the reason
BROKEN = {
    "auth_ctl_colon": "':' expected", "auth_vt_colon": "':' expected", "auth_lead_sp": "CSeq",
    "callid_crlf": "control character", "callid_empty": "Call-ID", "colon_only": "':' expected",
    "cr_only": "CRLF", "lf_only": "CRLF", "mixed_nl": "control character", "nul_in_hdr": "control character",
    "nul_before_auth": "control character", "no_colon": "':' expected", "name_utf8": "':' expected",
    "no_crlf": "CRLF", "no_eoh": "empty line", "via_trunc": "CRLF", "via_garbage": "Via", "via_recv": "Via",
    "cseq_long": "CSeq", "cseq_lowercase": "CSeq", "cseq_nomethod": "CSeq", "from_two": "From",
    "realm_inject": "From", "to_tag_empty": "To", "maxfwd_big": "Max-Forwards", "maxfwd_neg": "Max-Forwards",
    "ruri_empty": "Request-URI", "ruri_nouser_empty": "Request-URI", "ruri_pct_end": "Request-URI",
    "ruri_scheme_only": "Request-URI", "ruri_port_0": "Request-URI", "ruri_port_-1": "Request-URI",
    "ruri_port_65536": "Request-URI", "ruri_port_99999999999": "Request-URI", "resp_200": "a response",
    "http": "SIP-Version", "jak": "a method", "nul_dgram": "a method", "empty_dgram": "a method",
    "opensips_tset_1": "space",
}  # fmt: skip
# Nothing to be answered: no request, or no Via that says where to.
SILENT = {"cr_only", "lf_only", "via_trunc", "ruri_empty", "resp_200", "http", "jak", "nul_dgram",
          "empty_dgram", "opensips_tset_1", "ack"}  # fmt: skip


@pytest.mark.parametrize("path", sorted(REQUESTS.glob("*.dat")), ids=lambda path: path.stem)
def test_requests_of_all_kinds(path: Path) -> None:
    data, name = path.read_bytes(), path.stem
    wrong = "Content-Length" if name.startswith("cl__") else BROKEN.get(name)
    if re.match(r"cl_(\d|empty|five|__)", name):
        wrong = "Content-Length"
    if wrong is None:
        request: SipRequest | None = SipRequest(data, SOURCE)
    else:
        error = refused(data)
        assert wrong in error.reason
        request = error.request
    reply = b"" if request is None else request.reply(400, "Bad Request")
    assert (reply == b"") == (name in SILENT)
    if reply:
        lines(reply)


def test_who_is_meant_in_those() -> None:
    def read(name: str) -> SipRequest:
        return SipRequest((REQUESTS / f"{name}.dat").read_bytes())

    assert read("from_quote_lt").from_uri == "sip:alice@example.com"
    assert read("from_noangle_param").from_uri == "sip:alice@example.com"
    assert read("ruri_urn").request_uri == "urn:service:sos"
    assert read("auth_int_body").body
    for name in ("reg_auth", "auth_folded", "auth_sp_colon", "wrong_header_inv"):
        assert read(name).credentials("example.com") is not None
    # An empty header is of no Digest scheme: passed over, not 400 as was proposed.
    for name in ("auth_after_eoh", "auth_in_body", "wrong_header_reg", "auth_empty"):
        assert read(name).credentials("example.com") is None
    with pytest.raises(ParseError, match="no parameters"):
        read("auth_incomplete").credentials("example.com")


def torture(folder: str) -> list[object]:
    skip = pytest.mark.skip(reason=f"the messages of {folder} lie in ../shared, which is not here")
    found = sorted((DATA / folder).glob("*.dat"))
    return [pytest.param(path, id=path.stem) for path in found] or [pytest.param(None, marks=skip)]


TORTURE_BROKEN = {
    "badaspec": "To", "baddn": "empty line", "badinv01": "Via", "badvers": "SIP-Version",
    "clerr": "Content-Length", "escruri": "Request-URI", "insuf": "missing", "ltgtruri": "Request-URI",
    "lwsruri": "Request-URI", "lwsstart": "Request-URI", "mcl01": "Content-Length", "mismatch01": "CSeq",
    "mismatch02": "CSeq", "multi01": "twice", "ncl": "Content-Length", "quotbal": "To", "scalar02": "CSeq",
    "test": "SIP-Version", "trws": "space",
    # responses
    "bcast": "a response", "bigcode": "a response", "noreason": "a response", "scalarlg": "a response",
    "unreason": "a response",
}  # fmt: skip


@pytest.mark.parametrize("path", torture("rfc4475"))
def test_rfc_4475(path: Path) -> None:
    data, wrong = path.read_bytes(), TORTURE_BROKEN.get(path.stem)
    if wrong is None:
        lines(SipRequest(data, SOURCE).reply(401, "Unauthorized"))
        return
    error = refused(data)
    assert wrong in error.reason
    assert error.status == (505 if path.stem == "badvers" else 400)
    if wrong == "a response" or path.stem == "test":
        assert error.request is None  # responses are never answered
    else:
        assert error.request is not None
        lines(error.request.reply(error.status, "x"))


def test_rfc_4475_baddn_closed() -> None:
    path = DATA / "rfc4475" / "baddn.dat"
    if not path.exists():
        pytest.skip("the messages of RFC 4475 lie in ../shared, which is not here")
    # The file lacks the empty line; with it the display name is taken, as 3.1.2.15 allows.
    found = SipRequest(path.read_bytes() + b"\r\n").from_
    assert found is not None
    assert (found.display_name, found.uri.text) == ("Bell, Alexander", "sip:a.g.bell@example.com")


@pytest.mark.parametrize("path", torture("rfc5118"))
def test_rfc_5118(path: Path) -> None:
    data = path.read_bytes()
    if path.stem == "ipv6-bad":
        assert "Request-URI" in refused(data).reason
    else:
        lines(SipRequest(data, SOURCE).reply(401, "Unauthorized"))


# Any bytes

BASES = [
    with_line(b"Authorization: " + DIGEST + b', qop="auth", nc=00000001, cnonce="\\"x"'),
    b"\r\nINVITE sips:%62ob@[2001:db8::1]:5061;lr SIP/2.0\r\n"
    b"v: SIP/2.0/UDP a:1;rport;x=\"y\" , SIP/2.0/TCP b\r\n"
    b"From : \"A\\\"B\"<tel:+1-2>;tag=1\r\nt: sip:b@c\r\n ;x\r\ni:1\r\nCSeq:9\r\n INVITE\r\nl: 2\r\n\r\nhi!",
]  # fmt: skip


def survives(data: bytes) -> bool:
    """Whether it is a request; if not, the error is a ParseError that points into it."""
    try:
        request: SipRequest | None = SipRequest(data, SOURCE)
        offset = 0
        good = True
    except ParseError as error:
        request, offset = error.request, error.offset
        good = False
    assert 0 <= offset <= len(data)
    if request is not None:
        reply = request.reply(400, "Bad Request", [("X", "y")])
        if reply:
            head = reply.replace(b"\r\n ", b"  ").replace(b"\r\n\t", b"  ").split(b"\r\n")
            assert head[-2:] == [b"", b""]
            assert head[-3:-1] == [b"Content-Length: 0", b""]
            assert all(
                re.match(rb"(Via|From|To|Call-ID|CSeq|X|Content-Length): ", line) for line in head[1:-2]
            )
    if good and request is not None:
        for proxy in (False, True):
            try:
                request.credentials("siphub.net", proxy)
            except ParseError as error:
                offset = error.offset
            assert 0 <= offset <= len(data)
        for part in ("request", "from", "to"):
            repr(request.uri(part))
    return good


@pytest.mark.parametrize("base", BASES, ids=["register", "invite"])
def test_every_prefix(base: bytes) -> None:
    good = [survives(base[:size]) for size in range(len(base) + 1)]
    assert good[-1]
    # With the Content-Length at hand no part of a message is taken for the whole.
    assert not any(good[: base.index(b"\r\n\r\n") + 4])
    assert all(not early or late for early, late in pairwise(good))


@pytest.mark.parametrize("base", BASES, ids=["register", "invite"])
def test_every_byte_left_out_or_changed(base: bytes) -> None:
    for at in range(len(base)):
        survives(base[:at] + base[at + 1 :])
        for byte in b'\x00\r\n\t "\\;,<>:@[%\x7f\xff':
            survives(base[:at] + bytes([byte]) + base[at + 1 :])
        survives(base[:at] + b"\r\n" + base[at:])


@given(st.sampled_from(BASES), st.data())
def test_slices_put_together(base: bytes, data: st.DataObject) -> None:
    cut = st.integers(0, len(base))
    a, b, c, d = (data.draw(cut) for _ in range(4))
    survives(base[:a] + base[min(b, c) : max(b, c)] + base[d:])


@given(st.binary(max_size=200))
@example(b'd  \x02\x80\x00\nt\x00:G;150="a8')
def test_any_bytes(data: bytes) -> None:
    survives(data)
    survives(with_line(data))
