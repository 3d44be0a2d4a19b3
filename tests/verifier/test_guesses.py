"""What DISC counts as a guess, and for whom: a wrong digest always, a right one never.

How many are too many is in test_penalties.py; here is what is counted, over all SIP servers that ask.
"""

import secrets
import sys
from collections import Counter

import pytest
from kit.asker import REALM, Asker
from kit.sip import PASSWORD
from kit.wire import challenges_of, failed
from kit.wire import result_code as code

import auth_diameter as ad
from auth_diameter._core import RequestStream, user_hash
from auth_diameter.lab.uac import authorization
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import Algorithms, StoreError
from auth_diameter.verifier.outcome import Outcome

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"
URI = f"sip:{REALM}"


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "disc.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", REALM, PASSWORD)
        store.add_user("bob", REALM, "builder")
    with SqliteStore.open(path) as opened:
        yield opened


@pytest.fixture
def make(store):
    """A DISC of these settings, whose SIP servers tell the source."""

    def make(nonces=None, **settings):
        asker = Asker(store, nonces, **settings)
        asker.source = HERE
        return asker

    return make


def guess(asker, count=1, **more):
    """Answers to so many wrong passwords, one after the other."""
    return [asker.ask(asker.respond(password=f"guess {number}", **more)) for number in range(count)]


def judged(asker):
    """How many wrong digests were judged, for whomever."""
    return asker.counts[Outcome.WRONG_DIGEST] + asker.counts[Outcome.UNKNOWN_USER]


def is_held_back(answer):
    """5003, which says of itself that it is for the source: Calling-Station-Id."""
    return code(answer) == 5003 and failed(answer) == 31


# ------------------------------------------------------------------ a wrong digest always


def test_after_five_wrong_digests_none_is_judged_and_the_sip_server_is_told_so(make):
    disc = make()
    answers = guess(disc, 8)
    assert [code(answer) for answer in answers] == [5003] * 8
    assert [failed(answer) for answer in answers] == [None] * 5 + [31] * 3
    assert judged(disc) == 5
    assert disc.counts[Outcome.PENALIZED] == 3
    assert is_held_back(disc.ask(disc.respond())), "nor is a right one"
    disc.now += 1
    assert code(disc.ask(disc.respond())) == 2001


def test_openser_s_module_is_told_no_more_than_the_result(make):
    """It knows no Failed-AVP."""
    disc = make()
    disc.end_to_end = 0
    assert [failed(answer) for answer in guess(disc, 8)] == [None] * 8


def test_an_unknown_user_is_a_guess_like_any_other(make):
    """Or the limits would tell who exists."""
    disc = make()
    answers = guess(disc, 8, user="nobody")
    assert [failed(answer) for answer in answers] == [None] * 5 + [31] * 3


def test_the_owner_elsewhere_is_let_in_meanwhile(make):
    disc = make()
    guess(disc, 8)
    disc.source = ELSEWHERE
    assert code(disc.ask(disc.respond())) == 2001


def test_guesses_by_way_of_all_sip_servers_count_together(make):
    """Eight workers, one guess each in turn: the source is what counts, not the connection."""
    disc = make()
    for turn in range(40):
        disc.one_challenge = bool(turn % 2)  # as of another SIP server
        guess(disc)
    assert judged(disc) == 5


def test_a_spray_over_four_thousand_names_is_75(make):
    disc = make(rechallenge=True)
    for number in range(4000):
        guess(disc, user=f"user{number}")
    assert judged(disc) == 75
    assert is_held_back(disc.ask(disc.respond())), "also the one that would be right"


def test_with_rechallenge_each_wrong_one_counts_too(make):
    disc = make(rechallenge=True)
    answers = guess(disc, 8)
    assert [code(answer) for answer in answers] == [4001] * 5 + [5003] * 3
    assert not any(challenges_of(answer)["MD5"].stale for answer in answers[:5])


@pytest.mark.parametrize("password", ["wrong", PASSWORD], ids=["wrong", "right"])
def test_questions_of_one_read_are_not_judged_at_once(make, password):
    """Three thousand guesses in one segment are five; four hundred calls of a trunk all get through."""
    disc = make()
    challenge = disc.challenges()["MD5"]
    values = [
        authorization(challenge, "alice", password, "REGISTER", URI, nc=number + 1) for number in range(400)
    ]
    answers = disc.answer(*[disc.question(value) for value in values])
    if password == PASSWORD:
        assert disc.counts[Outcome.AUTHORIZED] == 400
        assert {code(answer) for answer in answers} == {2001}
    else:
        assert disc.counts[Outcome.WRONG_DIGEST] == 5
        assert disc.counts[Outcome.PENALIZED] == 395
        assert Counter(failed(answer) for answer in answers) == {None: 5, 31: 395}


@pytest.mark.parametrize("letters", [str.upper, str.lower, str.swapcase, str.title])
def test_a_hashed_name_counts_for_the_account_however_it_is_spelled(make, letters):
    """RFC 7616, 3.4.4; and together with the name in clear."""
    disc = make(userhash=True)
    hashed = user_hash("alice", REALM, "MD5")
    for number in range(5):
        value = disc.respond(password="guess", userhash=number < 3)
        assert code(disc.ask(value.replace(hashed, letters(hashed)))) == 5003
    assert judged(disc) == 5
    assert is_held_back(disc.ask(disc.respond(userhash=True)))
    assert is_held_back(disc.ask(disc.respond()))


def test_a_hash_that_is_nobody_s_is_no_guess_at_its_neighbour(make):
    disc = make(userhash=True)
    for _ in range(5):
        value = disc.respond(password="guess", userhash=True)
        disc.ask(value.replace(user_hash("alice", REALM, "MD5"), "0" * 32))
    assert is_held_back(disc.ask(value.replace(user_hash("alice", REALM, "MD5"), "0" * 32)))
    assert code(disc.ask(disc.respond())) == 2001
    assert code(disc.ask(disc.respond(user="bob", password="builder"))) == 2001


def test_nor_is_it_another_guess_in_other_letters(make):
    """Or who spells it in a new way each time has as many guesses as he likes."""
    disc = make(userhash=True)
    nobody = "ab" * 16
    for letters in (nobody, nobody.upper(), nobody.title(), nobody.swapcase(), "aB" * 16, "Ab" * 16):
        value = disc.respond(password="guess", userhash=True)
        answer = disc.ask(value.replace(user_hash("alice", REALM, "MD5"), letters))
    assert is_held_back(answer)
    assert judged(disc) == 5


def test_without_penalty_all_are_judged(make):
    disc = make(penalty=False)
    guess(disc, 20)
    assert judged(disc) == 20


# ------------------------------------------------------------------ where the source is not told


def test_without_a_source_guesses_are_counted_and_hold_nobody_back(make):
    """OpenSER's module: for else anybody could lock anybody out."""
    disc = make()
    disc.source = ""
    guess(disc, 20)
    assert disc.counts[Outcome.WRONG_DIGEST] == 20
    assert code(disc.ask(disc.respond())) == 2001


def test_unless_accounts_are_to_be_limited(make):
    disc = make(limit_accounts=True)
    disc.source = ""
    guess(disc, 20)
    assert disc.counts[Outcome.WRONG_DIGEST] == 5
    assert is_held_back(disc.ask(disc.respond()))
    assert code(disc.ask(disc.respond(user="bob", password="builder"))) == 2001
    disc.source = HERE
    assert code(disc.ask(disc.respond())) == 2001, "who tells the source has its own count"


# ------------------------------------------------------------------ a right digest never


def restarted(asker):
    """The nonce of the challenge is of before a restart: another key."""
    asker.disc._driver.verifier.nonces.use(b"another key, just as secret")


def expired(asker):
    asker.now += 311


def from_a_clock_ahead(asker):
    asker.now -= 11


@pytest.mark.parametrize("make_useless", [restarted, expired, from_a_clock_ahead])
def test_a_right_digest_on_a_nonce_of_no_use_is_stale_and_never_counted(make, make_useless):
    """RFC 7616, 3.3. A telephone with busy lamps refreshes eight subscriptions with the nonce that it has."""
    disc = make()
    challenge = disc.challenges()["MD5"]
    make_useless(disc)
    for nc in range(1, 30):
        value = authorization(challenge, "alice", PASSWORD, "REGISTER", URI, nc=nc)
        assert disc.challenges(value)["MD5"].stale
    assert code(disc.ask(disc.respond())) == 2001


@pytest.mark.parametrize("make_useless", [restarted, expired, from_a_clock_ahead])
def test_a_wrong_one_is_never_stale_and_always_counted(make, make_useless):
    disc = make()
    challenge = disc.challenges()["MD5"]
    make_useless(disc)
    answers = [
        disc.ask(authorization(challenge, "alice", "guess", "REGISTER", URI, nc=nc)) for nc in range(1, 8)
    ]
    assert [code(answer) for answer in answers] == [5003] * 7
    assert judged(disc) == 5


def test_a_right_digest_on_another_system_s_nonce_neither_clears_the_count_nor_speaks_for_its_source(make):
    """Or who overheard one would reset the limits for ever."""
    disc = make()
    foreign = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{secrets.token_hex(20)}", qop="auth"')
    overheard = authorization(foreign, "alice", PASSWORD, "REGISTER", URI)
    for number in range(5):
        assert disc.challenges(overheard)["MD5"].stale, f"{number} wrong so far"
        guess(disc)
    assert is_held_back(disc.ask(overheard))


def test_nor_does_a_retransmission(make):
    """The same bytes from the same address are let in once more (RFC 6733, 3), and prove nothing new."""
    disc = make()
    disc.end_to_end = 7
    value = disc.respond()
    assert code(disc.ask(value)) == 2001
    disc.end_to_end = None
    guess(disc, 4)
    disc.end_to_end = 7
    assert code(disc.ask(value)) == 2001
    assert disc.counts[Outcome.RETRANSMITTED] == 1
    disc.end_to_end = None
    guess(disc)
    assert is_held_back(disc.ask(disc.respond()))


def test_a_right_digest_for_another_uri_is_refused_and_not_counted(make):
    """Its password is right: the SIP server is told that it is about the digest-uri (RFC 6733, 7.5)."""
    disc = make()
    challenge = disc.challenges()["MD5"]
    for nc in range(1, 10):
        value = authorization(challenge, "alice", PASSWORD, "REGISTER", "sip:sbc.carrier.example", nc=nc)
        answer = disc.ask(value)
        assert (code(answer), failed(answer)) == (5003, 109)
    assert disc.counts[Outcome.OTHER_URI] == 9
    assert code(disc.ask(disc.respond())) == 2001


def test_nor_one_with_the_count_zero_nor_a_replay(make):
    disc = make()
    value = disc.respond()
    assert code(disc.ask(value)) == 2001
    for _ in range(10):
        assert disc.challenges(value)["MD5"].stale
        answer = disc.ask(disc.respond(nc=0))
        assert (code(answer), failed(answer)) == (5003, 114)
    assert code(disc.ask(disc.respond())) == 2001


@pytest.mark.parametrize(
    ("change", "avp"),
    [
        (("algorithm=MD5", "algorithm=SHA-256"), 401),  # 32 digits are no response of SHA-256: malformed
        (("algorithm=MD5", "algorithm=MD5-sess"), 111),
        (("qop=auth", "qop=auth-int"), 110),
        ((f'realm="{REALM}"', 'realm="elsewhere.example"'), 283),
    ],
)
def test_what_cannot_be_judged_is_no_guess_and_says_what_it_is_about(make, change, avp):
    """The answer is the same for each password: nobody learns anything."""
    disc = make()
    for _ in range(10):
        answer = disc.ask(disc.respond(password="guess").replace(*change))
        assert code(answer) == 5003
        assert failed(answer) == (103 if avp == 401 else avp)
    assert judged(disc) == 0
    assert code(disc.ask(disc.respond())) == 2001


def test_the_same_with_rechallenge(make):
    disc = make(rechallenge=True, max_challenges=20)
    challenge = disc.challenges()["MD5"]
    value = authorization(challenge, "alice", PASSWORD, "REGISTER", "sip:sbc.carrier.example")
    for _ in range(10):
        answer = disc.ask(value)
        assert (code(answer), failed(answer)) == (4001, 109)
        assert not challenges_of(answer)["MD5"].stale, "it would try the same again for ever"
    assert code(disc.ask(disc.respond())) == 2001


def test_the_one_attempt_after_a_penalty_is_not_used_up_by_a_stale_nonce(make):
    disc = make()
    before = disc.respond()
    restarted(disc)
    guess(disc, 5)
    disc.now += 1
    stale = disc.challenges(before)["MD5"]
    assert stale.stale
    assert code(disc.ask(authorization(stale, "alice", PASSWORD, "REGISTER", URI))) == 2001


# ------------------------------------------------------------------ nonces that are bound to a source


def test_a_forged_source_keeps_nobody_out_where_nonces_are_bound(make):
    """Only a guess on a nonce that was given to that source counts against it."""
    disc = make(bind_source=True)
    disc.source = ELSEWHERE
    challenge = disc.challenges()["MD5"]
    disc.source = HERE
    for nc in range(1, 100):
        value = authorization(challenge, "alice", "guess", "REGISTER", URI, nc=nc)
        assert disc.challenges(value)["MD5"].stale
    assert judged(disc) == 0
    assert code(disc.ask(disc.respond())) == 2001
    guess(disc, 5)
    assert is_held_back(disc.ask(disc.respond()))


@pytest.mark.parametrize("kind", ["right", "wrong", "nobody's"])
def test_on_any_other_nonce_the_answer_tells_nothing_about_the_password(make, kind):
    disc = make(bind_source=True)
    disc.source = ELSEWHERE
    user, password = {"right": ("alice", PASSWORD), "wrong": ("alice", "x"), "nobody's": ("nobody", "x")}[
        kind
    ]
    value = disc.respond(user=user, password=password)
    disc.source = HERE
    answer = disc.ask(value)
    assert code(answer) == 4001
    assert challenges_of(answer)["MD5"].stale
    assert failed(answer) is None


def test_on_an_expired_nonce_of_one_s_own_a_wrong_digest_is_wrong(make):
    disc = make(bind_source=True)
    right, wrong = disc.respond(), disc.respond(password="guess")
    expired(disc)
    assert code(disc.ask(wrong)) == 5003
    assert disc.challenges(right)["MD5"].stale


def test_a_nonce_that_the_address_was_given_long_ago_is_no_one_s_own(make):
    """Whoever had the address before could else keep its next holder out."""
    disc = make(bind_source=True)
    wrong = disc.respond(password="guess")
    disc.now += 3601
    assert disc.challenges(wrong)["MD5"].stale
    assert judged(disc) == 0


# ------------------------------------------------------------------ clocks of a cluster


@pytest.mark.parametrize("drift", [-10, 10])
def test_clocks_that_differ_by_ten_seconds_make_no_difference(make, drift):
    """A nonce is good, and its count remembered, for its lifetime and ten seconds."""
    maker, taker = make(), make()
    maker.now += drift
    challenge = maker.challenges()["MD5"]

    def ask(nc):
        return taker.ask(authorization(challenge, "alice", PASSWORD, "REGISTER", URI, nc=nc))

    assert code(ask(1)) == 2001
    taker.now += 300
    assert code(ask(2)) == 2001
    answer = ask(1)
    assert (code(answer), challenges_of(answer)["MD5"].stale) == (4001, True)
    assert taker.counts[Outcome.REPLAYED] == 1


def test_a_nonce_of_a_clock_ahead_whose_use_was_forgotten_is_no_unused_one(make):
    """Memory is bounded; a replay must not pass because the nonce was made in the future."""
    maker, taker = make(), make(max_nonces=1)
    maker.now += 9
    values = [maker.respond() for _ in range(4)]
    assert code(taker.ask(values[0])) == 2001
    for value in values[1:]:
        taker.ask(value)
    assert code(taker.ask(values[0])) == 4001


# ------------------------------------------------------------------ retransmissions


def test_a_retransmission_has_more_in_common_than_32_bits(make):
    """Who replays a digest in 2**32 requests of his own meets the same End-to-End Identifier."""
    disc = make()
    disc.end_to_end, disc.session = 7, "ab" * 16
    value = disc.respond()
    assert code(disc.ask(value)) == 2001
    disc.session = "cd" * 16
    assert code(disc.ask(value)) == 4001
    disc.session = "ab" * 16
    assert code(disc.ask(value)) == 2001
    assert disc.counts[Outcome.RETRANSMITTED] == 1


def test_another_digest_on_a_used_count_is_no_retransmission(make):
    """Whatever the SIP server calls its question."""
    disc = make()
    disc.end_to_end, disc.session = 7, "ab" * 16
    challenge = disc.challenges()["MD5"]
    first, other = (authorization(challenge, "alice", PASSWORD, "REGISTER", URI) for _ in range(2))
    assert first != other, "the cnonce differs"
    assert code(disc.ask(first)) == 2001
    assert code(disc.ask(other)) == 4001
    assert disc.counts[Outcome.REPLAYED] == 1


def test_a_sip_server_that_tells_no_session_leaves_few_guesses_at_the_identifier(make):
    """After sixteen replays of another one, a retransmission is a replay as well."""
    disc = make()
    disc.end_to_end = 7
    value = disc.respond()
    assert code(disc.ask(value)) == 2001
    for other in range(100, 116):
        assert code(disc.ask(value)) == 2001
        disc.end_to_end = other
        assert code(disc.ask(value)) == 4001
        disc.end_to_end = 7
    assert code(disc.ask(value)) == 4001


# ------------------------------------------------------------------ mistakes


class FailsOfAlgorithms(SqliteStore):
    """Fails with `error` when it is asked what to offer a user, once the digest was verified."""

    error: Exception | None = None

    async def fetch(self, keys):
        if self.error is not None and any(isinstance(key, Algorithms) for key in keys):
            raise self.error
        return await super().fetch(keys)


def test_an_attempt_that_ends_in_an_error_is_in_flight_no_more(store):
    """A store that fails, or a mistake of ours: the user is judged again afterwards."""
    failing = FailsOfAlgorithms(store.database)
    disc = Asker(failing, algorithms=("SHA-256", "MD5"))
    disc.source = HERE
    for error in (StoreError("locked"), ZeroDivisionError()):
        for _ in range(10):
            value = disc.respond()
            disc.disc._driver.cache.users.clear("algorithms")
            failing.error = error
            disc.now += 311  # stale
            assert [code(a) for a in disc.answer(*[disc.question(value) for _ in range(7)])] == [5012] * 7
            failing.error = None
            disc.now += 1
        assert code(disc.ask(disc.respond())) == 2001


def test_what_is_answered_is_not_kept(make):
    """An attempt holds on to no question; there are thousands a second."""
    disc = make()
    guess(disc, 10)
    requests = RequestStream().feed(disc.question(disc.respond(user="bob", password="builder")))
    disc.disc.answer(requests, bytearray(), disc.now)
    assert disc.counts[Outcome.AUTHORIZED] == 1
    references = sys.getrefcount(requests[0])
    assert references == 2, "that of the list and that of the argument"
