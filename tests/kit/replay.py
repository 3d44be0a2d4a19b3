"""Playing captured exchanges again: questions without the C module's quirks, and answers as it reads them."""

from __future__ import annotations

import struct
from pathlib import Path

from kit.wire import CHALLENGE, RESOURCE, RESPONSE, RESULT_CODE, SERVICE_TYPE, SIP_MSGID, USER_NAME

from auth_diameter import Message
from auth_diameter._core import AaRequest, Batch, RequestStream
from auth_diameter.disc.server import Disc
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore


class TakesAllNonces(Disc):
    """Takes the nonces of another DISC for its own, so that captured digests can be judged."""

    def begin(self, requests: list[AaRequest], now: float) -> Batch:
        for request in requests:
            credentials = request.question.credentials
            if credentials is not None:
                algorithm = credentials.canonical_algorithm or ""
                # A count below the first one that clients use.
                self._driver.verifier.uses.add(
                    credentials.nonce, credentials.realm, algorithm, "", 0, 0, now, now
                )
        return super().begin(requests, now)


def fill_store(path: Path) -> SqliteStore:
    """The subscribers that the captures speak of."""
    with Accounts.create(path / "disc.sqlite") as store:
        store.add_user("alice", "siphub.net", "wonderland")
        store.add_user("bob", "siphub.net", "looking-glass")
        store.add_group("alice", "siphub.net", "voicemail")
        store.add_group("bob", "siphub.net", "voicemail")
    return SqliteStore.open(path / "disc.sqlite")


def undo_quirks(data: bytes) -> dict[int, bytes]:
    """The AVPs of a question, in order, as they would be without the C module's quirks.

    NUL bytes at the end of User-Name and Resource; a NUL for the colon between host and port; the
    last byte of User-Name cut off where credentials have a username without "@".
    """
    message = Message.decode(data)
    found = {avp.code: bytes(avp.data) for avp in message.avps if avp.code != SIP_MSGID}
    found[USER_NAME] = found[USER_NAME].rstrip(b"\0")
    if RESOURCE in found:
        found[RESOURCE] = found[RESOURCE].rstrip(b"\0").replace(b"\0", b":")
    if RESPONSE in found:
        name = found[RESPONSE].partition(b'username="')[2].partition(b'"')[0]
        if b"@" not in name:
            found[USER_NAME] = b"%b@%b" % (
                name,
                found[RESPONSE].partition(b'realm="')[2].partition(b'"')[0],
            )
    return found


def read_question(data: bytes) -> AaRequest:
    stream = RequestStream()
    (question,) = stream.feed(data)
    assert stream.fault is None
    return question


def read_as_the_c_module(answer: bytes, question: bytes) -> tuple[int, bytes | None]:
    """Result-Code and Challenge of an answer, read as narrowly as the C module reads it.

    It wants SIP-MSGID, Service-Type and Result-Code in every answer, and no AVP without data; the
    Challenge it copies as it is, so that a CRLF must end it.
    """
    version, length = answer[0], int.from_bytes(answer[1:4], "big")
    assert (version, length) == (1, len(answer))
    assert answer[4] & 0x80 == 0
    assert answer[5:8] == b"\0\1\x09"
    found = {}
    at = 20
    while at < len(answer):
        assert at + 12 <= len(answer), "no room for an AVP with data"
        code, flags_and_length = struct.unpack_from("!II", answer, at)
        size = flags_and_length & 0xFFFFFF
        assert 8 < size <= len(answer) - at
        assert code not in found
        found[code] = answer[at + 8 : at + size]
        at += (size + 3) & ~3
    assert at == len(answer)
    asked = {avp.code: bytes(avp.data) for avp in Message.decode(question).avps}
    assert found[SIP_MSGID] == asked[SIP_MSGID]
    assert found[SERVICE_TYPE] == asked[SERVICE_TYPE]
    challenge = found.get(CHALLENGE)
    if challenge is not None:
        assert challenge.startswith(b'Digest realm="')
        assert challenge.endswith(b'"\r\n')
        assert challenge.count(b"\r\n") == 1
    return int.from_bytes(found[RESULT_CODE], "big"), challenge
