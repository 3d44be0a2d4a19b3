"""The local back end: what forked processes share, and what becomes of the database.

That it decides as DISC does, `test_back_ends` shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import gc
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from kit.forked import in_child
from kit.machine import PATIENCE, wait_until
from kit.sip import DOMAIN
from kit.uac import Account

import auth_diameter as ad
from auth_diameter import Cause
from auth_diameter._core import Batch
from auth_diameter.bench.programs import resident_bytes
from auth_diameter.lab.uac import parse_reply
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import Found, Key

HERE = ("192.0.2.1", 5060)
ALICE = Account()


@pytest.fixture
def auth(db: Path):
    with ad.AuthDiameter(ad.Config(db=str(db))) as auth:
        yield auth


def send(auth: ad.AuthDiameter, *headers: tuple[str, str], source: tuple[str, int] = HERE) -> ad.Decision:
    return auth.diameter_www_authorize(ad.SipRequest(ALICE.request("REGISTER", *headers), source), "$fd")


def challenge_of(auth: ad.AuthDiameter) -> ad.Challenge:
    decision = send(auth)
    assert decision.reply is not None
    challenge = parse_reply(decision.reply).challenge()
    assert challenge is not None
    return challenge


# ------------------------------------------------------------------ processes


def test_a_nonce_count_that_another_process_has_seen_is_a_replay(auth: ad.AuthDiameter) -> None:
    challenge = challenge_of(auth)
    assert in_child(lambda: send(auth, ALICE.answer(challenge, nc=2)).cause.name) == "AUTHORIZED"
    assert send(auth, ALICE.answer(challenge, nc=2)).cause is Cause.CHALLENGED
    assert send(auth, ALICE.answer(challenge, nc=3)).cause is Cause.AUTHORIZED
    assert in_child(lambda: send(auth, ALICE.answer(challenge, nc=3)).cause.name) == "CHALLENGED"


def test_a_challenge_of_one_process_is_good_at_another(auth: ad.AuthDiameter) -> None:
    """They have the random nonce key in common."""
    nonce = in_child(lambda: challenge_of(auth).nonce)
    challenge = ad.Challenge.parse(f'Digest realm="{DOMAIN}", nonce="{nonce}", qop="auth", algorithm=MD5')
    assert send(auth, ALICE.answer(challenge)).cause is Cause.AUTHORIZED


def test_no_two_processes_make_the_same_nonce(auth: ad.AuthDiameter) -> None:
    """In the same second, for the same realm: its counts would get in each other's way."""
    challenge_of(auth)
    nonces = [in_child(lambda: challenge_of(auth).nonce) for _ in range(8)]
    assert len({*nonces, challenge_of(auth).nonce}) == 9


def test_guesses_count_over_all_processes(auth: ad.AuthDiameter) -> None:
    challenge = challenge_of(auth)

    def guess(nc: int) -> str:
        return send(auth, ALICE.answer(challenge, nc=nc, password="guess")).cause.name

    assert [in_child(lambda nc=nc: guess(nc)) for nc in range(1, 6)] == ["FORBIDDEN"] * 5
    assert send(auth, ALICE.answer(challenge, nc=6)).cause is Cause.PENALIZED


def test_each_process_opens_the_database_for_itself(
    auth: ad.AuthDiameter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's connections must not cross a fork; the parent's goes on."""
    opened: list[int] = []
    real = SqliteStore.open.__func__  # type: ignore[attr-defined]

    def watched(kind: type[SqliteStore], path: str, config: StoreConfig | None = None) -> SqliteStore:
        opened.append(os.getpid())
        return real(kind, path, config)

    monkeypatch.setattr(SqliteStore, "open", classmethod(watched))
    challenge = challenge_of(auth)
    assert opened == [os.getpid()]

    def child() -> list[bool]:
        opened.clear()
        return [send(auth, ALICE.answer(challenge)).authorized, opened == [os.getpid()]]

    assert in_child(child) == [True, True]
    assert send(auth, ALICE.answer(challenge, nc=2))


def test_a_relative_path_is_that_of_the_folder_in_which_the_client_was_made(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(db.parent)
    with ad.AuthDiameter(ad.Config(db=db.name)) as auth:

        def elsewhere() -> str:
            os.chdir("/")
            return send(auth).cause.name

        assert in_child(elsewhere) == "CHALLENGED"


def test_a_process_that_is_forked_after_a_change_of_keys_has_the_new_ones(db: Path) -> None:
    """As a worker that is started later, in place of one that was killed."""
    old, new = b"the old key of all", b"the new key of all"
    with ad.AuthDiameter(ad.Config(db=str(db), nonce_key=new)) as another:
        header = ALICE.answer(challenge_of(another))
    auth = ad.AsyncAuthDiameter(ad.Config(db=str(db), nonce_key=old))

    async def ask() -> str:
        return (await auth.diameter_www_authorize(ALICE.request("REGISTER", header), "$fd")).cause.name

    assert in_child(lambda: asyncio.run(ask())) == "CHALLENGED"
    auth.use_nonce_keys([new])
    assert in_child(lambda: asyncio.run(ask())) == "AUTHORIZED"
    asyncio.run(auth.aclose())


# ------------------------------------------------------------------ threads


def test_threads_share_one_client(auth: ad.AuthDiameter) -> None:
    """Each count of a nonce is let in once, whichever threads send it."""
    challenge = challenge_of(auth)
    headers = [ALICE.answer(challenge, nc=nc) for nc in range(1, 41)]
    found: list[Cause] = []

    def work() -> None:
        for header in headers:
            requests = [ALICE.request("REGISTER", header), ALICE.request("OPTIONS")]
            found.extend(d.cause for d in auth.diameter_www_authorize_many(requests, "$fd")[:1])

    crowd = [threading.Thread(target=work) for _ in range(4)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert Counter(found) == {Cause.AUTHORIZED: 40, Cause.CHALLENGED: 120}
    assert auth.counts[Cause.AUTHORIZED] == 40


@contextlib.contextmanager
def log_handler(emit: Callable[[logging.LogRecord], object]):
    """A handler of all log lines, which holds its lock as `logging` has it."""
    handler, logger = logging.Handler(), logging.getLogger("auth_diameter")
    handler.emit = emit  # type: ignore[method-assign]
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def test_the_list_of_requests_may_change_meanwhile(auth: ad.AuthDiameter) -> None:
    """Other threads run while requests are judged; here it is a log handler that empties the list."""
    guess = ad.SipRequest(ALICE.request("REGISTER", ALICE.answer(challenge_of(auth), password="guess")), HERE)
    requests = [guess, *[ad.SipRequest(ALICE.request()) for _ in range(500)]]
    with log_handler(lambda record: requests.clear()):
        decisions = auth.diameter_www_authorize_many(requests, "$fd")
    assert requests == []
    assert Counter(decision.cause for decision in decisions) == {Cause.FORBIDDEN: 1, Cause.CHALLENGED: 500}


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_a_log_handler_may_ask_the_client(auth: ad.AuthDiameter, many: bool) -> None:
    """No lock is held while a line is logged, neither for the thread that logs it nor for others."""
    guess = ad.SipRequest(ALICE.request("REGISTER", ALICE.answer(challenge_of(auth), password="guess")), HERE)
    found: list[Cause] = []

    def ask() -> None:
        found.append(auth.diameter_is_user_in(ALICE.request(), "From", "voicemail").cause)

    def emit(record: logging.LogRecord) -> None:
        ask()
        other = threading.Thread(target=ask, daemon=True)
        other.start()
        other.join(PATIENCE)

    def work() -> None:
        if many:
            auth.diameter_www_authorize_many([guess], "$fd")
        else:
            auth.diameter_www_authorize(guess, "$fd")

    with log_handler(emit):
        one = threading.Thread(target=work, daemon=True)
        one.start()
        one.join(2 * PATIENCE)
    assert found == [Cause.MEMBER, Cause.MEMBER]
    assert not one.is_alive()


def test_lines_of_the_log_wait_for_no_handler(auth: ad.AuthDiameter) -> None:
    """A thread whose line waits for a handler does not hold up others; the line is written later."""
    challenge = challenge_of(auth)
    lines: list[str] = []

    def guess(name: str) -> None:
        send(auth, ALICE.answer(challenge, username=name, password="guess"))

    with log_handler(lambda record: lines.append(record.getMessage())) as handler:
        with handler.lock or contextlib.nullcontext():
            one = threading.Thread(target=guess, args=("mallory",), daemon=True)
            one.start()
            assert auth._local is not None
            wait_until(auth._local._log._telling.locked)
            guess("trudy")  # this thread has the lock of the handler, and would never get that of the log
        one.join(PATIENCE)
    assert not one.is_alive()
    assert sorted(line.split("'")[1] for line in lines) == [f"mallory@{DOMAIN}", f"trudy@{DOMAIN}"]


# ------------------------------------------------------------------ the log


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "auth_diameter.refused"]


@pytest.mark.parametrize("bind_source", [False, True])
def test_each_refusal_is_a_line_with_what_the_store_knows(
    db: Path, caplog: pytest.LogCaptureFixture, *, bind_source: bool
) -> None:
    """Of the store's users, and the request's source, which a nonce that is bound to it proves."""
    caplog.set_level(logging.INFO, "auth_diameter.refused")
    with ad.AuthDiameter(ad.Config(db=str(db), bind_source=bind_source)) as auth:
        challenge = challenge_of(auth)
        assert send(auth, ALICE.answer(challenge)).authorized
        assert send(auth, ALICE.answer(challenge, nc=2, password="guess")).status == 403
        assert send(auth, ALICE.answer(challenge, nc=3, username="mallory")).status == 403
    proven = "yes" if bind_source else "no"
    assert refusals(caplog) == [
        f"refused user='alice@{DOMAIN}' source=192.0.2.1 cause=WRONG_DIGEST proven={proven}",
        f"refused user='mallory@{DOMAIN}' source=192.0.2.1 cause=UNKNOWN_USER proven={proven}",
    ]


# ------------------------------------------------------------------ when the database is asked


class Clock:
    """The time that the client has, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(time, "time", lambda: self.now)


def test_users_who_are_known_are_judged_without_python(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the store is to be looked at again, half a second later."""
    clock = Clock(monkeypatch)
    with ad.AuthDiameter(ad.Config(db=str(db))) as auth:
        assert send(auth, ALICE.answer(challenge_of(auth)))
        local, looks = auth._local, []
        assert local is not None
        finish = local.finish
        monkeypatch.setattr(local, "finish", lambda batch, now: looks.append(now) or finish(batch, now))
        for _ in range(2):
            clock.now += 0.2
            assert send(auth, ALICE.answer(challenge_of(auth)))
        assert looks == []
        clock.now += 0.2
        assert send(auth, ALICE.answer(challenge_of(auth)))
        assert looks == [clock.now]


def test_a_clock_that_steps_back_hides_no_change(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is to be looked at half a second after the last time, and that is an hour ahead now."""
    clock = Clock(monkeypatch)
    with ad.AuthDiameter(ad.Config(db=str(db))) as auth:
        assert send(auth, ALICE.answer(challenge_of(auth)))
        clock.now -= 3600
        with Accounts.open(str(db), writable=True) as accounts:
            accounts.delete_user("alice", DOMAIN)
            accounts.add_user("bob", DOMAIN, "builder")
        assert send(auth, ALICE.answer(challenge_of(auth))).cause is Cause.FORBIDDEN


def test_questions_that_are_judged_together_keep_their_order(auth: ad.AuthDiameter) -> None:
    """None gets the answer of another."""
    local, challenge = auth._local, challenge_of(auth)
    assert local is not None
    headers = [
        (),
        (ALICE.answer(challenge),),
        (ALICE.answer(challenge, password="guess"),),
        (ALICE.answer(challenge, nc=2),),
    ]
    questions = [
        local._authorizer.www_authorize(ad.SipRequest(ALICE.request("REGISTER", *one), HERE), "$fd", 0.0)
        for one in headers
    ]
    assert [decision.cause.name for decision in local.decide_on(questions)] == [
        "CHALLENGED",
        "AUTHORIZED",
        "FORBIDDEN",
        "AUTHORIZED",
    ]


@pytest.mark.parametrize(("size", "cause"), [(1000, Cause.CHALLENGED), (1001, Cause.MALFORMED_REQUEST)])
def test_the_size_of_a_request_is_limited(db: Path, size: int, cause: Cause) -> None:
    """`Config.max_sip_message`, for bytes that the client parses itself."""
    data = ALICE.request()
    data = data.replace(b"\r\n\r\n", b"\r\nX: " + bytes([120]) * (size - len(data) - 5) + b"\r\n\r\n")
    assert len(data) == size
    with ad.AuthDiameter(ad.Config(db=str(db), max_sip_message=1000)) as auth:
        assert auth.diameter_www_authorize(data, "$fd").cause is cause
        assert [one.cause for one in auth.diameter_www_authorize_many([data] * 2, "$fd")] == [cause] * 2


# ------------------------------------------------------------------ requests as bytes


def many_fields(count: int) -> tuple[tuple[str, str], ...]:
    """Header fields; a message has room for 32 by itself."""
    return tuple((f"X-{number}", "value") for number in range(count))


@pytest.mark.parametrize("realm", ["$fd", "$td", "$rd", "", DOMAIN, "$hdr(X-Realm)"])
@pytest.mark.parametrize(
    "kind", ["none", "right", "guess", "stranger", "malformed", "long", "ack", "auth-int"]
)
def test_bytes_get_the_same_decision_as_a_request_object(
    auth: ad.AuthDiameter, realm: str, kind: str
) -> None:
    """The client makes no `SipRequest` of bytes, unless it needs one."""
    challenge = challenge_of(auth)
    fields = [("X-Realm", DOMAIN), *many_fields(40 if kind == "long" else 0)]

    def request(nc: int) -> bytes:
        return ALICE.request("ACK" if kind == "ack" else "REGISTER", *fields, *credentials(nc))

    def credentials(nc: int) -> list[tuple[str, str]]:
        if kind in ("none", "ack"):
            return []
        changes: dict[str, object] = {
            "guess": {"password": "guess"},
            "stranger": {"username": "nobody"},
            "auth-int": {"qop": "auth-int"},
        }.get(kind, {})
        return [ALICE.answer(challenge, nc=nc, **changes)]

    def said(decision: ad.Decision) -> tuple[object, ...]:
        line = decision.reply and decision.reply.partition(b"\r\n")[0]
        return decision.cause, decision.status, decision.username, decision.realm, decision.headers[1:], line

    of_object = said(auth.diameter_www_authorize(ad.SipRequest(request(1)), realm))
    assert said(auth.diameter_www_authorize(request(2), realm)) == of_object
    assert said(auth.diameter_www_authorize(bytearray(request(3)), realm)) == of_object
    many = [request(4), ad.SipRequest(request(5)), request(6)]
    assert list(map(said, auth.diameter_www_authorize_many(many, realm))) == [of_object] * 3


@pytest.mark.parametrize(
    ("realm", "proxy", "host"),
    [
        ("$fd", False, "from.example"),
        ("$td", False, "to.example"),
        ("$rd", False, "uri.example"),
        ("$od", True, "uri.example"),
        ("", False, "to.example"),
        ("", True, "from.example"),
        ("$td.", False, "to.example."),
        ("text.example", True, "text.example"),
    ],
)
def test_where_the_realm_comes_from(auth: ad.AuthDiameter, realm: str, proxy: bool, host: str) -> None:
    """Of a REGISTER, whose three URIs have different hosts."""
    lines = ALICE.request("REGISTER").split(b"\r\n")
    for start, other in ((b"REGISTER", b"uri"), (b"From:", b"from"), (b"To:", b"to")):
        [at] = [number for number, line in enumerate(lines) if line.startswith(start)]
        lines[at] = lines[at].replace(DOMAIN.encode(), other + b".example")
    data = b"\r\n".join(lines)
    decide = auth.diameter_proxy_authorize if proxy else auth.diameter_www_authorize
    for request in (data, ad.SipRequest(data)):
        assert decide(request, realm).realm == host


@pytest.mark.parametrize("realm", ["$rd", "$od"])
def test_a_request_uri_without_a_host_names_no_realm(auth: ad.AuthDiameter, realm: str) -> None:
    """As with an empty realm, the user's domain is taken."""
    data = ALICE.request("INVITE", uri="urn:service:sos")
    for request in (data, ad.SipRequest(data)):
        assert auth.diameter_proxy_authorize(request, realm).realm == DOMAIN


@pytest.mark.parametrize("realm", ["$fd", "$hdr(X-Realm)"])
def test_malformed_bytes_among_others(auth: ad.AuthDiameter, realm: str) -> None:
    """Bytes to which no reply is possible, and a request that gets a 400."""
    good = ALICE.request("REGISTER", ("X-Realm", DOMAIN))
    bad = good.replace(b"CSeq", b"Xseq")
    one, other, last = auth.diameter_www_authorize_many([b"junk", bad, good], realm)
    assert one.cause is other.cause is Cause.MALFORMED_REQUEST
    assert one.reply is None
    assert other.reply is not None
    assert other.reply.startswith(b"SIP/2.0 400 ")
    assert last.cause is auth.diameter_www_authorize(good, realm).cause is Cause.CHALLENGED


def test_a_request_object_knows_who_was_let_in_and_bytes_need_not(auth: ad.AuthDiameter) -> None:
    challenge = challenge_of(auth)
    request = ad.SipRequest(ALICE.request("REGISTER", ALICE.answer(challenge)), HERE)
    data = ALICE.request("REGISTER", ALICE.answer(challenge, nc=2))
    decisions = auth.diameter_www_authorize_many([request, data], "$fd")
    assert [decision.username for decision in decisions] == [ALICE.name] * 2
    assert request.authorized_username == ALICE.name


def test_what_fails_in_the_middle_leaves_nothing_behind(
    auth: ad.AuthDiameter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory of a call serves the next one."""
    challenge, local = challenge_of(auth), auth._local
    assert local is not None

    def broken(*_: object) -> ad.Decision:
        raise RuntimeError("broken")

    mixed = [
        ALICE.request("REGISTER", *many_fields(40)),
        ALICE.request("REGISTER", ALICE.answer(challenge, password="guess")),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(local, "conclude", broken)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="broken"):
                auth.diameter_www_authorize_many(mixed, "$fd")
            with pytest.raises(RuntimeError, match="broken"):
                auth.diameter_www_authorize(mixed[0], "$fd")
    right = ALICE.request("REGISTER", ALICE.answer(challenge, nc=2))
    assert [one.cause.name for one in auth.diameter_www_authorize_many([*mixed, right], "$fd")] == [
        "CHALLENGED",
        "FORBIDDEN",
        "AUTHORIZED",
    ]


@pytest.mark.parametrize("many", [False, True])
def test_a_question_that_was_not_judged_lets_nobody_in(
    auth: ad.AuthDiameter, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    """Its memory still holds the answer to an earlier request."""
    challenge, local = challenge_of(auth), auth._local
    assert local is not None
    right, other = (ALICE.request("REGISTER", ALICE.answer(challenge, nc=nc)) for nc in (1, 2))
    assert auth.diameter_www_authorize(right, "$fd")
    local._driver.verifier.compiled.check_at = 0.0  # the store is to be looked at
    monkeypatch.setattr(local, "finish", lambda batch, now: None)
    other = other.replace(b'username="alice"', b'username="mallory"')
    decide = auth.diameter_www_authorize_many if many else auth.diameter_www_authorize
    with pytest.raises(RuntimeError, match="not finished"):
        decide([other] if many else other, "$fd")  # type: ignore[operator]


class Name(enum.StrEnum):
    """A realm may be of a subclass of str."""

    OURS = DOMAIN


@pytest.mark.parametrize("known", [False, True])
def test_the_realm_may_be_of_a_subclass_of_str(db: Path, known: bool) -> None:
    """Whether or not the same text came before."""
    with ad.AuthDiameter(ad.Config(db=str(db))) as auth:
        if known:
            auth.diameter_www_authorize(ALICE.request(), DOMAIN)
        decision = auth.diameter_www_authorize(ALICE.request(), Name.OURS)
    assert (decision.cause, decision.realm) == (Cause.CHALLENGED, DOMAIN)


@pytest.mark.parametrize("realm", [5, b"siphub.net", None])
def test_a_realm_that_is_no_text_is_the_callers_mistake(auth: ad.AuthDiameter, realm: object) -> None:
    with pytest.raises((ad.ConfigError, TypeError)):
        auth.diameter_www_authorize(ALICE.request(), realm)  # type: ignore[arg-type]


def test_long_requests_leave_nothing_behind(auth: ad.AuthDiameter) -> None:
    """A message with many header fields takes more memory than it has by itself."""
    challenge, fields = challenge_of(auth), many_fields(200)

    def let_in(first: int) -> None:
        requests = [
            ALICE.request("REGISTER", ALICE.answer(challenge, nc=nc), *fields)
            for nc in range(first, first + 200)
        ]
        assert all(auth.diameter_www_authorize_many(requests, "$fd"))

    let_in(1)
    before = resident_bytes([os.getpid()])
    for number in range(1, 5):
        let_in(1 + 200 * number)
    assert resident_bytes([os.getpid()]) - before < 3_000_000


# ------------------------------------------------------------------ the database, and the end


def test_an_error_leaves_nothing_in_memory(auth: ad.AuthDiameter, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked up for other requests of the call goes with it, and does not wait for the collector."""
    real = SqliteStore.fetch

    async def broken(store: SqliteStore, keys: Collection[Key]) -> Found:
        if any(key[0] == "mallory" for key in keys):
            raise RuntimeError("a bug")
        return await real(store, keys)

    monkeypatch.setattr(SqliteStore, "fetch", broken)
    challenge = challenge_of(auth)
    requests = [
        ALICE.request("REGISTER", ALICE.answer(challenge, username=name)) for name in ("alice", "mallory")
    ]
    gc.disable()
    logging.disable()  # a handler may keep the error itself
    try:
        decisions = auth.diameter_www_authorize_many(requests, "$fd")
        # That of a SIP server in another test is empty.
        left = [one for one in gc.get_objects() if isinstance(one, Batch) and len(one)]
    finally:
        logging.disable(logging.NOTSET)
        gc.enable()
    assert [decision.cause for decision in decisions] == [Cause.AUTHORIZED, Cause.DISC_REFUSED]
    assert left == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path, "there is no such database"),
        (lambda path: path.write_text("no database at all, but long enough") and path, "not a database"),
        (lambda path: path.mkdir() or path, "unable to open"),
    ],
    ids=["missing", "text", "folder"],
)
@pytest.mark.parametrize("kind", [ad.AuthDiameter, ad.AsyncAuthDiameter])
def test_a_database_that_cannot_be_used_is_told_at_once(
    tmp_path: Path, kind: type, make: Callable[[Path], Path], says: str
) -> None:
    """In one line that names it."""
    path = make(tmp_path / "users.sqlite")
    with pytest.raises(ad.ConfigError) as caught:
        kind(ad.Config(db=str(path)))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_that_is_gone_when_a_process_opens_it(auth: ad.AuthDiameter, db: Path) -> None:
    """500, and nobody is let in."""
    db.rename(db.with_suffix(".away"))
    assert send(auth).cause is Cause.DISC_REFUSED
    db.with_suffix(".away").rename(db)


def test_a_closed_client_is_the_callers_mistake(db: Path) -> None:
    """Also if it knows all that the request needs."""
    auth = ad.AuthDiameter(ad.Config(db=str(db)))
    challenge = challenge_of(auth)
    assert send(auth, ALICE.answer(challenge))
    auth.close()
    auth.close()
    for headers in ((), (ALICE.answer(challenge, nc=2),)):
        with pytest.raises(ad.DiscError, match="closed"):
            send(auth, *headers)


def test_nothing_in_its_memory_is_shown(auth: ad.AuthDiameter, db: Path) -> None:
    config = ad.Config(db=str(db), nonce_key=b"a secret of many bytes")
    assert "secret" not in repr(config)
    assert "secret" not in repr(auth)


def test_the_module_functions(db: Path) -> None:
    """`configure(db=...)`, and back."""
    with contextlib.ExitStack() as stack:
        stack.callback(ad.configure)
        ad.configure(db=str(db))
        assert ad.diameter_www_authorize(ALICE.request(), "$fd").cause is Cause.CHALLENGED
        assert ad.diameter_is_user_in(ALICE.request(), "From", "voicemail").cause is Cause.MEMBER


def test_several_keys(db: Path) -> None:
    """A change of keys: the first makes nonces, all are accepted."""
    old, new = b"the old key of all", b"the new key of all"
    with ad.AuthDiameter(ad.Config(db=str(db), nonce_key=old)) as before:
        challenge = challenge_of(before)
    with ad.AuthDiameter(ad.Config(db=str(db), nonce_key=[new, old])) as between:
        assert send(between, ALICE.answer(challenge))
        later = challenge_of(between)
    with ad.AuthDiameter(ad.Config(db=str(db), nonce_key=new)) as after:
        assert send(after, ALICE.answer(later))
        assert send(after, ALICE.answer(challenge, nc=2)).cause is Cause.CHALLENGED


def test_more_uses_than_there_are_counts(db: Path) -> None:
    """As many uses of a nonce as there can be counts."""
    with ad.AuthDiameter(ad.Config(db=str(db), nonce_uses=1 << 70)) as auth:
        assert send(auth, ALICE.answer(challenge_of(auth))).cause is Cause.AUTHORIZED


def test_users_of_many_in_one_call(db: Path) -> None:
    """More than are judged together; most of them are asked for for the first time."""
    with Accounts.open(str(db), writable=True) as accounts:
        for number in range(150):
            accounts.add_user(f"u{number}", DOMAIN, f"password of {number}")
    with ad.AuthDiameter(ad.Config(db=str(db))) as auth:
        phones = [Account(name=f"u{number}", password=f"password of {number}") for number in range(150)]
        first = auth.diameter_www_authorize_many((phone.request() for phone in phones), "$fd")
        assert {decision.cause for decision in first} == {Cause.CHALLENGED}
        requests = [
            phone.request("REGISTER", phone.answer(decision.reply))
            for phone, decision in zip(phones, first, strict=True)
        ]
        decisions = auth.diameter_www_authorize_many(requests, "$fd")
        assert [decision.username for decision in decisions] == [phone.name for phone in phones]
