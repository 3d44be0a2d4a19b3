"""No secret in any log, exception, repr or stderr: forty of them, wherever they can come in."""

from __future__ import annotations

import asyncio
import gc
import io
import logging

import pytest
from hostile.processes import Phone, stop
from kit.answer_stream import AnswerStream
from kit.canaries import (
    CANARIES,
    CNONCES,
    HA1S,
    NONCE_KEYS,
    NONCES,
    OPAQUES,
    PASSWORDS,
    RESPONSES,
    secrets_in,
    told,
)
from kit.lookups import accounts_of, fetch, ha1, ha1_candidates
from kit.process import Server, run_ours
from kit.sip import ACCOUNT, DOMAIN, build_credentials, build_request
from kit.wire import NOW, build_answer

import auth_diameter as ad
from auth_diameter._core import (
    Challenge,
    Framer,
    RequestStream,
    append_question,
)
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.disc.server import Disc
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.csvimport import import_csv
from auth_diameter.store.hashes import Hashes
from auth_diameter.store.importing import BadRowsError
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import User
from auth_diameter.verifier.nonces import Nonces

SECRET_PARAMETERS = {"nonce": NONCES[0], "cnonce": CNONCES[0], "response": RESPONSES[0], "opaque": OPAQUES[0]}
CREDENTIALS = build_credentials(**SECRET_PARAMETERS, nc="00000001", qop="auth").replace(
    'qop="auth"', "qop=auth"
)
CHALLENGE = f'Digest realm="{DOMAIN}", nonce="{NONCES[1]}", opaque="{OPAQUES[0]}", qop="auth"'.encode()


@pytest.fixture(autouse=True)
def _log_everything():
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(before)


@pytest.fixture
def store(tmp_path):
    """Every kind of row there is: hashed, in plain text, and with an HA1 that is none."""
    with Accounts.create(tmp_path / "users.sqlite") as store:
        store.add_user("alice", DOMAIN, PASSWORDS[0])
        with store.session.changing() as connection:
            store.put("bob", DOMAIN, Hashes(HA1S[0], HA1S[1]), exists=False)
            insert = "INSERT INTO subscriber (username, domain, password, ha1) VALUES (?, ?, ?, ?)"
            connection.exec_driver_sql(insert, ("carol", DOMAIN, PASSWORDS[1], ""))
            connection.exec_driver_sql(insert, ("dave", DOMAIN, PASSWORDS[2], HA1S[2] + "x"))
        yield store


def silent(texts):
    """None of them holds a secret."""
    assert [text for text in texts if secrets_in(text)] == []


# ------------------------------------------------------------------ the store and what fills it


def errors(function, *arguments, **options):
    """What the exception of a call tells; nothing where it has none."""
    try:
        function(*arguments, **options)
    except ad.Error as error:
        return [told(error)]
    return []


def test_the_store(store, tmp_path):
    users = list(store.users())
    silent(map(repr, users))
    silent(map(str, users))
    keys = [User(user, DOMAIN, "MD5") for user in ("alice", "bob", "carol")]
    values = [fetch(store, key) for key in keys]
    assert all(known for known, _ in values)
    silent([repr(store), repr(store.database), *map(repr, keys), *map(repr, values)])
    assert ha1(store, "dave", DOMAIN) is None  # which is logged
    for password in (PASSWORDS[3], PASSWORDS[3] + "\n", PASSWORDS[3] + "\ud800", ""):
        silent(errors(store.add_user, "alice", DOMAIN, password))
        silent(errors(store.add_user, "new:user", DOMAIN, password))
    store.close()
    with SqliteStore.open(tmp_path / "users.sqlite") as reader:
        silent(errors(accounts_of(reader).add_user, "eve", DOMAIN, PASSWORDS[4]))
        reader.database.connection.execute("PRAGMA query_only = off")
    silent(errors(ha1_candidates, reader, "alice", DOMAIN))


CSV = f"""username,domain,password
alice,{DOMAIN},{PASSWORDS[5]}
a:b,{DOMAIN},{PASSWORDS[5]}
,{DOMAIN},{PASSWORDS[5]}
x,,{PASSWORDS[5]}
x,"a@b",{PASSWORDS[5]}
x,{DOMAIN},
x,{DOMAIN},{PASSWORDS[5]}\x01
x,{DOMAIN},{PASSWORDS[5]},{PASSWORDS[6]}
x,{DOMAIN}
y,{DOMAIN},{PASSWORDS[5]}
y,{DOMAIN},{PASSWORDS[6]}
"""


BAD_FILES = [
    CSV,
    CSV.partition("\n")[2],  # without a header line
    CSV.replace("password", "secret"),
    CSV.replace("alice", "zoe", 1),
    f'username,domain,password\nzoe,{DOMAIN},"{PASSWORDS[5]}',
    f'username,domain,password\nzoe,{DOMAIN},"{PASSWORDS[5]}"x',
    f"username,domain,password\nzoe,{DOMAIN},{PASSWORDS[5]}\udcff\n",
    f"username,domain,password\nzoe,{DOMAIN},{PASSWORDS[5]}\0\n",
    f"username,domain,password\nzoe,{DOMAIN},{PASSWORDS[5]}\rx\n",
    f"username,domain,password\nzoe,{DOMAIN},{PASSWORDS[5] * 5000}\n",
    f"username,domain,ha1,ha1b\nzoe,{DOMAIN},{HA1S[3]}0,{HA1S[4]}\nz,{DOMAIN},{HA1S[3]},{HA1S[4]}z\n",
    f"username,domain,ha1,password\nzoe,{DOMAIN},{HA1S[3]},{PASSWORDS[6]}\n",
    f"username,domain,ha1,groups\nzoe,{DOMAIN},{HA1S[3]},\x01\n",
    f"{PASSWORDS[5]},{PASSWORDS[6]},{HA1S[3]}\n",
]


@pytest.mark.parametrize("number", range(len(BAD_FILES)))
def test_csv_files_with_errors(store, number):
    data = io.BytesIO(BAD_FILES[number].encode("utf-8", "surrogateescape"))
    with pytest.raises(BadRowsError) as caught:
        import_csv(store, data, name="users.csv")
    silent([told(caught.value), *caught.value.problems])


# ------------------------------------------------------------------ requests, questions, answers


def torn(header: str) -> list[str]:
    """The header broken in every place and in many ways."""
    found = [header[:at] for at in range(len(header))]
    found += [
        header[:at] + mark + header[at:]
        for at in range(0, len(header), 3)
        for mark in ('"', ",", "\\", "\0", "\r\n")
    ]
    return found


def test_requests():
    authorizer = Authorizer(ad.Config())
    for value in [CREDENTIALS, *torn(CREDENTIALS)]:
        lines = (f"Authorization: {value}",)
        data = build_request("REGISTER", f"sip:bob:{PASSWORDS[7]}@{DOMAIN}", extra=lines)
        try:
            request = ad.SipRequest(data)
            silent([repr(request), repr(request.uri("request"))])
            credentials = request.credentials(DOMAIN)
            silent([repr(credentials)])
        except ad.ParseError as error:
            silent([told(error), repr(error.request)])
            continue
        outcome = authorizer.www_authorize(request, DOMAIN, NOW)
        silent([repr(outcome), repr(Authorizer(ad.Config()))])
    for value in [CHALLENGE.decode(), *torn(CHALLENGE.decode())]:
        try:
            silent([repr(Challenge.parse(value))])
        except ad.ParseError as error:
            silent([told(error)])


def test_digests_that_cannot_be_computed():
    response = ad.digest_response
    silent(errors(response, HA1S[5] + "0", "INVITE", "sip:x", NONCES[2]))
    silent(errors(response, HA1S[5], "INVITE", "sip:x", NONCES[2], algorithm="X"))
    silent(errors(response, HA1S[5], "INVITE", "sip:x", NONCES[2], qop="auth", cnonce=CNONCES[1]))
    silent(errors(ad.ha1, "alice", DOMAIN, PASSWORDS[8], "X"))


def test_questions_and_answers(store):
    request = ad.SipRequest(build_request("REGISTER", extra=(f"Authorization: {CREDENTIALS}",)))
    authorizer = Authorizer(ad.Config())
    question = authorizer.www_authorize(request, DOMAIN, NOW)
    out, answers = bytearray(), bytearray()
    append_question(out, question, 1)
    message = ad.Message.decode(bytes(out))
    silent(
        [
            repr(question),
            repr(authorizer.__dict__),
            repr(message),
            repr(message.avps),
            ad.format_message(message),
        ]
    )
    stream = RequestStream()
    disc = Disc(SqliteStore(store.database), nonces=Nonces(NONCE_KEYS[0].encode()))
    found = stream.feed(bytes(out))
    silent(
        [
            repr(stream),
            repr(found),
            repr(found[0].question),
            repr(found[0].question.credentials),
            repr(disc),
            repr(disc._driver.verifier.nonces),
            repr(disc.counts),
        ]
    )
    disc.answer(found, answers, NOW)
    for data in (
        bytes(answers),
        build_answer(1, 4001, challenge=CHALLENGE),
        build_answer(1, 4001, challenge=CHALLENGE + b"\r\nX: y"),
        build_answer(1, 4001, challenge=CHALLENGE * 50),
        build_answer(1, None, challenge=CHALLENGE),
        build_answer(1, 2001, challenge=CHALLENGE),
    ):
        ((_, answer),) = AnswerStream().feed(data, {1: question})
        decision = authorizer.conclude(question, answer, NOW)
        silent(
            [
                repr(answer),
                repr(decision),
                repr(ad.Message.decode(data)),
                ad.format_message(ad.Message.decode(data)),
            ]
        )
    for size in range(len(out)):
        for decode in (ad.Message.decode, ad.Avp, Framer().feed):
            try:
                decode(bytes(out[:size]))
            except (ad.ParseError, TypeError) as error:
                silent([told(error)])


def test_every_object_of_ours(store, fake_disc):
    # Whatever is alive in the middle of the work: a debugger, an error tracker or a log may show it.
    def challenge(connection, questions):
        connection.send(b"".join(build_answer(question, 4001, challenge=CHALLENGE) for question in questions))

    settings = ad.Config(**fake_disc(challenge).settings)
    request = ad.SipRequest(build_request("REGISTER", extra=(f"Authorization: {CREDENTIALS}",)))
    disc = Disc(SqliteStore(store.database), nonces=Nonces([key.encode() for key in NONCE_KEYS]))
    out = bytearray()
    append_question(out, Authorizer(settings).www_authorize(request, DOMAIN, NOW), 1)
    disc.answer(RequestStream().feed(bytes(out)), bytearray(), NOW)

    async def play():
        async with ad.AsyncAuthDiameter(settings) as auth:
            waiting = [asyncio.ensure_future(auth.diameter_www_authorize(request, DOMAIN)) for _ in range(3)]
            await asyncio.sleep(0)
            check_all()
            assert {decision.status for decision in await asyncio.gather(*waiting)} == {401}
            check_all()

    def check_all():
        ours = [
            thing for thing in gc.get_objects() if str(type(thing).__module__).startswith("auth_diameter")
        ]
        assert len(ours) > 10
        silent(map(repr, ours))

    with ad.AuthDiameter(settings) as auth:
        assert auth.diameter_www_authorize(request, DOMAIN).status == 401
        asyncio.run(play())
        check_all()
    assert disc.counts


# ------------------------------------------------------------------ commands


def run(*arguments, stdin=b"", status=2):
    done = run_ours("-v", *arguments, stdin=stdin)
    assert done.status == status, done.err
    silent([done.err])
    return done.out


def test_commands_that_fail(tmp_path, store):
    db = tmp_path / "users.sqlite"
    silent([run("user", "list", "--db", db, status=0)])
    for password in (PASSWORDS[9].encode() + b"\xff", PASSWORDS[9].encode() + b"\1"):
        run("user", "add", f"zoe@{DOMAIN}", "--password-stdin", "--db", db, stdin=password)
    run("user", "add", ACCOUNT, "--password-stdin", "--db", db, stdin=PASSWORDS[9].encode())
    run("user", "import", "-", "--db", db, stdin=CSV.encode())
    key = tmp_path / "key"
    key.write_text(NONCE_KEYS[1][:12])
    run("disc", "--db", db, "--nonce-key", key, "--listen", "127.0.0.1:0")
    request = build_request("REGISTER", extra=(f"Authorization: {CREDENTIALS}",))
    run("check", "-", "--disc", "127.0.0.1:1", stdin=request)
    run("check", "-", "--disc", "127.0.0.1:1", stdin=request.replace(b"CSeq", b"SeqC"))


ROUTE = """
async def request_route(request, auth):
    decision = await auth.diameter_www_authorize(request, "$fd")
    credentials = request.credentials("siphub.net")
    raise RuntimeError(request, decision, credentials, decision.cause, request.uri("request"))
"""


def test_programs(tmp_path, store):
    """A whole day of an operator who logs everything: good and bad requests, and a route that fails."""
    db, key, route = tmp_path / "users.sqlite", tmp_path / "key", tmp_path / "route.py"
    key.write_text(NONCE_KEYS[0])
    route.write_text(ROUTE)

    def start(command):
        return ("-v", command, "--metrics", "127.0.0.1:0")

    with (
        Phone() as phone,
        Server(*start("disc"), "--db", db, "--nonce-key", key) as disc,
        Server(*start("serve"), "--disc", disc.where) as serve,
        Server("-v", "serve", "--disc", disc.where, "--route", route) as fails,
    ):
        for user in ("alice", "bob", "carol", "dave", "nobody"):
            for value in (CREDENTIALS, CREDENTIALS[:-9], CREDENTIALS.replace(RESPONSES[0], RESPONSES[1])):
                lines = (f"Authorization: {value.replace('alice', user)}",)
                data = build_request("REGISTER", f"sip:bob:{PASSWORDS[7]}@{DOMAIN}", extra=lines)
                data = data.replace(b";branch", b";rport;branch").replace(
                    b"Call-ID: c1", user.encode().join([b"Call-ID: ", value[-9:-5].encode()])
                )
                for host in (serve, fails):
                    phone.send(data, host.address)
                    assert phone.receive_bytes() is not None
        for program in (disc, serve):
            counted = program.metrics()
            assert "auth_diameter" in counted
            silent([counted])
        stop(serve)
        stop(fails, tracebacks=True)
        stop(disc)


def test_a_disc_that_tells_secrets(fake_disc):
    # In an answer that cannot be used, to clients that log everything.
    def tell(connection, questions):
        connection.send(
            build_answer(questions[0], 4001, challenge=CHALLENGE + b"\r\nX-Evil: " + HA1S[6].encode())
        )
        connection.send("".join(CANARIES).encode())

    disc = fake_disc(tell)
    request = build_request("REGISTER", extra=(f"Authorization: {CREDENTIALS}",))
    stdout = run("check", "-", "--disc", disc.where, stdin=request, status=1)
    silent([stdout])
    with (
        Server("-v", "serve", "--disc", disc.where) as serve,
        Phone() as phone,
    ):
        phone.send(request.replace(b";branch", b";rport;branch"), serve.address)
        silent([phone.receive_bytes().decode()])
        stop(serve)
