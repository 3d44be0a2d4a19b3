"""tshark reads what our SIP host and our DISC say to each other, captured on loopback.

The AVP codes 400 to 406 mean one thing to DISC and another in the NASREQ application of RFC 7155,
which Wireshark knows. So most tests here give it a dictionary in which they mean what DISC means.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.tshark import Tshark

pytestmark = pytest.mark.peers

USER_NAME, CALLING_STATION_ID, SESSION_ID, RESULT_CODE, DESTINATION_REALM = 1, 31, 263, 268, 283
RESOURCE, RESPONSE, CHALLENGE, METHOD, SERVICE_TYPE, USER_GROUP, SIP_MSGID = range(400, 407)
CALLS = 5


@pytest.fixture(scope="module")
def tshark(plain_tshark: Tshark) -> Iterator[Tshark]:
    """tshark with the seven AVPs of DISC in the place of NASREQ's."""
    folders = subprocess.run(
        [plain_tshark.program, "-G", "folders"], capture_output=True, text=True, check=True
    )
    installed = Path(re.search(r"^Global configuration:\s*(.+)$", folders.stdout, re.M)[1].strip())
    # Not in pytest's own folder: that is closed to the user that tshark runs as.
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary)
        data.chmod(0o755)
        for entry in installed.iterdir():
            if entry.name != "diameter":
                (data / entry.name).symlink_to(entry)
        shutil.copytree(installed / "diameter", data / "diameter")
        nasreq = data / "diameter" / "nasreq.xml"
        nasreq.write_text(_with_disc_avps(nasreq.read_text()))
        yield Tshark(plain_tshark.program, data)


def _with_disc_avps(dictionary: str) -> str:
    names = ("Resource", "Response", "Challenge", "Method", "Service", "User-Group", "SIP-MSGID")
    for code, name in enumerate(names, start=RESOURCE):
        kind = "OctetString" if code == SIP_MSGID else "UTF8String"
        ours = f'<avp name="DISC-{name}" code="{code}"><type type-name="{kind}"/></avp>'
        dictionary, replaced = re.subn(rf'<avp [^>]*code="{code}".*?</avp>', ours, dictionary, flags=re.S)
        assert replaced == 1, f"Wireshark's dictionary holds AVP {code} {replaced} times"
    return dictionary


@pytest.fixture
def capture(record, disc, serve, sipp, people) -> bytes:
    """Calls that are challenged, let through, and asked for their group: three questions each."""
    stop = record(disc[1])
    route = Path(__file__).parent / "route_group.py"
    calls = sipp("invite.xml", to=serve(route), user=people["member"], calls=CALLS)
    assert (calls.successful, calls.failed) == (CALLS, 0), calls.report
    return stop(3 * CALLS)


def test_every_message_is_well_formed(capture, disc, tshark):
    """No malformed message, no wrong length, no flag that should not be there."""
    messages = tshark.messages(capture, disc[1])
    assert [message.complaints for message in messages if message.complaints] == []
    assert {message.command for message in messages} == {265}


def test_every_question_has_its_answer(capture, disc, tshark):
    """tshark pairs them by Hop-by-Hop, as RFC 6733, 3 has it: our DISC sends the question's back."""
    messages = tshark.messages(capture, disc[1])
    questions = [message for message in messages if message.request]
    answers = [message for message in messages if not message.request]
    assert len(questions) == len(answers) == 3 * CALLS
    assert all(answer.answer_to for answer in answers)
    assert len({question.hop_by_hop for question in questions}) == len(questions)
    assert len({question.avps[SIP_MSGID] for question in questions}) == len(questions)


def test_questions_hold_what_the_dialect_asks_for(capture, disc, tshark):
    """First without credentials, then with them, then for the group; each in its order of AVPs.

    `serve` adds where the request came from, and names the user of a group check with its domain.
    """
    identity = [RESOURCE, DESTINATION_REALM, SERVICE_TYPE, SIP_MSGID, USER_NAME]
    source = [CALLING_STATION_ID, SESSION_ID]
    group = [DESTINATION_REALM, SERVICE_TYPE, SIP_MSGID, USER_GROUP, USER_NAME]
    kinds: dict[tuple[int, ...], list[dict[int, str]]] = {}
    for message in tshark.messages(capture, disc[1]):
        if message.request:
            kinds.setdefault(tuple(message.avps), []).append(message.avps)
    assert {codes: len(seen) for codes, seen in kinds.items()} == {
        (*identity, *source): CALLS,
        (*identity, RESPONSE, METHOD, *source): CALLS,
        tuple(group): CALLS,
    }
    first = kinds[(*identity, *source)][0]
    assert first[RESOURCE] == "voicemail@siphub.net"
    assert first[DESTINATION_REALM] == "siphub.net"
    assert first[SERVICE_TYPE] == "6"
    assert first[USER_NAME] == "alice@siphub.net"
    assert first[CALLING_STATION_ID] == "127.0.0.1"
    second = kinds[(*identity, RESPONSE, METHOD, *source)][0]
    assert second[RESPONSE].startswith("Digest ")
    assert 'username="alice"' in second[RESPONSE]
    assert second[METHOD] == "INVITE"
    third = kinds[tuple(group)][0]
    assert third[SERVICE_TYPE] == "8"
    assert third[USER_GROUP] == "voicemail"
    assert third[USER_NAME] == "alice@siphub.net"


def test_answers_hold_a_result_and_a_challenge_where_one_is_due(capture, disc, tshark):
    """4001 with a challenge for a question without credentials; 2001 and nothing more otherwise."""
    answers = [seen.avps for seen in tshark.messages(capture, disc[1]) if not seen.request]
    results = sorted(answer[RESULT_CODE] for answer in answers)
    assert results == ["2001"] * (2 * CALLS) + ["4001"] * CALLS
    for answer in answers:
        if answer[RESULT_CODE] == "4001":
            assert list(answer) == [RESULT_CODE, SIP_MSGID, SERVICE_TYPE, CHALLENGE]
            assert answer[CHALLENGE].startswith('Digest realm="siphub.net"')
        else:
            assert list(answer) == [RESULT_CODE, SIP_MSGID, SERVICE_TYPE]


def test_without_its_dictionary_the_dialect_looks_malformed(capture, disc, plain_tshark):
    """Why the dialect has a port of its own, and a check that the tests above would see an error.

    To NASREQ, AVP 401 is a group (Tunneling): text in it is an AVP of an impossible length.
    """
    complaints = [seen.complaints for seen in plain_tshark.messages(capture, disc[1])]
    assert any("Wrong AVP" in complaint for some in complaints for complaint in some)
