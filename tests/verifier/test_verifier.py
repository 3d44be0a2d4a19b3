"""What DISC answers: the table on top of auth_diameter.verifier.verifier, row by row.

Questions are built with the general Diameter codec and framed as a connection frames them, so that
nothing of the client side stands between a test and the server. Credentials are made by our UAC.
"""

import contextlib
import gc
import logging
import sqlite3
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import wire
from kit.sip import DOMAIN, PASSWORD
from kit.wire import (
    CHALLENGE,
    DESTINATION_REALM,
    METHOD,
    NOW,
    RESOURCE,
    RESPONSE,
    RESULT_CODE,
    SERVICE_TYPE,
    SIP_MSGID,
    USER_NAME,
    aa_request,
    challenge_of,
    credentials_avps,
    group_avps,
    result_code,
)

import auth_diameter as ad
from auth_diameter.disc.server import Disc, VerifierConfig
from auth_diameter.lab.uac import authorization
from auth_diameter.store import cache
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.hashes import candidates
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import Realm, StoreBusyError, StoreError
from auth_diameter.verifier import verifier as verifier_module
from auth_diameter.verifier.nonces import Nonces
from auth_diameter.verifier.outcome import Outcome

REALM = DOMAIN


# --- building questions, reading answers --------------------------------------------------------------


def question(*avps, msgid=b"\x01\x02\x03\x04", **changes):
    """A message with Service-Type 6 and all that an authentication needs, but for what `avps` replace."""
    return aa_request(ad.Avp(SIP_MSGID, msgid, flags=0), *avps, number=7, end_to_end=9, **changes)


def with_credentials(value, method="REGISTER", **more):
    return question(*credentials_avps(value, method), **more)


def group_question(user_name, group):
    return question(*group_avps(user_name, group))


def ask_all(disc, data, now=NOW):
    """The answers to a stream of questions, as Messages."""
    return wire.ask(disc, data, now=now)


def ask(disc, data, now=NOW):
    (answer,) = ask_all(disc, data, now)
    return answer


def respond(disc, username="alice", password=PASSWORD, now=NOW, realm=REALM, method="REGISTER", **changes):
    """The Authorization value of a telephone that got a challenge from this DISC at `now`."""
    challenge = challenge_of(ask(disc, question(ad.Avp(DESTINATION_REALM, realm)), now))
    return authorization(challenge, username, password, method, "sip:siphub.net", **changes)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "disc.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", REALM, PASSWORD)
        store.add_user("bob", REALM, "builder")
        store.add_group("alice", REALM, "voicemail")
    return path


@pytest.fixture
def store(path):
    with SqliteStore.open(path) as opened:
        yield opened


@pytest.fixture
def disc(store):
    return Disc(store)


@pytest.fixture
def rechallenging(store):
    return Disc(store, VerifierConfig(rechallenge=True))


# --- Service-Type 6, the first phase -------------------------------------------------------------------


def test_no_credentials_get_a_challenge(disc):
    answer = ask(disc, question())
    challenge = challenge_of(answer)
    assert result_code(answer) == 4001
    # RFC 7616, 3.3: qop is always offered, and stale is said only of an expired nonce.
    assert (challenge.realm, challenge.qop, challenge.stale) == (REALM, ("auth",), False)
    assert disc.counts == Counter({Outcome.CHALLENGED: 1})


def test_a_challenge_ends_with_crlf_behind_a_quoted_parameter(disc):
    """The C module copies it into a header as it is, and puts the next header right behind it."""
    data = ask(disc, question()).find(CHALLENGE).data
    assert data.startswith(b"Digest ")
    assert data.endswith(b'"\r\n')
    assert data.count(b"\r") == data.count(b"\n") == 1


def test_the_realm_is_challenged_in_the_spelling_that_ha1_was_made_with(disc):
    answer = ask(disc, question(ad.Avp(DESTINATION_REALM, "SipHub.NET")))
    assert challenge_of(answer).realm == REALM


def test_a_realm_that_is_not_served_is_refused(disc):
    answer = ask(disc, question(ad.Avp(DESTINATION_REALM, "example.org")))
    assert result_code(answer) == 5003
    assert answer.find(CHALLENGE) is None
    assert disc.counts == Counter({Outcome.REALM_NOT_SERVED: 1})


@pytest.mark.parametrize("at_hand", [False, True], ids=["fetched", "at hand"])
def test_each_question_of_a_batch_is_judged_by_its_own_realm(path, at_hand):
    """The spelling in the answer tells which realm it was judged by."""
    with Accounts.open(path, writable=True) as store:
        store.add_user("alice", "example.org", PASSWORD)
    realms = [REALM, REALM, "example.org", "nowhere.net", "nowhere.net", REALM, "EXAMPLE.org", "x", REALM]
    with SqliteStore.open(path) as store:
        disc = Disc(store, VerifierConfig(rechallenge=True, max_challenges=100))
        if at_hand:
            for realm in realms:
                ask(disc, with_credentials(respond(disc, password="wrong").replace(REALM, realm)))
        wrong = respond(disc, password="wrong")
        answers = ask_all(disc, b"".join(with_credentials(wrong.replace(REALM, realm)) for realm in realms))
    found = [challenge_of(answer).realm if answer.find(CHALLENGE) else None for answer in answers]
    assert found == [realm.lower() if "." in realm and realm != "nowhere.net" else None for realm in realms]


def test_a_realm_that_is_not_utf_8_is_no_error(disc):
    assert result_code(ask(disc, question(ad.Avp(DESTINATION_REALM, b"\xff\xfe.net")))) == 5003


# --- Service-Type 6, the second phase ------------------------------------------------------------------


def test_the_right_digest_is_let_through(disc):
    answer = ask(disc, with_credentials(respond(disc)))
    assert result_code(answer) == 2001
    assert answer.find(CHALLENGE) is None
    assert disc.counts[Outcome.AUTHORIZED] == 1


@pytest.mark.parametrize("nonce_age", [0.0, 299.0, 300.0])
def test_a_nonce_may_be_used_for_its_lifetime(disc, nonce_age):
    credentials = respond(disc)
    assert result_code(ask(disc, with_credentials(credentials), NOW + nonce_age)) == 2001


def test_credentials_without_qop_are_accepted(disc):
    """RFC 3261, 22.4: clients of RFC 2069 leave it out."""
    nonce = challenge_of(ask(disc, question())).nonce
    challenge = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{nonce}"')
    value = authorization(challenge, "alice", PASSWORD, "REGISTER", "sip:siphub.net")
    assert "qop" not in value
    assert result_code(ask(disc, with_credentials(value))) == 2001


def test_the_digest_uri_may_differ_from_the_request_uri(disc):
    """RFC 3261, 22.4, 8: proxies rewrite the Request-URI on the way."""
    value = respond(disc)
    asked = question(
        ad.Avp(RESPONSE, value), ad.Avp(METHOD, "REGISTER"), ad.Avp(RESOURCE, "elsewhere.example.org")
    )
    assert result_code(ask(disc, asked)) == 2001


def test_a_username_with_its_domain_is_the_same_user(disc):
    """RFC 7616, 3.4.2 hashes the username as it was sent; the column ha1b holds that."""
    assert result_code(ask(disc, with_credentials(respond(disc, f"alice@{REALM}")))) == 2001


def test_a_username_with_its_domain_may_be_hashed_without_it(disc):
    """So does the original DISC: it takes HA1 over what stands before the @."""
    challenge = challenge_of(ask(disc, question()))
    ha1 = ad.ha1("alice", REALM, PASSWORD)
    response = ad.digest_response(ha1, "REGISTER", "sip:siphub.net", challenge.nonce)
    value = (
        f'Digest username="alice@{REALM}", realm="{REALM}", nonce="{challenge.nonce}",'
        f' uri="sip:siphub.net", response="{response}"'
    )
    assert result_code(ask(disc, with_credentials(value))) == 2001


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "BYE"])
def test_a_digest_is_for_one_method(disc, method):
    """RFC 7616, 3.4.3: the method takes part in A2."""
    value = respond(disc, method="INVITE")
    expected = 2001 if method == "INVITE" else 5003
    assert result_code(ask(disc, with_credentials(value, method))) == expected


def test_a_wrong_password_is_refused(disc):
    answer = ask(disc, with_credentials(respond(disc, password="guess")))
    assert result_code(answer) == 5003
    assert disc.counts[Outcome.WRONG_DIGEST] == 1


def test_an_expired_nonce_with_the_right_digest_is_stale(disc):
    """RFC 7616, 3.3: stale tells the client to try again without asking its user."""
    credentials = respond(disc)
    answer = ask(disc, with_credentials(credentials), NOW + 311)
    assert result_code(answer) == 4001
    assert challenge_of(answer).stale
    # What it makes of that challenge is fresh again.
    again = authorization(challenge_of(answer), "alice", PASSWORD, "REGISTER", "sip:siphub.net")
    assert result_code(ask(disc, with_credentials(again), NOW + 311)) == 2001


def test_an_expired_nonce_with_a_wrong_digest_is_wrong_not_stale(disc):
    """RFC 7616, 3.3: stale only for a digest that is right; else a guess looks like a hit."""
    credentials = respond(disc, password="guess")
    assert result_code(ask(disc, with_credentials(credentials), NOW + 311)) == 5003


@pytest.mark.parametrize(
    "nonce",
    ["0", "a" * 56, "5f3c9a1d", "\u00e9" * 56],
    ids=["short", "forged", "other", "utf-8"],
)
def test_a_nonce_that_is_not_ours_is_stale_where_the_digest_is_right(disc, nonce):
    """It may be from before a restart: the password is right, and is to be tried again (RFC 7616, 3.3)."""
    challenge = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{nonce}", qop="auth"')
    value = authorization(challenge, "alice", PASSWORD, "REGISTER", "sip:siphub.net")
    answer = ask(disc, with_credentials(value))
    assert result_code(answer) == 4001
    assert challenge_of(answer).stale
    assert disc.counts[Outcome.FOREIGN_NONCE] == 1
    guess = authorization(challenge, "alice", "guess", "REGISTER", "sip:siphub.net")
    assert result_code(ask(disc, with_credentials(guess))) == 5003
    assert disc.counts[Outcome.WRONG_DIGEST] == 1


@pytest.mark.parametrize("password", [PASSWORD, "guess"])
def test_an_empty_nonce_answers_no_challenge_and_gets_one(disc, password):
    """3GPP TS 24.229, 5.1.1.2. The digest is not looked at, so that right and wrong ones look the same."""
    challenge = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="", qop="auth"')
    value = authorization(challenge, "alice", password, "REGISTER", "sip:siphub.net")
    answer = ask(disc, with_credentials(value))
    assert result_code(answer) == 4001
    assert not challenge_of(answer).stale
    assert disc.counts[Outcome.CHALLENGED] == 1


def test_a_nonce_of_another_realm_is_not_ours(path):
    with Accounts.open(path, writable=True) as store:
        store.add_user("alice", "example.org", PASSWORD)
        disc = Disc(SqliteStore(store.database))
        nonce = challenge_of(ask(disc, question(ad.Avp(DESTINATION_REALM, "example.org")))).nonce
        challenge = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{nonce}", qop="auth"')
        value = authorization(challenge, "alice", PASSWORD, "REGISTER", "sip:siphub.net")
        assert result_code(ask(disc, with_credentials(value))) == 4001


def change(value, *replacements):
    for old, new in replacements:
        assert old in value
        value = value.replace(old, new)
    return value


@pytest.mark.parametrize(
    "replacement",
    [
        ("algorithm=MD5", "algorithm=SHA-256"),
        ("algorithm=MD5", "algorithm=FOO"),
        ("algorithm=MD5", 'algorithm="MD5 "'),
        ("qop=auth,", "qop=auth-int,"),
        ("qop=auth,", "qop=foo,"),
        ("nc=00000001", "nc=00000002"),
        ("nc=00000001, ", ""),
        ("nc=00000001", "nc=xyz"),
        ('uri="sip:siphub.net"', 'uri="sip:example.org"'),
        ('response="', 'response="0'),
    ],
    ids=lambda pair: pair[1] or f"no {pair[0]}",
)
def test_credentials_that_were_touched_are_refused(disc, replacement):
    value = change(respond(disc), replacement)
    assert result_code(ask(disc, with_credentials(value))) == 5003


def test_auth_int_was_not_offered(disc):
    """By default: DISC sees the body's hash from our client alone."""
    challenge = challenge_of(ask(disc, question()))
    forged = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{challenge.nonce}", qop="auth-int"')
    value = authorization(forged, "alice", PASSWORD, "REGISTER", "sip:siphub.net")
    assert result_code(ask(disc, with_credentials(value))) == 5003
    assert disc.counts[Outcome.QOP_NOT_OFFERED] == 1


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Digest",
        "Basic YWxpY2U6c2VjcmV0",
        'Digest username="alice"',
        "Digest \x00",
        b"\xff\xff",
        "Digest ,=,",
    ],
)
def test_credentials_that_break_the_grammar_are_refused(disc, value):
    assert result_code(ask(disc, with_credentials(value))) == 5003
    assert disc.counts[Outcome.MALFORMED_CREDENTIALS] == 1


def test_an_unknown_user_and_a_wrong_password_cannot_be_told_apart(disc, rechallenging):
    """Nobody learns who exists: same code, same AVPs, with and without `rechallenge`."""
    for judge in (disc, rechallenging):
        wrong = ask(judge, with_credentials(respond(judge, "alice", "guess")))
        unknown = ask(judge, with_credentials(respond(judge, "mallory", "guess")))
        assert result_code(wrong) == result_code(unknown)
        shapes = [[(avp.code, avp.flags, len(avp.data)) for avp in found.avps] for found in (wrong, unknown)]
        assert shapes[0] == shapes[1]
        assert judge.counts[Outcome.UNKNOWN_USER] == judge.counts[Outcome.WRONG_DIGEST] == 1


def test_nobody_gets_in_with_the_digest_of_the_user_who_is_not_there(disc):
    """An unknown user is compared with some HA1; to guess that one must not help."""
    for ha1 in ("0" * 32, candidates((None,), "MD5").ha1s):
        challenge = challenge_of(ask(disc, question()))
        response = ad.digest_response(ha1, "REGISTER", "sip:siphub.net", challenge.nonce)
        value = (
            f'Digest username="mallory", realm="{REALM}", nonce="{challenge.nonce}", uri="sip:siphub.net",'
            f' response="{response}"'
        )
        assert result_code(ask(disc, with_credentials(value))) == 5003
    assert disc.counts[Outcome.UNKNOWN_USER] == 2


def test_a_user_whose_ha1_is_not_usable_cannot_get_in(path):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE subscriber SET ha1 = '', ha1b = '' WHERE username = 'alice'")
    with SqliteStore.open(path) as store:
        disc = Disc(store)
        for password in (PASSWORD, ""):
            assert result_code(ask(disc, with_credentials(respond(disc, "alice", password)))) == 5003


@pytest.mark.parametrize(
    ("username", "password", "outcome"),
    [
        ("alice", "guess", Outcome.WRONG_DIGEST),
        ("mallory", "guess", Outcome.UNKNOWN_USER),
    ],
)
def test_with_rechallenge_the_refused_may_try_again(rechallenging, username, password, outcome):
    answer = ask(rechallenging, with_credentials(respond(rechallenging, username, password)))
    assert result_code(answer) == 4001
    assert not challenge_of(answer).stale
    assert rechallenging.counts[outcome] == 1


# --- what the C module of Kamailio does ----------------------------------------------------------------


def test_a_realm_that_no_challenge_can_name_is_refused_and_takes_no_other_question_along(rechallenging):
    """A quoted-pair may hold a control character; a challenge with one would end in a SIP header."""
    value = respond(rechallenging).replace(f'realm="{REALM}"', 'realm="a\\\x01b"')
    answers = ask_all(rechallenging, with_credentials(value) + question())
    assert sorted(map(result_code, answers)) == [4001, 5003]


def test_the_user_is_the_digests_own_not_user_name(disc):
    """5.6.3 cuts the last byte of User-Name where there are credentials: alice@siphub.ne."""
    value = respond(disc)
    for user_name in ("alice@siphub.ne", "bob@siphub.net", "x"):
        asked = question(ad.Avp(RESPONSE, value), ad.Avp(METHOD, "REGISTER"), ad.Avp(USER_NAME, user_name))
        assert result_code(ask(disc, asked)) == 2001


def test_nuls_at_the_end_of_user_name_and_resource_are_padding(disc):
    asked = question(ad.Avp(USER_NAME, b"alice@siphub.net\0"), ad.Avp(RESOURCE, b"siphub.net\0005060\0"))
    assert result_code(ask(disc, asked)) == 4001


def test_a_user_name_of_a_group_check_loses_its_nul_as_well(disc):
    assert result_code(ask(disc, group_question(b"alice\0", "voicemail"))) == 2001


def test_an_answer_has_what_the_c_module_looks_for(disc):
    """It wants 406, 404 and 268 in each, and no AVP of length 8 (that is, without data)."""
    value = respond(disc)
    for asked in (
        question(),
        with_credentials(value),
        with_credentials("Digest"),
        group_question("alice", "voicemail"),
        group_question("bob", "voicemail"),
    ):
        answer = ask(disc, asked)
        codes = [avp.code for avp in answer.avps]
        assert codes[:3] == [RESULT_CODE, SIP_MSGID, SERVICE_TYPE]
        assert all(avp.data for avp in answer.avps)
        assert answer.find(SIP_MSGID).data == b"\x01\x02\x03\x04"


@pytest.mark.parametrize("msgid", [b"\xde\xad\xbe\xef", b"\0\0\0\0", b"\0", b"12345678"])
def test_sip_msgid_is_opaque(disc, msgid):
    """It is in the sender's byte order: echoed as it came."""
    assert ask(disc, question(msgid=msgid)).find(SIP_MSGID).data == msgid


def test_the_answer_repeats_the_header_of_its_question(disc):
    """RFC 6733, 6.2: command, application and both identifiers; the R bit is gone."""
    answer = ask(disc, question())
    assert (answer.command, answer.application_id) == (265, 1)
    assert (answer.hop_by_hop, answer.end_to_end, answer.flags) == (7, 9, 0)


# --- Service-Type 8 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user_name", "group", "code"),
    [
        ("alice", "voicemail", 2001),
        ("alice@siphub.net", "voicemail", 2001),
        ("alice@SIPHUB.net", "voicemail", 2001),
        ("alice@example.org", "voicemail", 4001),
        ("alice", "Voicemail", 4001),
        ("alice", "voicemail2", 4001),
        ("Alice", "voicemail", 4001),
        ("bob", "voicemail", 4001),
        ("mallory", "voicemail", 4001),
        ("' OR 1=1 --", "voicemail", 4001),
        (b"\xff\xfe", "voicemail", 4001),
        ("alice", b"\xff", 4001),
    ],
)
def test_group_membership(disc, user_name, group, code):
    answer = ask(disc, group_question(user_name, group))
    assert result_code(answer) == code
    assert answer.find(CHALLENGE) is None


# --- malformed: RFC 6733, 7.1 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(question(command=280), 3001, id="command unsupported"),
        pytest.param(question(command=271), 3001, id="accounting command"),
        pytest.param(question(flags=0xA0), 3008, id="E bit on a request"),
        pytest.param(question(ad.Avp(SERVICE_TYPE, b"9")), 5004, id="accounting service"),
        pytest.param(question(ad.Avp(SERVICE_TYPE, b"\0")), 5004, id="unknown service"),
        pytest.param(question(without=[SERVICE_TYPE]), 5005, id="no Service-Type"),
        pytest.param(question(without=[USER_NAME]), 5005, id="no User-Name"),
        pytest.param(question(without=[DESTINATION_REALM]), 5005, id="no Destination-Realm"),
        pytest.param(question(ad.Avp(RESPONSE, "Digest")), 5005, id="credentials without a method"),
        pytest.param(question(ad.Avp(SERVICE_TYPE, b"8")), 5005, id="group check without a group"),
        pytest.param(question(ad.Avp(SERVICE_TYPE, b"66")), 5014, id="Service-Type too long"),
        pytest.param(question(ad.Avp(USER_NAME, b"")), 5004, id="User-Name empty"),
        pytest.param(question(ad.Avp(USER_NAME, b"al\0ice")), 5004, id="User-Name with a NUL inside"),
    ],
)
def test_what_is_malformed_gets_a_result_code(disc, data, code):
    """An answer in every case, never silence: the SIP server would wait for its time limit."""
    answer = ask(disc, data)
    assert result_code(answer) == code
    # RFC 6733, 7.1.3: the E bit goes with protocol errors (3xxx), and with them only.
    assert bool(answer.flags & 0x20) == (3000 <= code < 4000)
    assert answer.find(SIP_MSGID).data == b"\x01\x02\x03\x04"
    assert disc.counts == Counter({Outcome.MALFORMED: 1})


def test_an_avp_that_occurs_twice_is_one_too_many(disc):
    """RFC 6733, 7.1.5: 5009. Two User-Names leave open who is meant."""
    message = ad.Message.decode(question())
    twice = ad.Message(265, [*message.avps, ad.Avp(USER_NAME, "bob@siphub.net")], application_id=1).encode()
    assert result_code(ask(disc, twice)) == 5009


def test_an_avp_longer_than_its_message(disc):
    """RFC 6733, 7.1.5: 5014, INVALID_AVP_LENGTH."""
    data = bytearray(question())
    at = data.index(b"alice@siphub.net") - 1
    data[at] = 0xFF
    assert result_code(ask(disc, bytes(data))) == 5014


def test_a_group_check_without_sip_msgid_is_matched_by_its_header(disc):
    answer = ask(disc, question(without=[SIP_MSGID]))
    assert result_code(answer) == 4001
    assert (answer.find(SIP_MSGID), answer.hop_by_hop) == (None, 7)


def test_an_answer_among_questions_is_passed_over(disc):
    assert ask_all(disc, question(flags=0x00)) == []


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from([1, 283, 400, 401, 403, 404, 405, 406]), st.binary(max_size=40))))
def test_every_question_gets_exactly_one_answer(avps):
    data = ad.Message(265, [ad.Avp(code, value) for code, value in avps], application_id=1).encode()
    with SqliteStore.open(":memory:") as store:
        answer = ask(Disc(store), data)
    assert result_code(answer) in {3001, 4001, 5003, 5004, 5005, 5009, 5014}


# --- many at once --------------------------------------------------------------------------------------


def test_a_batch_is_answered_question_by_question(disc):
    """Digests are verified together; each answer still belongs to its own question."""
    right, wrong = respond(disc), respond(disc, password="guess")
    asked, expected = bytearray(), {}
    for number in range(60):
        msgid = number.to_bytes(4, "big")
        kind = number % 4
        if kind == 0:
            asked += with_credentials(right, msgid=msgid)
        elif kind == 1:
            asked += with_credentials(wrong, msgid=msgid)
        elif kind == 2:
            asked += with_credentials(respond(disc, f"alice@{REALM}"), msgid=msgid)
        else:
            asked += question(msgid=msgid)
        expected[msgid] = (2001, 5003, 2001, 4001)[kind]
    answers = {answer.find(SIP_MSGID).data: result_code(answer) for answer in ask_all(disc, bytes(asked))}
    assert answers == expected


# --- the store -----------------------------------------------------------------------------------------


class Failing:
    """A store that fails when told so, and counts how often it is asked."""

    name = "disc.sqlite"
    waits = False

    def __init__(self, store):
        self.store = store
        self.failing = True
        self.asked = 0

    def watch(self, changed):
        pass

    async def version(self):
        return await self._ask(self.store.version)

    async def fetch(self, keys):
        return await self._ask(self.store.fetch, keys)

    async def _ask(self, lookup, *arguments):
        self.asked += 1
        if self.failing:
            raise StoreError("disc.sqlite: database is locked")
        return await lookup(*arguments)


def test_a_store_that_fails_is_5012_and_never_a_way_in(disc, store):
    """RFC 6733, 7.1.5: DIAMETER_UNABLE_TO_COMPLY; the SIP server makes a 500 of it."""
    value = respond(disc)
    failing = Failing(store)
    broken = Disc(failing)
    for asked in (question(), with_credentials(value), group_question("alice", "voicemail")):
        assert result_code(ask(broken, asked)) == 5012
    assert broken.counts == Counter({Outcome.STORE_FAILED: 3})


def test_a_store_that_fails_is_asked_once_in_a_while_and_logged_once(store, caplog):
    """Each try may wait for a lock: a thousand questions must not wait a thousand times."""
    failing = Failing(store)
    disc = Disc(failing)
    answers = ask_all(disc, question() * 1000)
    assert {result_code(answer) for answer in answers} == {5012}
    assert failing.asked == 1
    ask_all(disc, question() * 1000, NOW + 1.0)
    assert failing.asked == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "disc.sqlite: database is locked" in caplog.text


def test_a_store_that_is_back_is_used_and_logged(store, caplog):
    failing = Failing(store)
    disc = Disc(failing)
    ask(disc, question())
    failing.failing = False
    assert result_code(ask(disc, question(), NOW + 1.0)) == 4001
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "can be read again" in caplog.text


def test_a_user_who_was_looked_up_fails_as_well_while_the_store_does(disc, store):
    """Somebody may just be deleting that user."""
    failing = Failing(store)
    failing.failing = False
    cached = Disc(failing, nonces=(nonces := Nonces()))
    value = respond(Disc(store, nonces=nonces))
    assert result_code(ask(cached, with_credentials(value))) == 2001
    failing.failing = True
    assert result_code(ask(cached, with_credentials(value), NOW + 1.0)) == 5012


class Busy(Failing):
    """A store that changes all the time, and that is too slow for lookups when told so."""

    async def version(self):
        self.asked += 1
        return self.asked

    async def fetch(self, keys):
        if self.failing:
            raise StoreBusyError("disc.sqlite: is too slow")
        return await self.store.fetch(keys)


def test_a_user_at_hand_goes_on_while_the_store_is_too_slow_for_him(store, caplog):
    """As while it fails, and for as long; and no log says that it cannot be read."""
    busy = Busy(store)
    busy.failing = False
    disc = Disc(busy, stale_for=60.0)
    first, second = (respond(disc, nc=number) for number in (1, 2))
    assert result_code(ask(disc, with_credentials(first))) == 2001
    busy.failing = True
    assert result_code(ask(disc, with_credentials(second), NOW + 1.0)) == 2001
    assert result_code(ask(disc, with_credentials(respond(disc, "bob", "builder")), NOW + 2.0)) == 5012
    assert caplog.text == ""


def test_a_changed_database_is_noticed(path, disc):
    value = respond(disc)
    assert result_code(ask(disc, with_credentials(value))) == 2001
    with Accounts.open(path, writable=True) as writer:
        writer.add_user("alice", REALM, "another", replace=True)
        writer.add_user("carol", "example.org", "secret")
    assert result_code(ask(disc, with_credentials(value), NOW + 1.0)) == 5003
    # So is a realm that was asked for in vain before.
    asked = question(ad.Avp(DESTINATION_REALM, "example.org"))
    assert result_code(ask(disc, asked, NOW + 1.0)) == 4001


def test_a_deleted_user_is_out_within_half_a_second(path, disc):
    value = respond(disc)
    assert result_code(ask(disc, with_credentials(value))) == 2001
    with Accounts.open(path, writable=True) as writer:
        writer.delete_user("alice", REALM)
    assert result_code(ask(disc, with_credentials(value), NOW + 0.5)) == 5003


def test_a_clock_that_steps_back_does_not_keep_a_deleted_user_in(path, disc):
    value = respond(disc, now=NOW - 3600)
    ask(disc, with_credentials(value))
    with Accounts.open(path, writable=True) as writer:
        writer.delete_user("alice", REALM)
    assert result_code(ask(disc, with_credentials(value), NOW - 3600)) == 5003


ROOMS = [
    (module, name) for module in (cache, verifier_module) for name in vars(module) if name.endswith("_ROOM")
]


def test_all_that_is_kept_at_hand_takes_64_mib_at_most():
    assert len(ROOMS) >= 6
    assert sum(getattr(module, name) for module, name in ROOMS) <= 64 << 20


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\U0001f4de"], ids=["ASCII", "Latin", "four bytes each"])
def test_names_that_strangers_ask_for_do_not_fill_the_memory(store, monkeypatch, letter):
    """Strangers choose who is asked for, in which realm, and how many bytes a character takes."""
    for module, name in ROOMS:
        monkeypatch.setattr(module, name, 64 << 10)
    disc = Disc(store, VerifierConfig(rechallenge=True, userhash=True, algorithms=("SHA-256", "MD5")))
    value = respond(disc, username="NAME", password="guess", qop="auth")
    attacks = [
        lambda name: with_credentials(value.replace("NAME", name)),
        lambda name: with_credentials(value.replace("NAME", name) + ", userhash=true"),
        lambda name: with_credentials(value.replace(f'realm="{REALM}"', f'realm="{name}"')),
        lambda name: question(ad.Avp(DESTINATION_REALM, name)),
        lambda name: question(ad.Avp(USER_NAME, f"{name}@{REALM}")),
    ]

    def attack(first):
        for number in range(first, first + 150):
            for make in attacks:
                ask(disc, make(f"{number}".ljust(200, letter)))

    attack(0)
    tracemalloc.start()
    try:
        attack(1000)
        gc.collect()
        # What is kept besides the rooms, which were taken at the start; the question at hand is not kept.
        assert tracemalloc.get_traced_memory()[0] <= len(ROOMS) * (64 << 10)
        assert disc._driver.cache.users.count("user") > 10
    finally:
        tracemalloc.stop()


def test_one_huge_name_is_not_kept(disc):
    for name in ("x" * 60_000, "\U0001f4de" * 1024):
        ask(disc, question(ad.Avp(DESTINATION_REALM, name)))
        assert disc._driver.cache.get(Realm(name)) is None


# --- the log -------------------------------------------------------------------------------------------


def test_the_log_says_what_became_of_each_question_but_no_secret(disc, caplog):
    value = respond(disc)
    with caplog.at_level(logging.DEBUG, "auth_diameter.disc"):
        ask(disc, with_credentials(value))
        ask(disc, with_credentials(respond(disc, password="guess")))
    assert "AUTHORIZED" in caplog.text
    assert "WRONG_DIGEST" in caplog.text
    assert "alice@siphub.net" in caplog.text
    credentials = ad.Credentials.parse(value)
    for secret in (credentials.response, credentials.nonce, ad.ha1("alice", REALM, PASSWORD), PASSWORD):
        assert secret not in caplog.text


def test_a_line_of_the_log_cannot_be_forged(disc, caplog):
    with caplog.at_level(logging.DEBUG, "auth_diameter.disc"):
        ask(disc, question(ad.Avp(USER_NAME, "alice\r\n2026 ERROR forged")))
    assert all("\n" not in record.getMessage() for record in caplog.records)
