"""A SIP server with pjsua2 (PJSIP): a call needs the right password and the group "voicemail".

    pip install auth-diameter pjsua2-python
    python pjsua2_server.py --listen 127.0.0.1:5060 --disc 127.0.0.1:3000

pjsua2 is made for telephones: it drops a REGISTER without a reply, and shows it to no application. It answers
MESSAGE, OPTIONS and SUBSCRIBE by itself, so only calls are authenticated here. The build in pjsua2-python has
room for four calls at a time (PJSUA_MAX_CALLS).
"""

import argparse
import contextlib
import itertools
import queue
from functools import partial

import pjsua2 as pj

import auth_diameter as ad

Headers = tuple[tuple[str, str], ...]

# pjsua2 calls back inside `libHandleEvents`, in the main thread, and goes on when the callback returns. One
# that waited for DISC would stop all calls, so a callback only asks. The decision comes in another thread,
# which must not touch pjsua2: it puts the answer into this queue, and the main thread takes it out between
# two `libHandleEvents`.
answers: queue.SimpleQueue[tuple[int, int, str, Headers]] = queue.SimpleQueue()

# All calls that have not ended. PJSIP uses its own numbers again, so each has another one here. Nothing else
# may keep a Call: if it is deleted late, the call that now has its number in PJSIP is hung up.
calls: dict[int, "Call"] = {}
numbers = itertools.count()


class Call(pj.Call):
    """A call that waits for its answer, or goes on."""

    number: int

    def onCallState(self, prm: pj.OnCallStateParam) -> None:  # noqa: N802
        """Forgets a call that has ended."""
        if self.getInfo().state == pj.PJSIP_INV_STATE_DISCONNECTED:
            calls.pop(self.number, None)

    def finish(self, status: int, reason: str, headers: Headers) -> None:
        """Sends the final reply."""
        answer = pj.CallOpParam()
        answer.statusCode, answer.reason = status, reason
        for name, value in headers:
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            answer.txOption.headers.append(header)
        with contextlib.suppress(pj.Error):  # PJSIP cannot take the call: it has sent a refusal, and says why
            self.answer(answer)


class Account(pj.Account):
    """Where all calls come in."""

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:  # noqa: N802
        """Asks DISC about the INVITE."""
        call = Call(self, prm.callId)
        call.number = number = next(numbers)
        calls[number] = call
        data = prm.rdata.wholeMsg.encode(errors="surrogateescape")
        host, port = prm.rdata.srcAddress.rsplit(":", 1)
        try:
            request = ad.SipRequest(data, (host.strip("[]"), int(port)))
        except ad.ParseError as error:
            answers.put((number, error.status, "Bad Request", ()))
        else:
            auth.ask(request, "$fd", partial(on_password, number, request), proxy=True)


def on_password(number: int, request: ad.SipRequest, decision: ad.Decision) -> None:
    """Goes on with the group, in another thread."""
    if decision:
        auth.ask_user_in(request, "Credentials", "voicemail", partial(on_group, number))
    else:
        answers.put((number, decision.status, decision.reason, decision.headers))


def on_group(number: int, decision: ad.Decision) -> None:
    """Takes the call or refuses it, in another thread."""
    answers.put((number, 200, "OK", ()) if decision else (number, 403, "Forbidden", ()))


parser = argparse.ArgumentParser()
parser.add_argument("--listen", default="127.0.0.1:5060", metavar="HOST:PORT")
parser.add_argument("--disc", default="127.0.0.1:3000", metavar="HOST:PORT")
options = parser.parse_args()
host, port = options.listen.rsplit(":", 1)
disc, disc_port = options.disc.rsplit(":", 1)

endpoint = pj.Endpoint()
endpoint.libCreate()
config = pj.EpConfig()
config.uaConfig.threadCnt = 0  # PJSIP starts no thread for callbacks
config.logConfig.consoleLevel = 1
endpoint.libInit(config)
endpoint.audDevManager().setNullDev()
transport = pj.TransportConfig()
transport.boundAddress, transport.port = host, int(port)
endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
endpoint.libStart()
account_config = pj.AccountConfig()
account_config.idUri = "sip:voicemail@localhost"
account_config.mediaConfig.transportConfig.boundAddress = host
account = Account()
account.create(account_config)

# With `use_domain` the group is that of alice@siphub.net, not of alice in any domain.
settings = ad.Config(diameter_client_host=disc, diameter_client_port=int(disc_port), use_domain=True)
with ad.AuthDiameter(settings) as auth:
    print(f"listening on {options.listen}", flush=True)
    while True:
        endpoint.libHandleEvents(10)  # milliseconds: the longest that an answer waits
        while not answers.empty():
            number, *answer = answers.get()
            if number in calls:  # the caller has not given up
                calls[number].finish(*answer)
