"""A DISC of this process, and a telephone that asks it by way of a SIP server: question by question.

Questions are built with the general Diameter codec, so that nothing of the client stands in between.
"""

import itertools

import auth_diameter as ad
from auth_diameter._core import RequestStream
from auth_diameter.disc.server import Asker as SipServer
from auth_diameter.disc.server import Disc
from auth_diameter.lab.uac import authorization
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces

USER_NAME, CALLING_STATION_ID, BODY_HASH = 1, 31, 112
SESSION_ID, RESULT_CODE, FAILED_AVP, DESTINATION_REALM = 263, 268, 279, 283
RESOURCE, RESPONSE, CHALLENGE, METHOD, SERVICE_TYPE, SIP_MSGID = 400, 401, 402, 403, 404, 406

NOW = 1_800_000_000.0
REALM = "siphub.net"
PASSWORD = "wonderland"
KEY = b"sixteen secret bytes"
_ONE_AFTER_THE_OTHER = itertools.count(1)


class Asker:
    """:ivar end_to_end: what the SIP server says of a request; None: another for each; 0: OpenSER's module.

    :ivar session: the same for Session-Id; "": none is told.
    :ivar source: the address of the UAC as it is told; "": it is not.
    """

    def __init__(self, store, nonces=None, **settings):
        self.disc = Disc(store, VerifierConfig(**settings), nonces or Nonces(KEY))
        self.now = NOW
        self.end_to_end = None
        self.session = ""
        self.source = ""
        self.one_challenge = False
        self.counts = self.disc.counts

    def question(self, credentials=None, *, method="REGISTER", user="alice", body=None, resource=REALM):
        """The bytes of a question."""
        avps = [
            ad.Avp(RESOURCE, resource),
            ad.Avp(DESTINATION_REALM, REALM),
            ad.Avp(SERVICE_TYPE, b"6"),
            ad.Avp(SIP_MSGID, b"\1\2\3\4", flags=0),
            ad.Avp(USER_NAME, f"{user}@{REALM}"),
        ]
        if credentials is not None:
            avps += [ad.Avp(RESPONSE, credentials), ad.Avp(METHOD, method)]
        if body is not None:
            avps.append(ad.Avp(BODY_HASH, body, flags=0))
        if self.source:
            avps.append(ad.Avp(CALLING_STATION_ID, self.source, flags=0))
        if self.session:
            avps.append(ad.Avp(SESSION_ID, self.session))
        end_to_end = next(_ONE_AFTER_THE_OTHER) if self.end_to_end is None else self.end_to_end
        return ad.Message(265, avps, application_id=1, hop_by_hop=7, end_to_end=end_to_end).encode()

    def answer(self, *questions):
        """The answers to questions that come at once, in the order in which they are given."""
        out = bytearray()
        asked = RequestStream().feed(b"".join(questions))
        self.disc.answer(asked, out, self.now, SipServer(one_challenge=self.one_challenge))
        return [ad.Message.decode(data) for data in ad.Framer().feed(out)]

    def ask(self, credentials=None, **more):
        """The answer to one question."""
        (answer,) = self.answer(self.question(credentials, **more))
        return answer

    def challenges(self, credentials=None, **more):
        """Those of an answer 4001, by algorithm and in their order."""
        answer = self.ask(credentials, **more)
        assert code(answer) == 4001
        return challenges_of(answer)

    def respond(self, algorithm="MD5", *, user="alice", password=PASSWORD, method="REGISTER", **changes):
        """Credentials that answer a new challenge."""
        challenge = self.challenges(user=user)[algorithm]
        return authorization(challenge, user, password, method, f"sip:{REALM}", **changes)


def code(answer):
    """Its Result-Code."""
    return answer.find(RESULT_CODE).value


def challenges_of(answer):
    """Its challenges, by algorithm and in their order."""
    found = [ad.Challenge.parse(avp.data.removesuffix(b"\r\n")) for avp in answer.find_all(CHALLENGE)]
    return {challenge.algorithm: challenge for challenge in found}


def failed(answer):
    """The code of the AVP in Failed-AVP; None: there is none."""
    found = answer.find(FAILED_AVP)
    return None if found is None else int.from_bytes(found.data[:4], "big")
