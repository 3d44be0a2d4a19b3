"""A SIP server with sippy: REGISTER needs the right password, a call also the group "voicemail".

    pip install auth-diameter sippy
    python sippy_server.py --listen 127.0.0.1:5060 --disc 127.0.0.1:3000

sippy has a loop of its own, which reads no other message until `recvRequest` returns. So the functions of the
adapter return at once, and call back in that loop.
"""

import argparse
from functools import partial
from typing import Any

from sippy.CCEvents import CCEventConnect, CCEventDisconnect, CCEventTry
from sippy.Core.EventDispatcher import ED2
from sippy.MsgBody import MsgBody
from sippy.SipConf import SipConf
from sippy.SipTransactionManager import SipTransactionManager
from sippy.Time.Timeout import Timeout
from sippy.UA import UA

from auth_diameter.adapters import sippy

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"


class Calls:
    """Who may register and call."""

    def __init__(self, host: str, port: int) -> None:
        self.config: dict[str, Any] = {"_sip_address": host, "_sip_port": port, "_sip_logger": Quiet()}
        self.config["_sip_tm"] = SipTransactionManager(self.config, self.recv_request)

    def recv_request(self, req: Any, sip_t: Any) -> tuple[Any, Any, Any]:
        """Begins to judge a request that belongs to no call; sippy's own objects take the others."""
        if req.getMethod() == "REGISTER":
            return sippy.diameter_www_authorize(req, "$td", partial(self.registered, req, sip_t))
        if req.getMethod() == "INVITE":
            return sippy.diameter_proxy_authorize(req, "$fd", partial(self.known, req, sip_t))
        return req.genResponse(501, "Not Implemented"), None, None

    def registered(self, req: Any, sip_t: Any, code: int, response: Any) -> None:
        """Answers a REGISTER; your registrar goes here."""
        self.answer(sip_t, response or req.genResponse(200, "OK"))

    def known(self, req: Any, sip_t: Any, code: int, response: Any) -> None:
        """Goes on with the call of somebody whose password was right."""
        if code != 1:
            self.answer(sip_t, response)
            return
        sippy.diameter_is_user_in(req, "Credentials", "voicemail", partial(self.member, req, sip_t))

    def member(self, req: Any, sip_t: Any, code: int, response: None) -> None:
        """Takes the call of a member of the group; your application goes here."""
        if code != 1:
            self.answer(sip_t, req.genResponse(403, "Forbidden"))
            return
        ua = UA(self.config, self.on_event)
        sippy.answer(self.config["_sip_tm"], sip_t, ua.recvRequest(req, sip_t))

    def on_event(self, event: Any, ua: Any) -> None:
        """Takes what happens in a call."""
        if isinstance(event, CCEventTry):
            # sippy sends from several threads: without a pause the 200 may overtake the 100.
            Timeout(ua.recvEvent, 0.1, 1, CCEventConnect((200, "OK", MsgBody(SDP))))
        elif not isinstance(event, CCEventConnect | CCEventDisconnect):
            ua.recvEvent(CCEventDisconnect())

    def answer(self, sip_t: Any, response: Any) -> None:
        """Sends a response of ours."""
        sippy.answer(self.config["_sip_tm"], sip_t, (response, None, None))


class Quiet:
    """A logger of sippy that writes nothing."""

    level = 99

    def write(self, *args: Any, **kwargs: Any) -> None:
        """Writes nothing."""


parser = argparse.ArgumentParser(description="A SIP server with sippy that asks DISC who is calling.")
parser.add_argument("--listen", default="127.0.0.1:5060", metavar="HOST:PORT")
parser.add_argument("--disc", default="127.0.0.1:3000", metavar="HOST:PORT")
options = parser.parse_args()
listen, listen_port = options.listen.rsplit(":", 1)
disc, disc_port = options.disc.rsplit(":", 1)
# With `use_domain` the group is that of alice@siphub.net, not of alice in any domain.
sippy.configure(diameter_client_host=disc, diameter_client_port=int(disc_port), use_domain=True)
SipConf.my_uaname = "auth-diameter's example"
calls = Calls(listen, int(listen_port))
print(f"listening on {options.listen}", flush=True)
ED2.loop()
