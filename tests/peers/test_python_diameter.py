"""Our Diameter codec, our client and our DISC against python-diameter, a codec we did not write.

python-diameter knows the AVPs 400 to 406 as NASREQ's, two of them as groups. In a plain message
(`plain_msg=True`) it leaves their content alone; so it reads and writes the DISC dialect here.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import diameter.message as pd
import pytest
from diameter.message import avp as pd_avp
from diameter.message import commands as pd_commands
from diameter.message.avp import grouped as pd_grouped
from hypothesis import given
from hypothesis import strategies as st
from kit.disc import FakeConnection, FakeDisc
from kit.sip import build_request
from kit.wire import (
    AA,
    CHALLENGE,
    DESTINATION_REALM,
    METHOD,
    RESOURCE,
    RESPONSE,
    RESULT_CODE,
    SERVICE_TYPE,
    SIP_MSGID,
    USER_GROUP,
    USER_NAME,
    Connection,
)

import auth_diameter as ad

TGPP = 10415  # the vendor id of 3GPP


# -- one codec against the other -------------------------------------------------------------------


class Tree(NamedTuple):
    """An AVP as both codecs can build it: its content is bytes, or AVPs of a group."""

    code: int
    content: "bytes | list[Tree]"
    flags: int = 0x40
    vendor_id: int | None = None


def ours(tree: Tree) -> ad.Avp:
    """The AVP as our codec builds it."""
    content = tree.content
    data = content if isinstance(content, bytes) else [ours(member) for member in content]
    return ad.Avp(tree.code, data, flags=tree.flags, vendor_id=tree.vendor_id)


def theirs(tree: Tree) -> pd.Avp:
    """The AVP as python-diameter builds it."""
    content = tree.content
    if isinstance(content, bytes):
        return pd.Avp(tree.code, tree.vendor_id or 0, content, tree.flags)
    group = pd_avp.AvpGrouped(tree.code, tree.vendor_id or 0, flags=tree.flags)
    group.value = [theirs(member) for member in content]
    return group


def check_ours(avp: ad.Avp, tree: Tree) -> None:
    """What our codec read is what went in."""
    assert avp.code == tree.code
    assert avp.vendor_id == tree.vendor_id
    assert avp.flags == tree.flags | (0 if tree.vendor_id is None else 0x80)
    if isinstance(tree.content, bytes):
        assert avp.data == tree.content
    else:
        assert len(avp.avps) == len(tree.content)
        for member, expected in zip(avp.avps, tree.content, strict=True):
            check_ours(member, expected)


def check_theirs(avp: pd.Avp, tree: Tree) -> None:
    """What python-diameter read is what went in."""
    assert avp.code == tree.code
    assert avp.vendor_id == (tree.vendor_id or 0)
    assert avp.flags == tree.flags | (0 if tree.vendor_id is None else 0x80)
    if isinstance(tree.content, bytes):
        assert avp.payload == tree.content
    else:
        members = pd_avp.AvpGrouped(payload=avp.payload).value
        assert len(members) == len(tree.content)
        for member, expected in zip(members, tree.content, strict=True):
            check_theirs(member, expected)


unsigned32 = st.integers(0, 2**32 - 1)
# A Vendor-ID of 0 with the V flag set means none to python-diameter; RFC 6733 has no use for it.
trees = st.recursive(
    st.builds(
        Tree,
        code=unsigned32,
        content=st.binary(max_size=70),
        flags=st.sampled_from([0x00, 0x20, 0x40, 0x60]),
        vendor_id=st.none() | st.integers(1, 2**32 - 1),
    ),
    lambda members: st.builds(
        Tree,
        code=unsigned32,
        content=st.lists(members, min_size=1, max_size=4),
        flags=st.just(0x40),
        vendor_id=st.none() | st.just(TGPP),
    ),
    max_leaves=12,
)
headers = st.fixed_dictionaries(
    {
        # Commands that python-diameter has a class for: in others it looks into each AVP, whose data here is
        # mostly none that the AVP's type allows.
        "command": st.sampled_from([257, 258, 265, 271, 272, 274, 275, 280, 282, 303, 316, 8388635]),
        "flags": st.sampled_from([0x00, 0x20, 0x40, 0x60, 0x80, 0x90, 0xC0, 0xD0]),
        "application_id": unsigned32,
        "hop_by_hop": unsigned32,
        "end_to_end": unsigned32,
    }
)


@given(headers, st.lists(trees, max_size=6))
def test_any_message_of_ours_reads_the_same_there(header, content):
    """Header, lengths, padding, groups and vendor ids; and written again, it is the same bytes."""
    command, fields = header["command"], {**header}
    del fields["command"]
    data = ad.Message(command, [ours(tree) for tree in content], **fields).encode()

    message = pd.Message.from_bytes(data, plain_msg=True)

    assert message.header.command_code == command
    assert message.header.command_flags == header["flags"]
    assert message.header.application_id == header["application_id"]
    assert message.header.hop_by_hop_identifier == header["hop_by_hop"]
    assert message.header.end_to_end_identifier == header["end_to_end"]
    assert message.header.length == len(data)
    assert len(message.avps) == len(content)
    for avp, tree in zip(message.avps, content, strict=True):
        check_theirs(avp, tree)
    assert message.as_bytes() == data


@given(headers, st.lists(trees, max_size=6))
def test_any_message_of_theirs_reads_the_same_here(header, content):
    """The same the other way round."""
    data = pd.Message(
        pd.MessageHeader(
            command_code=header["command"],
            command_flags=header["flags"],
            application_id=header["application_id"],
            hop_by_hop_identifier=header["hop_by_hop"],
            end_to_end_identifier=header["end_to_end"],
        ),
        [theirs(tree) for tree in content],
    ).as_bytes()

    message = ad.Message.decode(data)

    assert {name: getattr(message, name) for name in header} == header
    assert len(message.avps) == len(content)
    for avp, tree in zip(message.avps, content, strict=True):
        check_ours(avp, tree)
    assert message.encode() == data


# -- messages as they are used ---------------------------------------------------------------------


def u32(number: int) -> bytes:
    """The data of an Unsigned32 or Enumerated AVP."""
    return number.to_bytes(4, "big")


def test_capabilities_exchange_of_ours_has_its_meaning_there():
    """RFC 6733, 5.3.1: addresses of both families, a group, an AVP without the M flag."""
    application = [Tree(266, u32(TGPP)), Tree(258, u32(16777216))]
    content = [
        Tree(264, b"sip1.siphub.net"),
        Tree(296, b"siphub.net"),
        Tree(257, b"\x00\x01\x7f\x00\x00\x01"),
        Tree(257, b"\x00\x02" + bytes(15) + b"\x01"),
        Tree(266, u32(0)),
        Tree(269, b"auth-diameter", flags=0),
        Tree(260, application),
    ]
    message = ad.Message(257, [ours(tree) for tree in content], hop_by_hop=7, end_to_end=9)

    read = pd.Message.from_bytes(message.encode())

    assert isinstance(read, pd_commands.CapabilitiesExchangeRequest)
    assert read.header.hop_by_hop_identifier == 7
    assert read.header.end_to_end_identifier == 9
    assert read.origin_host == b"sip1.siphub.net"
    assert read.origin_realm == b"siphub.net"
    assert read.host_ip_address == [(1, "127.0.0.1"), (2, "::1")]
    assert read.vendor_id == 0
    assert read.product_name == "auth-diameter"
    [group] = read.vendor_specific_application_id
    assert (group.vendor_id, group.auth_application_id) == (TGPP, 16777216)


def test_multimedia_auth_of_theirs_has_its_meaning_here():
    """3GPP TS 29.229 6.1.7, Cx: vendor AVPs within a vendor's group."""
    request = pd_commands.MultimediaAuthRequest()
    request.header.hop_by_hop_identifier = 0x01020304
    request.header.application_id = 16777216
    request.session_id = "scscf.siphub.net;1;2"
    request.auth_session_state = 1
    request.origin_host = b"scscf.siphub.net"
    request.origin_realm = b"siphub.net"
    request.destination_realm = b"siphub.net"
    request.user_name = "alice@siphub.net"
    request.public_identity = ["sip:alice@siphub.net"]
    request.server_name = "sip:scscf.siphub.net"
    # The attribute sip_auth_data_item is RFC 4740's AVP 376; Cx has one of its own.
    item = [
        pd.Avp.new(608, TGPP, value="SIP Digest"),
        pd.Avp.new(610, TGPP, value=b'Digest username="alice"'),
    ]
    request.append_avp(pd.Avp.new(612, TGPP, value=item))

    message = ad.Message.decode(request.as_bytes())

    assert (message.command, message.application_id) == (303, 16777216)
    assert message.flags & 0x80
    assert message.hop_by_hop == 0x01020304
    assert message.find(1).data == b"alice@siphub.net"
    assert message.find(601) is None  # without the vendor it is another AVP
    assert message.find(601, TGPP).data == b"sip:alice@siphub.net"
    members = {(avp.code, avp.vendor_id): avp.data for avp in message.find(612, TGPP).avps}
    assert members == {(608, TGPP): b"SIP Digest", (610, TGPP): b'Digest username="alice"'}
    assert message.encode() == request.as_bytes()


def test_credit_control_of_theirs_has_its_meaning_here():
    """RFC 8506, 3.1: groups within a group."""
    request = pd_commands.CreditControlRequest()
    request.session_id = "sip1.siphub.net;1;2"
    request.origin_host = b"sip1.siphub.net"
    request.origin_realm = b"siphub.net"
    request.destination_realm = b"siphub.net"
    request.auth_application_id = 4
    request.service_context_id = "voice@siphub.net"
    request.cc_request_type = 1
    request.cc_request_number = 0
    request.multiple_services_credit_control = [
        pd_grouped.MultipleServicesCreditControl(
            requested_service_unit=pd_grouped.RequestedServiceUnit(cc_time=60),
            rating_group=8,
        )
    ]

    message = ad.Message.decode(request.as_bytes())

    assert message.command == 272
    services = {avp.code: avp for avp in message.find(456).avps}
    assert services[432].data == u32(8)
    [time] = services[437].avps
    assert (time.code, time.data) == (420, u32(60))
    assert message.encode() == request.as_bytes()


# -- the DISC dialect ------------------------------------------------------------------------------

NASREQ = 1  # the application

CREDENTIALS = (
    'Digest username="alice", realm="siphub.net", nonce="5f3c9a1d", uri="sip:siphub.net", '
    'response="6629fae49393a05397450978507c4ef1", cnonce="0a4f113b", qop=auth, nc=00000001'
)


def contents(message: pd.Message) -> dict[int, bytes]:
    """Code → data of each AVP, in the order on the wire."""
    return {avp.code: avp.payload for avp in message.avps}


class ScriptedDisc(FakeDisc):
    """A DISC made of python-diameter: keeps each question, gives the answer that was laid out."""

    def __init__(self) -> None:
        super().__init__(self.answer, lambda data: pd.Message.from_bytes(data, plain_msg=True))
        self.result = 2001
        self.challenge = b""

    def answer(self, connection: FakeConnection, questions: list[pd.Message]) -> None:
        """The script."""
        for question in questions:
            asked = contents(question)
            header = pd.MessageHeader(
                command_code=AA,
                application_id=NASREQ,
                hop_by_hop_identifier=question.header.hop_by_hop_identifier,
                end_to_end_identifier=question.header.end_to_end_identifier,
            )
            avps = [
                pd.Avp.new(RESULT_CODE, value=self.result),
                pd.Avp(SIP_MSGID, payload=asked[SIP_MSGID]),
                pd.Avp(SERVICE_TYPE, payload=asked[SERVICE_TYPE], flags=0x40),
            ]
            if self.challenge:
                avps.append(pd.Avp(CHALLENGE, payload=self.challenge, flags=0x40))
            connection.send(pd.Message(header, avps).as_bytes())


@pytest.fixture
def scripted_disc() -> Iterator[ScriptedDisc]:
    """A DISC that answers whatever the test lays out."""
    with ScriptedDisc() as disc:
        yield disc


@pytest.fixture
def client(scripted_disc: ScriptedDisc) -> Iterator[ad.AuthDiameter]:
    """Our client, connected to it."""
    with ad.AuthDiameter(ad.Config(**scripted_disc.settings)) as connected:
        yield connected


def register(*headers: str) -> ad.SipRequest:
    """A REGISTER of alice, with headers of the test's own."""
    data = build_request("REGISTER", "sip:siphub.net", to="<sip:alice@siphub.net>", extra=headers)
    return ad.SipRequest(data, source=("127.0.0.1", 5066))


def test_question_without_credentials_reads_there_and_its_challenge_here(client, scripted_disc):
    """The first phase: five AVPs; 4001 and a challenge become 401."""
    challenge = b'Digest realm="siphub.net", nonce="5f3c9a1d", qop="auth"'
    scripted_disc.result, scripted_disc.challenge = 4001, challenge + b"\r\n"

    decision = client.diameter_www_authorize(register(), "$td")

    [question] = scripted_disc.questions
    assert (question.header.command_code, question.header.application_id) == (AA, NASREQ)
    assert question.header.is_request
    asked = contents(question)
    assert len(asked.pop(SIP_MSGID)) == 4
    assert asked == {
        RESOURCE: b"siphub.net",
        DESTINATION_REALM: b"siphub.net",
        SERVICE_TYPE: b"6",
        USER_NAME: b"alice@siphub.net",
    }
    assert {avp.code: avp.flags for avp in question.avps} == {
        **dict.fromkeys(asked, 0x40),
        SIP_MSGID: 0,
    }
    assert not decision
    assert decision.status == 401
    assert b"\r\nWWW-Authenticate: " + challenge + b"\r\n" in decision.reply


def test_question_with_credentials_reads_there_and_success_here(client, scripted_disc):
    """The second phase: the whole header value and the method go along; 2001 lets through."""
    decision = client.diameter_www_authorize(register(f"Authorization: {CREDENTIALS}"), "$td")

    [question] = scripted_disc.questions
    asked = contents(question)
    assert asked[RESPONSE] == CREDENTIALS.encode()
    assert asked[METHOD] == b"REGISTER"
    assert asked[USER_NAME] == b"alice@siphub.net"
    assert list(asked) == [
        *(RESOURCE, DESTINATION_REALM, SERVICE_TYPE, SIP_MSGID, USER_NAME),
        *(RESPONSE, METHOD),
    ]
    assert decision
    assert decision.return_code == 1


def test_refusal_of_theirs_is_forbidden_here(client, scripted_disc):
    """5003 becomes 403."""
    scripted_disc.result = 5003
    decision = client.diameter_www_authorize(register(f"Authorization: {CREDENTIALS}"), "$td")
    assert (decision.authorized, decision.status, decision.return_code) == (False, 403, -5)


@pytest.mark.parametrize(("result", "return_code"), [(2001, 1), (4001, -1)])
def test_group_check_reads_there_and_its_answer_here(client, scripted_disc, result, return_code):
    """Service-Type 8 and the group's name; User-Name is the user alone without `use_domain`."""
    request = register(f"Authorization: {CREDENTIALS}")
    assert client.diameter_www_authorize(request, "$td")
    scripted_disc.result = result

    decision = client.diameter_is_user_in(request, "Credentials", "voicemail")

    asked = contents(scripted_disc.questions[-1])
    assert len(asked.pop(SIP_MSGID)) == 4
    assert asked == {
        DESTINATION_REALM: b"siphub.net",
        SERVICE_TYPE: b"8",
        USER_GROUP: b"voicemail",
        USER_NAME: b"alice",
    }
    assert decision.return_code == return_code
    assert decision.reply is None


@pytest.fixture
def ask(disc: tuple[str, int]) -> Iterator[Callable[..., Any]]:
    """Ask our DISC with questions that python-diameter builds, and let it read the answers."""
    with Connection(disc, decode=lambda data: pd.Message.from_bytes(data, plain_msg=True)) as connection:

        def question(avps: dict[int, bytes], hop_by_hop: int) -> pd.Message:
            header = pd.MessageHeader(
                command_code=AA,
                command_flags=0x80,
                application_id=NASREQ,
                hop_by_hop_identifier=hop_by_hop,
                end_to_end_identifier=hop_by_hop + 1,
            )
            message = pd.Message(
                header, [pd.Avp(code, payload=data, flags=0x40) for code, data in avps.items()]
            )
            connection.send(message.as_bytes())
            return connection.receive()

        yield question


def test_our_disc_challenges_a_question_of_theirs(ask):
    """4001; the message id, the service and both identifiers of the header come back."""
    asked = {
        RESOURCE: b"siphub.net",
        DESTINATION_REALM: b"siphub.net",
        SERVICE_TYPE: b"6",
        SIP_MSGID: b"\x01\x02\x03\x04",
        USER_NAME: b"alice@siphub.net",
    }
    message = ask(asked, hop_by_hop=0xFFFFFFF0)
    assert (message.header.command_code, message.header.application_id) == (AA, NASREQ)
    assert not message.header.is_request
    assert message.header.hop_by_hop_identifier == 0xFFFFFFF0
    assert message.header.end_to_end_identifier == 0xFFFFFFF1
    answer = contents(message)
    assert answer[RESULT_CODE] == u32(4001)
    assert answer[SIP_MSGID] == b"\x01\x02\x03\x04"
    assert answer[SERVICE_TYPE] == b"6"
    assert answer[CHALLENGE].startswith(b'Digest realm="siphub.net"')


@pytest.mark.parametrize(("user", "result"), [(b"alice", 2001), (b"bob", 4001), (b"mallory", 4001)])
def test_our_disc_answers_a_group_check_of_theirs(ask, user, result):
    """2001 for a member; 4001 without a challenge for a user outside the group, or none at all."""
    asked = {
        DESTINATION_REALM: b"siphub.net",
        SERVICE_TYPE: b"8",
        SIP_MSGID: b"\x00\x00\x00\x01",
        USER_GROUP: b"voicemail",
        USER_NAME: user,
    }
    answer = contents(ask(asked, hop_by_hop=1))
    assert answer[RESULT_CODE] == u32(result)
    assert answer[SERVICE_TYPE] == b"8"
    assert CHALLENGE not in answer
