"""UAR, SAR and LIR of RFC 4740, and what their answers say."""

from __future__ import annotations

from kit.hss import SipServer

from auth_diameter import Message
from auth_diameter.diameter.assignment import Assignment, Authorization
from auth_diameter.diameter.base import Node, answer, avp_named, result_of
from auth_diameter.diameter.sip import (
    LOCATION_INFO,
    SERVER_ASSIGNMENT,
    USER_AUTHORIZATION,
    Servers,
    SipRequests,
    servers_of,
)

REQUESTS = SipRequests(origin_host="sip.h.test", origin_realm="h.test")
ADDRESS = "sip:alice@siphub.net"
NODE: Node = SipServer.node


def names(message: Message) -> list[str]:
    """Of its AVPs behind the head that all have."""
    found = [avp.name for avp in message.avps]
    head = [
        "Session-Id",
        "Auth-Application-Id",
        "Auth-Session-State",
        "Origin-Host",
        "Origin-Realm",
        "Destination-Realm",
    ]
    assert found[: len(head)] == head
    return found[len(head) :]


def test_the_head_of_each() -> None:
    """RFC 6733, 3 and 8.8: flags R and P; each has a Session-Id of its own, with four parts."""
    sar = REQUESTS.sar(1, 2, "siphub.net", ADDRESS, "alice", "sip:r.siphub.net", Assignment.REGISTRATION)
    uar = REQUESTS.uar(3, 4, "siphub.net", ADDRESS)
    lir = REQUESTS.lir(5, 6, "siphub.net", ADDRESS)
    assert [message.command for message in (sar, uar, lir)] == [284, 283, 285]
    assert (SERVER_ASSIGNMENT, USER_AUTHORIZATION, LOCATION_INFO) == (284, 283, 285)
    for number, message in enumerate((sar, uar, lir)):
        assert (message.application_id, message.flags) == (6, 0xC0)
        assert (message.hop_by_hop, message.end_to_end) == (2 * number + 1, 2 * number + 2)
        assert Message.decode(message.encode()) == message
        assert all((avp.flags, avp.vendor_id) == (0x40, None) for avp in message.avps)
    sessions = {str(message.avps[0].value) for message in (sar, uar, lir)}
    assert len(sessions) == 3
    assert all(session.split(";")[0] == "sip.h.test" and session.count(";") == 3 for session in sessions)


def test_sar() -> None:
    """8.3."""
    sar = REQUESTS.sar(1, 2, "siphub.net", ADDRESS, "alice", "sip:r.siphub.net", Assignment.REGISTRATION)
    assert names(sar) == [
        "SIP-Server-Assignment-Type",
        "SIP-User-Data-Already-Available",
        "User-Name",
        "SIP-Server-URI",
        "SIP-AOR",
    ]


def test_uar_and_lir() -> None:
    """8.1 and 8.5."""
    assert names(REQUESTS.uar(1, 2, "siphub.net", ADDRESS)) == ["SIP-AOR"]
    kind = Authorization.REGISTRATION_AND_CAPABILITIES
    whole = REQUESTS.uar(1, 2, "siphub.net", ADDRESS, "alice", kind, "visited.net")
    assert names(whole) == ["SIP-AOR", "User-Name", "SIP-Visited-Network-Id", "SIP-User-Authorization-Type"]
    assert names(REQUESTS.lir(1, 2, "siphub.net", ADDRESS)) == ["SIP-AOR"]


def test_where_they_go() -> None:
    """RFC 6733, 6.1.4."""
    fixed = SipRequests(
        origin_host="sip.h.test",
        origin_realm="h.test",
        destination_realm="x.test",
        destination_host="disc.x.test",
    )
    message = fixed.lir(1, 2, "siphub.net", ADDRESS)
    found = {avp.name: avp.value for avp in message.avps}
    assert (found["Destination-Realm"], found["Destination-Host"]) == ("x.test", "disc.x.test")


def test_a_server_that_the_user_has() -> None:
    """8.2 and 8.6: UAA and LIA with SIP-Server-URI."""
    asked = REQUESTS.uar(1, 2, "siphub.net", ADDRESS)
    told = answer(NODE, asked, 2004, avp_named("SIP-Server-URI", "sip:r.siphub.net"))
    assert servers_of(Message.decode(told.encode())) == Servers(2004, "sip:r.siphub.net", (), ())


def test_a_server_to_be_chosen() -> None:
    """9.3: capabilities instead."""
    inner = [("Mandatory", 1), ("Mandatory", 7), ("Optional", 3)]
    avps = tuple(avp_named(f"SIP-{kind}-Capability", number) for kind, number in inner)
    asked = REQUESTS.lir(1, 2, "siphub.net", ADDRESS)
    told = answer(NODE, asked, 2005, avp_named("SIP-Server-Capabilities", avps))
    assert servers_of(Message.decode(told.encode())) == Servers(2005, None, (1, 7), (3,))


def test_an_answer_without_a_result() -> None:
    """Such as that of python-diameter to what it does not know: 20 bytes."""
    empty = Message(284, [], application_id=6)
    assert result_of(empty) is None
    assert servers_of(empty) == Servers(None, None, (), ())
