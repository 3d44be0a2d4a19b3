"""CER and CEA: RFC 6733, 5.3; those of other programs, and what is wrong with some."""

import pytest
from kit.captures import every_captured

from auth_diameter._core import Avp, Message, avp_code
from auth_diameter.diameter.base import CAPABILITIES_EXCHANGE, Node, avp_named, value_of
from auth_diameter.diameter.capabilities import (
    RELAY,
    Refusal,
    cea,
    cer,
    is_identity,
    read_cea,
    read_cer,
)

SIP, CX, VENDOR_3GPP = 6, 16777216, 10415
NODE = Node(
    host="disc.example.net",
    realm="example.net",
    applications=(SIP,),
    vendor_applications=((VENDOR_3GPP, CX),),
    state_id=1,
)


def is_success(message):
    return value_of(message, "Result-Code") == 2001


EXCHANGED = [one for one in every_captured() if one.message.command == CAPABILITIES_EXCHANGE]
OPENED = [
    one
    for one in EXCHANGED
    if (one.message.find(avp_code("Host-IP-Address")) if one.message.is_request else is_success(one.message))
]


def changed(message, *, without=(), extra=()):
    """The same message without AVPs of some names, and with further ones."""
    codes = {avp_code(name) for name in without}
    avps = [avp for avp in message.avps if avp.code not in codes]
    return Message(message.command, [*avps, *extra], flags=message.flags)


ASKED = cer(NODE, "192.0.2.1", 1)


@pytest.mark.parametrize("one", OPENED, ids=lambda one: f"{one.capture}@{one.seconds:.3f}")
def test_capabilities_of_other_programs(one):
    """freeDiameter, Kamailio, FHoSS, Erlang, OpenSIPS and python-diameter."""
    message = one.message
    found = read_cer(NODE, message) if message.is_request else read_cea(NODE, message, None)
    assert found.host == value_of(message, "Origin-Host").lower()
    assert found.has(SIP) or found.has(CX)


def test_a_cer_tells_all_applications():
    found = read_cer(NODE, ASKED)
    assert (found.host, found.realm, found.state_id) == ("disc.example.net", "example.net", 1)
    assert found.applications == {SIP, CX}
    assert ASKED.find(avp_code("Product-Name")).flags == 0  # 5.3.7: M must not be set
    assert str(value_of(ASKED, "Host-IP-Address")) == "192.0.2.1"
    assert value_of(ASKED, "Supported-Vendor-Id") == VENDOR_3GPP


def test_the_applications_of_kamailio_are_vendor_specific_and_carry_the_vendor():
    """Its cdp routes by vendor and application."""
    [inner] = [avp.value for avp in ASKED.find_all(avp_code("Vendor-Specific-Application-Id"))]
    assert [avp.value for avp in inner] == [VENDOR_3GPP, CX]


@pytest.mark.parametrize(
    "name", ["Origin-Host", "Origin-Realm", "Host-IP-Address", "Vendor-Id", "Product-Name"]
)
def test_what_a_cer_lacks_comes_back_in_failed_avp(name):
    """7.5: an example of the missing AVP, with zeros of its least size."""
    asked = changed(ASKED, without=[name])
    with pytest.raises(Refusal) as caught:
        read_cer(NODE, asked)
    assert caught.value.result == 5005
    found = cea(NODE, "192.0.2.2", asked, caught.value)
    [inner] = found.find(avp_code("Failed-AVP")).avps
    assert inner.code == avp_code(name)
    assert set(inner.data) <= {0}
    assert found.flags == 0


@pytest.mark.parametrize("text", ["", "a b", "ü.example.net", "x" * 256, "a\n", "a/b", b"\xff"])
def test_an_origin_host_that_is_no_identity_is_refused(text):
    asked = changed(ASKED, without=["Origin-Host"], extra=[avp_named("Origin-Host", text)])
    with pytest.raises(Refusal) as caught:
        read_cer(NODE, asked)
    assert caught.value.result == 5004
    assert caught.value.failed == asked.avps[-1]


IDS = {name: [avp_named(name, SIP)] for name in ("Auth-Application-Id", "Acct-Application-Id")}
IDS["Vendor-Specific-Application-Id"] = [
    avp_named("Vendor-Specific-Application-Id", [avp_named("Vendor-Id", 999), *IDS["Acct-Application-Id"]])
]


@pytest.mark.parametrize("avps", IDS.values(), ids=IDS)
def test_an_application_may_be_told_in_three_ways(avps):
    """5.3: the Vendor-Id must not be used."""
    assert read_cer(NODE, changed(ASKED, without=IDS, extra=avps)).has(SIP)


def test_a_relay_has_every_application():
    asked = changed(ASKED, without=IDS, extra=[avp_named("Auth-Application-Id", RELAY)])
    found = read_cer(NODE, asked)
    assert found.is_relay
    assert found.has(12345)


def test_without_a_common_application_there_is_no_connection():
    asked = changed(ASKED, without=IDS, extra=[avp_named("Auth-Application-Id", 4)])
    with pytest.raises(Refusal) as caught:
        read_cer(NODE, asked)
    assert caught.value.result == 5010


@pytest.mark.parametrize(("asked_for", "result"), [((), None), ((0,), None), ((0, 1), None), ((1,), 5017)])
def test_tls_after_the_cer_is_the_old_way(asked_for, result):
    asked = changed(ASKED, extra=[avp_named("Inband-Security-Id", number) for number in asked_for])
    if result is None:
        read_cer(NODE, asked)
        return
    with pytest.raises(Refusal) as caught:
        read_cer(NODE, asked)
    assert caught.value.result == result


def test_unknown_and_malformed_avps_do_not_matter():
    extra = [
        Avp(99_999, b"?", flags=0x40),
        Avp(1, b"x", vendor_id=99),
        Avp(avp_code("Vendor-Specific-Application-Id"), b"no group"),
        Avp(avp_code("Auth-Application-Id"), b"123456789"),
        Avp(avp_code("Origin-State-Id"), b""),
    ]
    assert read_cer(NODE, changed(ASKED, without=["Origin-State-Id"], extra=extra)).state_id is None


def test_the_unknown_peer_answer_of_freediameter_is_a_refusal():
    refused = [one.message for one in EXCHANGED if value_of(one.message, "Result-Code") == 3010]
    assert refused
    for message in refused:
        with pytest.raises(Refusal, match="3010"):
            read_cea(NODE, message, None)


def test_the_first_cer_of_kamailio_may_lack_its_address():
    """It comes again after Tc, and then has one."""
    lacking = [
        one.message
        for one in EXCHANGED
        if one.message.is_request and not one.message.find(avp_code("Host-IP-Address"))
    ]
    assert {value_of(message, "Product-Name") for message in lacking} == {"CDiameterPeer"}
    for message in lacking:
        with pytest.raises(Refusal, match="Host-IP-Address"):
            read_cer(NODE, message)


def test_a_cea_without_a_result_is_a_refusal():
    with pytest.raises(Refusal):
        read_cea(NODE, Message(CAPABILITIES_EXCHANGE, list(NODE.origin()), flags=0), None)


def test_the_reason_of_a_refusal_is_one_short_line():
    told = avp_named("Error-Message", "no\r\nX: y")
    refused = Message(CAPABILITIES_EXCHANGE, [avp_named("Result-Code", 3010), told], flags=0x20)
    with pytest.raises(Refusal) as caught:
        read_cea(NODE, refused, None)
    assert caught.value.why.isprintable()


@pytest.mark.parametrize(
    ("text", "right"), [("a", True), ("a-b.c_d.9", True), ("", False), ("a:b", False), ("ä", False)]
)
def test_identities(text, right):
    assert is_identity(text) == right
