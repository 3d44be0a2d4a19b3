"""A SIP server with aiosipua: REGISTER needs the right password, a call also the group "voicemail".

    pip install auth-diameter aiosipua
    python aiosipua_server.py --listen 127.0.0.1:5060 --disc 127.0.0.1:3000

aiosipua's SipUAS takes calls, but no REGISTER, and its `reject` adds no header fields. So this server judges
each request itself, and hands the SipUAS only those that are let through.
"""

import argparse
import asyncio

from aiosipua import SipMessage, SipRequest, SipResponse, SipUAS, UdpSipTransport

import auth_diameter as ad


async def judge(auth: ad.AsyncAuthDiameter, request: ad.SipRequest) -> tuple[bool, bytes | None]:
    """Whether the SipUAS gets the request, and the reply if it does not."""
    if request.method in ("ACK", "BYE", "CANCEL"):  # the SipUAS takes them only for a call that it has
        return True, None
    if request.method == "REGISTER":
        decision = await auth.diameter_www_authorize(request, "$td")
        return False, request.reply(200, "OK", request.contact_headers()) if decision else decision.reply
    decision = await auth.diameter_proxy_authorize(request, "$fd")
    if decision and not await auth.diameter_is_user_in(request, "Credentials", "voicemail"):
        return False, request.reply(403, "Forbidden")
    return bool(decision), decision.reply


async def serve(listen: str, config: ad.Config) -> None:
    """Serves until the program is ended."""
    host, port = listen.rsplit(":", 1)
    transport = UdpSipTransport(local_addr=(host, int(port)))
    uas = SipUAS(transport)
    uas.on_invite = lambda call: call.accept()  # your application goes here, and answers with SDP
    judging: dict[bytes, asyncio.Task[None]] = {}

    async def go_on(message: SipRequest, request: ad.SipRequest, source: tuple[str, int]) -> None:
        let_through, reply = await judge(auth, request)
        if let_through:
            to_uas(message, source)
        elif reply:
            transport.send_reply(SipMessage.parse(reply))

    def on_message(message: SipRequest | SipResponse, source: tuple[str, int]) -> None:
        data = bytes(message)
        if isinstance(message, SipRequest) and data not in judging:  # it is no retransmission
            request = ad.SipRequest(data, source)  # if it is malformed, aiosipua logs the ParseError
            judging[data] = asyncio.create_task(go_on(message, request, source))
            judging[data].add_done_callback(lambda _: judging.pop(data))

    async with ad.AsyncAuthDiameter(config) as auth:
        await uas.start()
        to_uas, transport.on_message = transport.on_message, on_message
        print(f"listening on {listen}", flush=True)
        await asyncio.Event().wait()


parser = argparse.ArgumentParser(description="A SIP server with aiosipua that asks DISC who is calling.")
parser.add_argument("--listen", default="127.0.0.1:5060", metavar="HOST:PORT")
parser.add_argument("--disc", default="127.0.0.1:3000", metavar="HOST:PORT")
options = parser.parse_args()
disc, disc_port = options.disc.rsplit(":", 1)
# With `use_domain` the group is that of alice@siphub.net, not of alice in any domain.
settings = ad.Config(diameter_client_host=disc, diameter_client_port=int(disc_port), use_domain=True)
asyncio.run(serve(options.listen, settings))
