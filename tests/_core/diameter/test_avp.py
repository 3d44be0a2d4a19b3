"""AVPs: RFC 6733, section 4."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_diameter._core.diameter.avp import Avp
from auth_diameter._core.diameter.dictionary import result_name
from auth_diameter._core.errors import ConfigError, ParseError

if TYPE_CHECKING:
    from collections.abc import Callable

USER_NAME, HOST_IP_ADDRESS, RESULT_CODE, FAILED_AVP = 1, 257, 268, 279
EVENT_TIMESTAMP, SUB_SESSION_ID, ACCT_RECORD_TYPE = 55, 287, 480
RESPONSE, CHALLENGE, SIP_MSGID = 401, 402, 406
UNKNOWN = 0xFFFF0000
VENDOR_3GPP = 10415
DEEPEST = 16

# The whole of an AVP: section 4.1


@pytest.mark.parametrize(
    ("avp", "encoded"),
    [
        pytest.param(
            Avp(USER_NAME, b"alice"),
            "00000001 40 00000d 616c696365 000000",
            id="AVP Length counts the header and the data, not the padding",
        ),
        pytest.param(Avp(USER_NAME, b"bob!"), "00000001 40 00000c 626f6221", id="nothing to pad, no padding"),
        pytest.param(Avp(USER_NAME, b""), "00000001 40 000008", id="no data"),
        pytest.param(
            Avp(602, b"s", vendor_id=VENDOR_3GPP),
            "0000025a c0 00000d 000028af 73 000000",
            id="a Vendor-ID brings the V flag and is counted",
        ),
        pytest.param(Avp(SIP_MSGID, b"\1\0\0\0", flags=0), "00000196 00 00000c 01000000", id="not mandatory"),
        pytest.param(Avp(1, b"", flags=0x5F), "00000001 5f 000008", id="reserved flag bits are written"),
        pytest.param(Avp(1, b"", vendor_id=0), "00000001 c0 00000c 00000000", id="Vendor-ID 0"),
    ],
)
def test_layout(avp: Avp, encoded: str) -> None:
    assert avp.encode() == bytes.fromhex(encoded)


def test_attributes() -> None:
    avp = Avp(602, "sip:scscf", flags=0, vendor_id=VENDOR_3GPP)
    assert (avp.code, avp.flags, avp.vendor_id) == (602, 0x80, VENDOR_3GPP)
    assert avp.data == b"sip:scscf"
    assert avp.name == "Server-Name"
    assert Avp(USER_NAME, "alice").vendor_id is None


def test_does_not_change() -> None:
    avp = Avp(USER_NAME, "alice")
    with pytest.raises(AttributeError):
        avp.code = 2  # type: ignore[misc]


def test_equality_and_hash() -> None:
    assert Avp(1, b"a") == Avp(1, "a")
    assert hash(Avp(1, b"a")) == hash(Avp(1, "a"))
    others = [Avp(2, b"a"), Avp(1, b"b"), Avp(1, b"a", flags=0), Avp(1, b"a", vendor_id=0)]
    assert all(Avp(1, b"a") != other for other in others)
    assert Avp(1, b"a") != b"a"


# Types: sections 4.2 to 4.4


@pytest.mark.parametrize(
    ("code", "value", "data"),
    [
        pytest.param(USER_NAME, "alice", b"alice", id="UTF8String"),
        pytest.param(USER_NAME, "ålice", b"\xc3\xa5lice", id="UTF8String, not ASCII"),
        pytest.param(RESULT_CODE, 2001, b"\0\0\x07\xd1", id="Unsigned32"),
        pytest.param(RESULT_CODE, 2**32 - 1, b"\xff\xff\xff\xff", id="Unsigned32, largest"),
        pytest.param(ACCT_RECORD_TYPE, -1, b"\xff\xff\xff\xff", id="Enumerated is an Integer32"),
        pytest.param(SUB_SESSION_ID, 1, bytes(7) + b"\1", id="Unsigned64"),
        pytest.param(HOST_IP_ADDRESS, IPv4Address("192.0.2.1"), b"\0\1\xc0\0\2\1", id="Address, IPv4"),
        pytest.param(
            HOST_IP_ADDRESS,
            IPv6Address("2001:db8::1"),
            b"\0\2" + bytes.fromhex("20010db8000000000000000000000001"),
            id="Address, IPv6",
        ),
        pytest.param(
            EVENT_TIMESTAMP,
            datetime(2004, 2, 29, 12, tzinfo=UTC),
            bytes.fromhex("c3ec52c0"),
            id="Time, seconds since 1900",
        ),
        pytest.param(
            EVENT_TIMESTAMP,
            datetime(2036, 2, 7, 6, 28, 16, tzinfo=UTC),
            bytes(4),
            id="Time starts again in 2036",
        ),
        pytest.param(FAILED_AVP, (Avp(1, "a"),), Avp(1, "a").encode(), id="Grouped"),
        pytest.param(FAILED_AVP, (), b"", id="Grouped, empty"),
        pytest.param(25, b"\0\1", b"\0\1", id="OctetString (Class)"),
        pytest.param(UNKNOWN, b"\0\1", b"\0\1", id="not in the dictionary"),
    ],
)
def test_value_by_type(code: int, value: object, data: bytes) -> None:
    avp = Avp(code, value)  # type: ignore[arg-type]
    assert avp.data == data
    assert avp.value == value
    assert type(avp.value) is type(value)


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab"), memoryview(b"axb")[::2]])
def test_data_may_be_any_bytes_like(data: bytearray | memoryview) -> None:
    assert Avp(UNKNOWN, data).data == b"ab"


def test_a_number_without_a_number_type_is_unsigned32() -> None:
    assert Avp(UNKNOWN, 1).data == b"\0\0\0\1"
    assert Avp(25, 1).data == b"\0\0\0\1"


def test_time_of_another_zone() -> None:
    east = timezone(timedelta(hours=2))
    when = datetime(2024, 1, 1, 2, tzinfo=east)
    assert Avp(EVENT_TIMESTAMP, when).value == datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        pytest.param(RESULT_CODE, b"\0\1", id="Unsigned32 of 2 bytes"),
        pytest.param(RESULT_CODE, bytes(8), id="Unsigned32 of 8 bytes"),
        pytest.param(SUB_SESSION_ID, bytes(4), id="Unsigned64 of 4 bytes"),
        pytest.param(USER_NAME, b"alice\xff", id="UTF8String that is none"),
        pytest.param(HOST_IP_ADDRESS, b"\0\1\xc0\0\2", id="IPv4 address of 3 bytes"),
        pytest.param(HOST_IP_ADDRESS, b"\0\x081234", id="an address of another family (E.164)"),
        pytest.param(EVENT_TIMESTAMP, b"\0", id="Time of 1 byte"),
        pytest.param(FAILED_AVP, b"no AVP", id="Grouped that is none"),
    ],
)
def test_data_that_does_not_fit_its_type_stays_bytes(code: int, data: bytes) -> None:
    avp = Avp(code, data)
    assert avp.value == data
    assert repr(avp)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda: Avp(-1, b""), "code: -1", id="code below 0"),
        pytest.param(lambda: Avp(2**32, b""), "code: 4294967296", id="code of 33 bits"),
        pytest.param(lambda: Avp(1, b"", flags=256), "flags: 256", id="flags of 9 bits"),
        pytest.param(lambda: Avp(1, b"", vendor_id=2**32), "vendor_id", id="Vendor-ID of 33 bits"),
        pytest.param(lambda: Avp(1, b"", flags=0x80), "needs a vendor_id", id="V, no Vendor-ID"),
        pytest.param(lambda: Avp(RESULT_CODE, -1), "Unsigned32", id="Unsigned32 below 0"),
        pytest.param(lambda: Avp(RESULT_CODE, 2**32), "Unsigned32", id="Unsigned32 of 33 bits"),
        pytest.param(lambda: Avp(ACCT_RECORD_TYPE, 2**31), "Integer32", id="Integer32 too large"),
        pytest.param(lambda: Avp(SUB_SESSION_ID, 2**64), "Unsigned64", id="Unsigned64 too large"),
        pytest.param(lambda: Avp(1, "\ud800"), "no UTF-8", id="a lone surrogate"),
        pytest.param(
            lambda: Avp(EVENT_TIMESTAMP, datetime(2024, 1, 1)),
            "time zone",
            id="a time of no zone",
        ),
        pytest.param(lambda: Avp(EVENT_TIMESTAMP, datetime(1967, 1, 1, tzinfo=UTC)), "1968", id="too early"),
        pytest.param(lambda: Avp(1, bytes(2**24 - 8)), "more than", id="24 bits of AVP Length"),
        pytest.param(lambda: Avp(1, bytes(2**24 - 12), vendor_id=1), "more than", id="with a Vendor-ID"),
    ],
)
def test_arguments_out_of_range(make: Callable[[], Avp], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        make()


def test_largest_data() -> None:
    encoded = Avp(UNKNOWN, bytes(2**24 - 9)).encode()
    assert encoded[5:8] == b"\xff\xff\xff"
    assert len(encoded) == 2**24


@pytest.mark.parametrize("data", [None, object(), [b"not an Avp"], 1.5])
def test_data_of_another_kind(data: object) -> None:
    with pytest.raises(TypeError, match="data: "):
        Avp(UNKNOWN, data)  # type: ignore[arg-type]


# Groups: section 4.4


def test_group_from_and_to_avps() -> None:
    inner = (Avp(266, VENDOR_3GPP), Avp(258, 16777216))
    group = Avp(260, inner)
    assert group.avps == inner
    assert group.value == inner
    assert Avp(UNKNOWN, iter(inner)).avps == inner, "of a type unknown, too"


@pytest.mark.parametrize(
    ("data", "reason", "offset"),
    [
        pytest.param("000001", "3 bytes where an AVP header has 8", 3, id="no whole header"),
        pytest.param("00000001 40 000007", "is below the 8", 5, id="AVP Length below 8"),
        pytest.param("00000001 c0 00000b 00000000", "is below the 12", 5, id="below 12 with the V flag"),
        pytest.param("00000001 c0 00000c", "AVP Length 12 where 8 bytes are left", 5, id="no Vendor-ID"),
        pytest.param("00000001 40 00000d 61626364", "AVP Length 13 where 12 bytes", 5, id="beyond the group"),
        pytest.param("00000001 40 ffffff 61626364", "AVP Length 16777215", 5, id="beyond it by far"),
        pytest.param("00000001 40 000009 61", "before its padding", 9, id="no padding"),
        pytest.param("00000001 40 000008 0000010c 40 000000", "Result-Code(268)", 13, id="the second one"),
    ],
)
def test_malformed_group_names_the_avp_and_the_place(data: str, reason: str, offset: int) -> None:
    with pytest.raises(ParseError, match=re.escape(reason)) as error:
        _ = Avp(FAILED_AVP, bytes.fromhex(data)).avps
    assert error.value.offset == offset


def test_padding_in_a_group_may_be_anything() -> None:
    (avp,) = Avp(FAILED_AVP, bytes.fromhex("00000001 40 000009 61 ff0d0a")).avps
    assert avp == Avp(1, "a")
    assert avp.encode()[-3:] == b"\xff\r\n", "and is written as it came"


def nested(depth: int) -> Avp:
    avp = Avp(USER_NAME, "alice")
    for _ in range(depth):
        avp = Avp(FAILED_AVP, [avp])
    return avp


def innermost(avp: Avp) -> Avp:
    while avp.code == FAILED_AVP:
        (avp,) = avp.avps
    return avp


def test_groups_are_read_16_deep_and_no_deeper() -> None:
    assert innermost(nested(DEEPEST)).value == "alice"
    with pytest.raises(ParseError, match="more than 16 groups deep"):
        innermost(nested(DEEPEST + 1))


def test_repr_of_deep_groups_ends() -> None:
    text = repr(nested(200))
    assert "more than 16 groups deep" in text
    assert len(text.splitlines()) == DEEPEST + 1


# For people


def test_names_of_the_dialect_are_those_under_application_1() -> None:
    assert Avp(RESPONSE, "Digest x").name == "Response"
    assert Avp(RESPONSE, b"", vendor_id=1).name == "AVP", "not with a Vendor-ID"


@pytest.mark.parametrize(
    ("avp", "text"),
    [
        (Avp(1, "alice@siphub.net"), "User-Name(1) flags=-M- 'alice@siphub.net'"),
        (Avp(1, "alice\0"), r"User-Name(1) flags=-M- 'alice\x00'"),
        (Avp(1, "a\r\n\x1b[2J\u202e"), r"User-Name(1) flags=-M- 'a\r\n\x1b[2J\u202e'"),
        (Avp(1, b"alice\xff"), r"User-Name(1) flags=-M- b'alice\xff'"),
        (Avp(268, 2001), "Result-Code(268) flags=-M- 2001 (DIAMETER_SUCCESS)"),
        (Avp(268, 2999), "Result-Code(268) flags=-M- 2999"),
        (Avp(268, b"\0\1"), "Result-Code(268) flags=-M- 0x0001"),
        (Avp(404, b"8"), "Service-Type(404) flags=-M- '8' (group check)"),
        (Avp(406, b"\1\0\0\0", flags=0), "SIP-MSGID(406) flags=--- 0x01000000"),
        (Avp(257, IPv4Address("192.0.2.1")), "Host-IP-Address(257) flags=-M- 192.0.2.1"),
        (Avp(UNKNOWN, b"text", flags=0x2F), "AVP(4294901760) flags=--P+0x0f b'text'"),
        (Avp(602, "s", vendor_id=10415), "Server-Name(602, vendor 10415) flags=VM- 's'"),
    ],
)
def test_repr(avp: Avp, text: str) -> None:
    assert repr(avp) == text


def test_repr_of_a_group_is_indented() -> None:
    assert repr(Avp(297, [Avp(266, 10415), Avp(298, 5001)])) == (
        "Experimental-Result(297)        flags=-M-\n"
        "  Vendor-Id(266)                flags=-M- 10415\n"
        "  Experimental-Result-Code(298) flags=-M- 5001 (DIAMETER_ERROR_USER_UNKNOWN)"
    )


@pytest.mark.parametrize(
    ("code", "vendor_id"),
    [
        pytest.param(RESPONSE, None, id="the dialect's Response"),
        pytest.param(CHALLENGE, None, id="the dialect's Challenge"),
        pytest.param(2, None, id="User-Password"),
        pytest.param(3, None, id="CHAP-Password"),
        pytest.param(103, None, id="Digest-Response, RFC 5090"),
        pytest.param(105, None, id="Digest-Nonce"),
        pytest.param(106, None, id="Digest-Response-Auth"),
        pytest.param(107, None, id="Digest-Nextnonce"),
        pytest.param(113, None, id="Digest-CNonce"),
        pytest.param(121, None, id="Digest-HA1"),
        pytest.param(610, VENDOR_3GPP, id="SIP-Authorization, TS 29.229"),
        pytest.param(625, VENDOR_3GPP, id="Confidentiality-Key"),
        pytest.param(1450, VENDOR_3GPP, id="KASME, TS 29.272"),
    ],
)
def test_repr_goes_to_logs_and_has_no_secrets(code: int, vendor_id: int | None) -> None:
    avp = Avp(code, b"correct horse", vendor_id=vendor_id)
    assert repr(avp).endswith("<13 bytes>")
    assert "horse" not in repr(Avp(FAILED_AVP, [avp])), "in a group, too"


def test_what_should_be_a_group_of_secrets_is_not_shown_either() -> None:
    text = repr(Avp(380, b"Digest response=correct horse"))
    assert "SIP-Authorization(380)" in text
    assert "horse" not in text


def test_repr_of_a_long_value_is_cut() -> None:
    assert repr(Avp(281, "x" * 10_000)).endswith("xxx... (10000 bytes)")
    assert len(repr(Avp(281, "x" * 10_000))) < 300


def test_result_names() -> None:
    assert result_name(5003) == "DIAMETER_AUTHORIZATION_REJECTED"
    assert result_name(2) is None


# What other people's dictionary calls an AVP that ours calls otherwise: ours goes by the documents.
OTHER_NAMES = {
    (VENDOR_3GPP, 634): "Wildcarded-PSI",
    (VENDOR_3GPP, 647): "Associated-Registered-Identities",
    (0, 50): "Accounting-Multi-Session-Id",
    (VENDOR_3GPP, 606): "Cx-User-Data",
}


@pytest.mark.parametrize("vendor_id", [0, VENDOR_3GPP])
def test_dictionary_against_python_diameter(vendor_id: int) -> None:
    """Two dictionaries written apart agree in names, and in what is a group, a number, a time."""
    theirs = pytest.importorskip("diameter.message.avp.dictionary")
    types = pytest.importorskip("diameter.message.avp")
    known = theirs.AVP_VENDOR_DICTIONARY[vendor_id] if vendor_id else theirs.AVP_DICTIONARY
    probe = b"\0\0\0\1" * 2
    compared = 0
    for code, info in known.items():
        avp = Avp(code, b"", vendor_id=vendor_id or None)
        if avp.name == "AVP" or (not vendor_id and 400 <= code <= 406):
            continue
        compared += 1
        name = OTHER_NAMES.get((vendor_id, code), avp.name)
        assert info["name"].removeprefix("3GPP-") == name
        kind = info["type"]
        small, large = (Avp(code, probe[:n], vendor_id=vendor_id or None).value for n in (4, 8))
        four = (types.AvpUnsigned32, types.AvpInteger32, types.AvpEnumerated)
        eight = (types.AvpUnsigned64, types.AvpInteger64)
        assert isinstance(small, int) == issubclass(kind, four), avp.name
        assert isinstance(large, int) == issubclass(kind, eight), avp.name
        assert isinstance(small, datetime) == issubclass(kind, types.AvpTime), avp.name
        grouped = isinstance(Avp(code, b"", vendor_id=vendor_id or None).value, tuple)
        assert grouped == issubclass(kind, types.AvpGrouped), avp.name
    assert compared > 50


# Properties

plain_avps = st.builds(
    Avp,
    st.integers(0, 2**32 - 1) | st.sampled_from([1, 55, 257, 260, 268, 279, 287, 401, 402]),
    st.binary(max_size=40),
    flags=st.integers(0, 0x7F),
    vendor_id=st.none() | st.integers(0, 2**32 - 1) | st.just(VENDOR_3GPP),
)
avps = st.recursive(
    plain_avps,
    lambda inner: st.builds(Avp, st.just(279), st.lists(inner, max_size=4)),
    max_leaves=9,
)


@given(st.lists(avps, max_size=6))
def test_what_is_written_is_read(written: list[Avp]) -> None:
    group = Avp(FAILED_AVP, written)
    assert group.avps == tuple(written)
    assert b"".join(avp.encode() for avp in group.avps) == group.data
    assert repr(group).isprintable() or "\n" in repr(group)


@given(st.binary(max_size=64))
def test_any_bytes_are_avps_or_a_parse_error(data: bytes) -> None:
    group = Avp(FAILED_AVP, data)
    fault = None
    try:
        assert b"".join(avp.encode() for avp in group.avps) == data
    except ParseError as error:
        fault = error
    if fault is not None:
        assert 0 <= fault.offset <= len(data)
        assert group.value == data
    assert all(line.isprintable() for line in repr(group).split("\n"))


@given(st.sampled_from([1, 25, 55, 257, 268, 279, 287, 480, UNKNOWN]), st.binary(max_size=20))
def test_a_value_makes_the_same_avp_again(code: int, data: bytes) -> None:
    avp = Avp(code, data)
    assert Avp(code, avp.value).data == data
