"""Who can forge a source shall not turn the SIP/UDP host against its owner: how large a reply may be."""

import asyncio
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.disc import CHALLENGE_VALUE
from kit.host import replies_of
from kit.machine import until
from kit.sip import ACCOUNT, DOMAIN, shortest
from kit.wire import build_answer

import auth_diameter as ad
from auth_diameter._core import Avp, Penalties, decode_answer
from auth_diameter.client import authorizer
from auth_diameter.host import server as host_module
from auth_diameter.host.route import load_route
from auth_diameter.lab.uac import parse_reply


def test_a_usual_register_is_challenged_within_the_limit(run):
    """The shortest that a telephone sends: with what RFC 3261, 8.1.1 demands and a Contact."""

    async def scenario(host, phone):
        name, port = phone.local
        data = (
            f"REGISTER sip:{DOMAIN} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {name}:{port};branch=z9hG4bKnashds7;rport\r\n"
            "Max-Forwards: 70\r\n"
            f"From: <sip:{ACCOUNT}>;tag=456248\r\n"
            f"To: <sip:{ACCOUNT}>\r\n"
            "Call-ID: 843817637684230\r\n"
            "CSeq: 1826 REGISTER\r\n"
            f"Contact: <sip:alice@{name}>\r\n"
            "Content-Length: 0\r\n\r\n"
        ).encode()
        phone.send(data)
        return len(data), await phone.replies.get(), host.oversize

    size, reply, oversize = run(scenario)
    assert parse_reply(reply).status == 401
    assert oversize == 0
    assert size < 300
    assert len(reply) <= 2 * size


def test_a_small_request_is_challenged_in_512_bytes_at_most(run):
    """Or who sends small ones could never log in."""

    async def scenario(host, phone):
        phone.send(shortest())
        return await phone.replies.get(), host.oversize

    reply, oversize = run(scenario)
    assert parse_reply(reply).challenge() is not None
    assert 2 * len(shortest()) < len(reply) <= 512
    assert oversize == 0


def replies_to(datagram, *challenges, route=None):
    """What a host sends that gets these Challenges from DISC."""
    more = tuple(Avp(402, value) for value in challenges)

    def answer(question):
        return build_answer(question, 4001, more=more)

    return asyncio.run(replies_of(answer, datagram, route=route))


THREE = [
    f'Digest realm="{DOMAIN}", nonce="{"5e" * 20}", algorithm={name}, qop="auth"'.encode()
    for name in ("SHA-512-256", "SHA-256", "MD5")
]


def padded(size):
    data = shortest()
    return data.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * (size - len(data) - 5) + b"\r\n\r\n")


@pytest.mark.parametrize("size", range(160, 500, 10))
def test_of_several_challenges_as_many_as_fit_in_their_order(size):
    """RFC 8760, 2.4: the first is what the operator would have."""
    data = padded(size)
    assert len(data) == size
    [reply] = replies_to(data, *THREE)
    found = parse_reply(reply)
    assert (found.status, found.reason) == (401, "Unauthorized")
    names = [challenge.algorithm for challenge in found.challenges()]
    assert 1 <= len(names) <= 3
    assert names == ["SHA-512-256", "SHA-256", "MD5"][: len(names)]
    assert len(reply) <= 2 * size or (len(names) == 1 and len(reply) <= 512)
    if len(names) < 3:  # one more would have been too much
        assert len(reply) + len(b"WWW-Authenticate: ") + len(THREE[len(names)]) + 2 > 2 * size
    else:
        assert reply.endswith(b"\r\nContent-Length: 0\r\n\r\n")


def test_all_challenges_where_there_is_room():
    """The requests that telephones send have some 500 bytes. And the library leaves none out."""
    [reply] = replies_to(padded(500), *THREE)
    assert len(parse_reply(reply).challenges()) == 3
    answer = decode_answer(build_answer(1, 4001, more=tuple(Avp(402, value) for value in THREE)))
    auth = authorizer.Authorizer(ad.Config())
    question = auth.www_authorize(ad.SipRequest(shortest()), "$fd", 0.0)
    decision = auth.conclude(question, answer, 0.0)
    assert len(parse_reply(decision.reply).challenges()) == len(decision.headers) == 3


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_a_route_that_returns_the_decision_sends_what_fits(run, script, method):
    text = (
        "async def request_route(request, auth):\n"
        "    decision = await auth.diameter_proxy_authorize(request, '$fd')\n"
        "    headers = tuple(decision.headers) * 3\n"
        "    return type(decision)(-5, decision.cause, 407, decision.reply + b'x' * 600, headers=headers)\n"
    )

    async def scenario(host, phone):
        phone.send(shortest(method))
        return await phone.replies.get()

    reply = run(scenario, load_route(script(text)))
    assert len(parse_reply(reply).challenges()) == 1
    assert len(reply) <= 512


LARGE_ROUTE = """
async def request_route(request, auth):
    return request.reply(401, "Unauthorized", [("X", "x" * 300)])
"""


@pytest.mark.usefixtures("one_line_of_each_kind")
def test_a_reply_that_would_not_fit_is_a_400_that_says_so(run, script, caplog):
    async def scenario(host, phone):
        replies = []
        for _ in range(2):
            phone.send(shortest())
            replies.append(await phone.replies.get())
        return replies, host.oversize, host.retransmissions

    replies, oversize, retransmissions = run(scenario, load_route(script(LARGE_ROUTE)))
    for reply in replies:
        found = parse_reply(reply)
        assert (found.status, found.reason) == (400, "Request Too Short For Its Reply")
        assert found.challenge() is None
        assert len(reply) <= 2 * len(shortest())
    assert (oversize, retransmissions) == (1, 1)
    assert caplog.messages == ["a reply would be more than twice as large as its request"]


def test_a_challenge_of_more_than_512_bytes_is_a_400_that_says_so():
    [reply] = replies_to(shortest(), THREE[0] + b', opaque="' + b"x" * 400 + b'"', THREE[1])
    assert parse_reply(reply).reason == "Request Too Short For Its Reply"


@pytest.mark.parametrize("status", [401, 403])
def test_a_decision_without_a_challenge_has_twice_the_bytes_of_its_request_and_no_512(status):
    """A route may make any; nobody needs this one to log in."""

    async def route(request, auth):
        reply = request.reply(status, "No", [("X", "x" * 250)])
        assert 2 * request.data_size < len(reply) <= 512
        return ad.Decision(-5, ad.Cause.FORBIDDEN, status, reply)

    [reply] = replies_to(shortest(), route=route)
    assert parse_reply(reply).reason == "Request Too Short For Its Reply"


def test_a_400_that_would_not_fit_either_is_silence(run, script, monkeypatch):
    monkeypatch.setattr(host_module, "AMPLIFICATION", 1)
    text = LARGE_ROUTE.replace(
        "    return",
        "    if request.method != 'REGISTER':\n        return request.reply(200, 'OK')\n    return",
    )

    async def scenario(host, phone):
        phone.send(shortest())
        monkeypatch.setattr(host_module, "AMPLIFICATION", 1)
        await until(lambda: host.oversize)
        monkeypatch.setattr(host_module, "AMPLIFICATION", 2)
        await phone.expect_silence()

    run(scenario, load_route(script(text)))


BIG_ROUTE = """
async def request_route(request, auth):
    if AUTHORIZE:
        decision = await auth.diameter_www_authorize(request, "$fd")
        if not decision:
            return decision
    return request.reply(200, "OK", [("X-Big", "x" * 3000)])
"""


@pytest.mark.parametrize(("authorize", "status"), [(True, 200), (False, 400)])
def test_only_who_was_let_through_gets_a_large_reply_of_a_route(run, script, authorize, status):
    """He has answered a challenge that was sent to his address."""
    route = load_route(script(BIG_ROUTE.replace("AUTHORIZE", str(authorize))))

    async def scenario(host, phone):
        if authorize:
            return (await phone.log_in())[1]
        return await phone.call()

    assert run(scenario, route).status == status


@settings(max_examples=150)
@given(data=st.data())
def test_no_reply_is_more_than_twice_its_request_or_one_challenge_in_512_bytes(data):
    """Neither to what can be parsed nor to what cannot: pieces of a request left out at random."""
    lines = [
        b"REGISTER sip:a.example SIP/2.0",
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport",
        b"v: SIP/2.0/UDP b",
        b"From: <sip:a@a.example>;tag=1",
        b"To: <sip:a@a.example>",
        b"i: 1",
        b"CSeq: 1 REGISTER",
        b"Max-Forwards: x",
        b"X: " + b"y" * data.draw(st.integers(0, 200)),
    ]
    kept = [line for line in lines[1:] if data.draw(st.booleans())]
    datagram = b"\r\n".join([lines[0], *kept, b"", b""])
    for reply in replies_to(datagram, *[CHALLENGE_VALUE] * data.draw(st.integers(1, 3))):
        challenges = len(parse_reply(reply).challenges())
        assert len(reply) <= 2 * len(datagram) or (challenges == 1 and len(reply) <= 512)


def test_a_guesser_is_refused_without_disc_being_asked(run, counted, monkeypatch):
    # Seconds, for machines with much else to do.
    monkeypatch.setattr(authorizer, "Penalties", partial(Penalties, first=60.0))

    async def scenario(host, phone):
        replies = [(await phone.log_in(password=f"guess {number}"))[1] for number in range(6)]
        return replies, host._auth.counts[ad.Cause.PENALIZED]

    replies, penalized = run(scenario)
    assert {(reply.status, reply.reason) for reply in replies} == {(403, "Forbidden")}
    assert penalized == 1
    assert counted[0].asked == 6 + 5
