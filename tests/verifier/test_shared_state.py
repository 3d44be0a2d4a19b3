"""What several DISC count together, by the script in a real server; its clock is the test's."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.asker import KEY, REALM, Asker
from kit.redis_server import RedisServer
from kit.shared_state import Server
from kit.sip import PASSWORD
from kit.wire import aa_request, challenges_of, failed, group_avps, result_code
from kit.wire import ask as ask_wire

from auth_diameter.lab.uac import authorization
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces
from auth_diameter.verifier.outcome import Outcome
from auth_diameter.verifier.state.state import StateStats
from auth_diameter.verifier.verifier import sharing_of

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"
USERS = ("alice", "bob", "carol")


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    path = tmp_path_factory.mktemp("users") / "disc.sqlite"
    with Accounts.create(path) as store:
        for name in USERS:
            store.add_user(name, REALM, PASSWORD)
    with SqliteStore.open(path) as opened:
        yield opened


class World:
    """Several DISC that share a state.

    Attributes:
        server: the state's.
        discs: their SIP servers.
    """

    def __init__(self, redis, users, count=3, **settings):
        redis.say("FLUSHALL")
        self.server = Server(redis, **settings.pop("rules", {}))
        self._users = users
        self._settings = settings
        self.discs = []
        for _ in range(count):
            self.add()

    def add(self, nonces=None, key=KEY):
        """One more DISC, which has seen nothing."""
        state = self.server.state(key=key, **self._settings)
        asker = Asker(self._users, nonces, state, **self._settings)
        asker.source = HERE
        asker.state = state
        self.discs.append(asker)
        return asker

    def sleep(self, seconds):
        self.server.now += seconds
        for disc in self.discs:
            disc.now += seconds

    def attempt(self, disc, password=PASSWORD, user="alice", source=HERE, **changes):
        """The outcome of one attempt with a new nonce, by its name."""
        disc.source = source
        before = Counter(disc.counts)
        disc.ask(disc.respond(user=user, password=password, **changes), user=user)
        (outcome,) = (disc.counts - before) - Counter({Outcome.CHALLENGED: 1})
        return outcome.name


@pytest.fixture
def world(redis, users):
    made = []

    def make(*args, **settings):
        made.append(World(redis, users, *args, **settings))
        return made[-1]

    yield make
    for each in made:
        each.server.close()


def outcome_of(disc, *questions, **more):
    """The outcomes of questions that come together, by name and number."""
    before = Counter(disc.counts)
    ask_wire(disc.disc, *questions, now=disc.now, **more)
    return {outcome.name: count for outcome, count in (Counter(disc.counts) - before).items()}


# --- nonces -----------------------------------------------------------------------------------------------


def test_a_replay_is_refused_by_every_disc(world):
    first, *others = world().discs
    credentials = first.respond()
    assert outcome_of(first, first.question(credentials)) == {"AUTHORIZED": 1}
    for disc in others:
        assert outcome_of(disc, disc.question(credentials)) == {"REPLAYED": 1}


def test_a_replay_that_another_disc_knows_is_refused_the_second_time_without_a_question(world):
    w = world(2)
    first, second = w.discs
    first.source = second.source = ""  # nobody is counted: there is nothing else to be asked
    second.end_to_end = 4712  # the second time it looks like a retransmission
    credentials = first.respond()
    outcome_of(first, first.question(credentials))
    outcome_of(second, second.question(credentials))
    w.server.turns.clear()
    assert outcome_of(second, second.question(credentials)) == {"REPLAYED": 1}
    assert w.server.turns == []


def test_a_question_that_failed_over_is_a_retransmission_at_the_other_disc(world):
    """RFC 6733, 5.5.4: it keeps its End-to-End Identifier."""
    first, second, _ = world().discs
    credentials = first.respond()
    first.end_to_end = second.end_to_end = 4711
    assert outcome_of(first, first.question(credentials)) == {"AUTHORIZED": 1}
    assert outcome_of(second, second.question(credentials)) == {"RETRANSMITTED": 1}
    second.end_to_end = 4712
    assert outcome_of(second, second.question(credentials)) == {"REPLAYED": 1}


def test_after_32_seconds_it_is_a_replay(world):
    """RFC 3261, 17.1.2.2: no request is retransmitted for longer than 64 × T1."""
    w = world(3)
    first, second, third = w.discs
    credentials = first.respond()
    for disc in w.discs:
        disc.end_to_end = 4711
    outcome_of(first, first.question(credentials))
    w.sleep(32)
    assert outcome_of(second, second.question(credentials)) == {"RETRANSMITTED": 1}
    w.sleep(1)
    assert outcome_of(third, third.question(credentials)) == {"REPLAYED": 1}


def test_without_an_end_to_end_identifier_nothing_is_a_retransmission(world):
    """OpenSER's module sends none."""
    first, second, _ = world().discs
    credentials = first.respond()
    first.end_to_end = second.end_to_end = 0
    assert outcome_of(first, first.question(credentials)) == {"AUTHORIZED": 1}
    assert outcome_of(second, second.question(credentials)) == {"REPLAYED": 1}


def test_a_replay_within_one_turn_is_seen(world):
    disc, other, _ = world().discs
    credentials = [disc.respond(), disc.respond()]
    disc.source = other.source = ""
    assert outcome_of(disc, *(disc.question(each) for each in credentials)) == {"AUTHORIZED": 2}
    fresh = other.respond()
    again = [other.question(each) for each in (credentials[0], fresh, credentials[1])]
    assert outcome_of(other, *again) == {"AUTHORIZED": 1, "REPLAYED": 2}


def test_a_retransmission_within_one_turn_is_known_as_one(world):
    (disc,) = world(1).discs
    disc.source, disc.end_to_end = "", 4711
    question = disc.question(disc.respond())
    assert outcome_of(disc, question, question) == {"AUTHORIZED": 1, "RETRANSMITTED": 1}


def test_all_questions_of_a_turn_are_one_command(world):
    w = world(1)
    (disc,) = w.discs
    questions = [disc.question(disc.respond(nc=number)) for number in range(1, 41)]
    w.server.turns.clear()
    outcome_of(disc, *questions)
    assert len(w.server.turns) == 1


def test_challenges_and_group_checks_are_not_told(world):
    w = world(1)
    (disc,) = w.discs
    disc.challenges()
    outcome_of(disc, aa_request(*group_avps(f"alice@{REALM}", "staff")))
    assert w.server.turns == []


def test_nonces_of_all_ages_are_counted_in_one_turn(world):
    w = world(2)
    disc, other = w.discs
    credentials = []
    for _ in range(9):
        credentials.append(disc.respond())
        w.sleep(30)
    assert outcome_of(disc, *map(disc.question, credentials)) == {"AUTHORIZED": 9}
    assert outcome_of(other, *map(other.question, credentials)) == {"REPLAYED": 9}


def test_the_limit_on_uses_holds_over_all(world):
    w = world(3, nonce_uses=2)
    first, second, third = w.discs
    (challenge,) = first.challenges().values()
    asked = [
        (
            disc,
            disc.question(authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}", nc=count)),
        )
        for disc, count in ((first, 1), (second, 2), (third, 3))
    ]
    assert [outcome_of(disc, question) for disc, question in asked] == [
        {"AUTHORIZED": 1}, {"AUTHORIZED": 1}, {"STALE": 1},
    ]  # fmt: skip


def test_nonces_from_before_the_state_was_lost_are_refused(world):
    """Nobody knows which of them were used."""
    w = world(2)
    first, second = w.discs
    used, unused = first.respond(), first.respond()
    assert outcome_of(first, first.question(used)) == {"AUTHORIZED": 1}
    w.sleep(1)
    w.server.forget()
    assert outcome_of(second, second.question(used)) == {"REPLAYED": 1}
    assert outcome_of(second, second.question(unused)) == {"REPLAYED": 1}
    assert w.attempt(second) == "AUTHORIZED"


def test_nonces_from_before_a_server_read_an_old_snapshot_are_refused(users):
    """What was counted since the snapshot is missing, and nothing but the run of the server tells that."""
    with RedisServer() as redis:
        w = World(redis, users, 1)
        redis.say("SAVE")
        used = w.discs[0].respond()
        assert outcome_of(w.discs[0], w.discs[0].question(used)) == {"AUTHORIZED": 1}
        w.sleep(1)
        w.server.crash()
        another = w.add()  # each connects again, and all that are there know of one begin
        assert outcome_of(another, another.question(used)) == {"REPLAYED": 1}
        w.sleep(1)
        assert w.attempt(another) == "AUTHORIZED"
        began = redis.say("GET", "adb")
        w.add()
        assert redis.say("GET", "adb") == began
        w.server.close()


def test_a_change_of_key_forgets_no_replay(world):
    """The DISC differ in their first key for a while."""
    old, new = KEY, b"another sixteen secret bytes"
    w = world(0)
    before = w.add(Nonces(old), old)
    between = w.add(Nonces([new, old]), new)
    after = w.add(Nonces([old, new]), old)
    credentials = [before.respond(), between.respond()]
    assert outcome_of(before, before.question(credentials[0])) == {"AUTHORIZED": 1}
    assert outcome_of(between, between.question(credentials[1])) == {"AUTHORIZED": 1}
    assert outcome_of(between, between.question(credentials[0])) == {"REPLAYED": 1}
    assert outcome_of(after, *map(after.question, credentials)) == {"REPLAYED": 2}


# --- guesses ----------------------------------------------------------------------------------------------


def test_five_guesses_over_three_disc_block_at_each(world):
    w = world()
    discs = itertools.cycle(w.discs)
    assert {w.attempt(next(discs), f"guess {number}") for number in range(5)} == {"WRONG_DIGEST"}
    for disc in w.discs:
        assert w.attempt(disc, "guess 6") == "PENALIZED"
        assert w.attempt(disc) == "PENALIZED", "the right password tells nothing"


@pytest.mark.parametrize("flaw", ["uri", "count"])
def test_a_penalty_hides_that_the_password_is_right(world, flaw):
    """Whatever else is wrong with the credentials: the other DISC has seen no guess so far."""
    w = world(2)
    for number in range(5):
        w.attempt(w.discs[0], f"guess {number}")
    other = w.discs[1]
    uri, count = ("sip:example.org", 1) if flaw == "uri" else (f"sip:{REALM}", 0)
    challenge = other.challenges()["MD5"]
    credentials = authorization(challenge, "alice", PASSWORD, "REGISTER", uri, nc=count)
    assert outcome_of(other, other.question(credentials)) == {"PENALIZED": 1}
    w.sleep(1)
    assert outcome_of(other, other.question(credentials)) == {
        "OTHER_URI" if flaw == "uri" else "COUNT_ZERO": 1
    }


def test_a_penalty_hides_it_also_with_a_stale_nonce(world):
    w = world(2)
    old = w.discs[1].respond()
    w.sleep(400)
    for number in range(5):
        w.attempt(w.discs[0], f"guess {number}")
    assert outcome_of(w.discs[1], w.discs[1].question(old)) == {"PENALIZED": 1}


def test_the_penalty_doubles_over_all(world):
    w = world()
    for number in range(5):
        w.attempt(w.discs[number % 3], f"guess {number}")
    for number, seconds in enumerate((1, 2, 4, 8, 16, 32, 60, 60)):
        w.sleep(seconds - 0.25)
        assert w.attempt(w.discs[number % 3], "guess") == "PENALIZED"
        w.sleep(0.25)
        assert w.attempt(w.discs[number % 3], "guess") == "WRONG_DIGEST"


def test_a_login_at_one_ends_the_penalty_at_all(world):
    w = world()
    for number in range(5):
        w.attempt(w.discs[0], f"guess {number}")
    w.sleep(1)
    assert w.attempt(w.discs[1]) == "AUTHORIZED"
    assert {w.attempt(w.discs[0], "guess") for _ in range(5)} == {"WRONG_DIGEST"}
    assert w.attempt(w.discs[2], "guess") == "PENALIZED"


def test_another_source_is_not_held(world):
    w = world(2)
    for number in range(5):
        w.attempt(w.discs[0], f"guess {number}")
    assert w.attempt(w.discs[1], source=ELSEWHERE) == "AUTHORIZED"


def test_a_source_with_many_wrong_users_is_held_at_each(world):
    w = world(3, rules={"SOURCE_TRIES": 6})
    for number in range(6):
        w.attempt(w.discs[number % 3], "guess", user=f"nobody{number}")
    for disc in w.discs:
        assert w.attempt(disc, user="bob") == "PENALIZED"
        assert w.attempt(disc, user="bob", source=ELSEWHERE) == "AUTHORIZED"


def test_a_user_who_logged_in_elsewhere_is_not_held_by_the_source(world):
    """Also at a DISC that has counted the guesses itself, and has not seen that login."""
    w = world(2, rules={"SOURCE_TRIES": 80})
    assert w.attempt(w.discs[1]) == "AUTHORIZED"
    for number in range(80):
        w.attempt(w.discs[0], "guess", user=f"nobody{number}")
    assert w.attempt(w.discs[0], user="bob") == "PENALIZED"
    assert w.attempt(w.discs[0]) == "AUTHORIZED"


def test_one_login_in_ten_minutes_is_told(world):
    w = world(1)
    (disc,) = w.discs
    told = []
    for _ in range(6):
        w.server.turns.clear()
        w.attempt(disc)
        (records,) = w.server.turns
        told.append(records[6])  # logins in it
        w.sleep(200)
    assert told == [1, 0, 0, 1, 0, 0]


def test_the_store_is_small_after_a_login(world, redis):
    w = world(1)
    for number in range(3):
        w.attempt(w.discs[0], f"guess {number}")
    assert any(key.startswith(b"adu") for key in redis.contents())
    w.attempt(w.discs[0])
    assert not any(key.startswith(b"adu") for key in redis.contents())


def test_without_a_penalty_guesses_are_not_told(world):
    w = world(2, penalty=False)
    w.server.turns.clear()
    assert {w.attempt(w.discs[0], "guess") for _ in range(9)} == {"WRONG_DIGEST"}
    assert w.server.turns == []
    assert w.attempt(w.discs[0]) == "AUTHORIZED"


def test_wrong_passwords_of_users_who_logged_in_do_not_hold_the_source(world):
    w = world(2, rules={"SOURCE_TRIES": 2})
    for user in ("alice", "bob"):
        w.attempt(w.discs[0], user=user)
    for user in ("alice", "bob"):
        assert w.attempt(w.discs[1], "old password", user=user) == "WRONG_DIGEST"
    assert w.attempt(w.discs[1], user="carol") == "AUTHORIZED"


def test_a_login_takes_one_guess_off_the_source(world):
    w = world(2, rules={"SOURCE_TRIES": 2})
    w.attempt(w.discs[0], "guess", user="nobody1")
    w.attempt(w.discs[1], user="bob")
    w.attempt(w.discs[0], "guess", user="nobody2")
    assert w.attempt(w.discs[1], user="carol") == "AUTHORIZED"


def test_a_step_back_of_the_clock_locks_nobody_out(world):
    w = world(2)
    for number in range(5):
        w.attempt(w.discs[0], f"guess {number}")
    w.server.now -= 3600
    assert w.attempt(w.discs[1]) == "AUTHORIZED"


# --- away -------------------------------------------------------------------------------------------------


def test_while_it_is_away_each_goes_on_with_its_own_memory(world):
    w = world(2)
    first, second = w.discs
    first.state.away = second.state.away = True
    credentials = first.respond()
    assert outcome_of(first, first.question(credentials)) == {"AUTHORIZED": 1}
    assert outcome_of(first, first.question(credentials)) == {"REPLAYED": 1}
    assert outcome_of(second, second.question(credentials)) == {"AUTHORIZED": 1}
    assert {w.attempt(first, "guess") for _ in range(5)} == {"WRONG_DIGEST"}
    assert w.attempt(first, "guess") == "PENALIZED"


def test_what_was_counted_meanwhile_is_known_afterwards(world):
    w = world(2)
    first, second = w.discs
    first.state.away = True
    credentials = first.respond()
    assert outcome_of(first, first.question(credentials)) == {"AUTHORIZED": 1}
    for number in range(5):
        w.attempt(first, f"guess {number}", user="bob")
    first.state.come_back()
    assert outcome_of(second, second.question(credentials)) == {"REPLAYED": 1}
    assert w.attempt(second, user="bob") == "PENALIZED"


def test_a_nonce_that_has_expired_meanwhile_is_not_written(world, redis):
    w = world(1)
    (disc,) = w.discs
    disc.state.away = True
    w.attempt(disc)
    w.sleep(400)
    disc.state.come_back()
    assert not any(key.startswith(b"adn") for key in redis.contents())


def test_what_others_counted_is_known_here_when_it_goes_away(world):
    """A penalty, the standing of a guesser, and a replay."""
    w = world(2)
    first, second = w.discs
    credentials = first.respond()
    outcome_of(first, first.question(credentials))
    outcome_of(second, second.question(credentials))
    for number in range(4):
        w.attempt(first, f"guess {number}")
    w.attempt(second, "guess")
    second.state.away = True
    assert outcome_of(second, second.question(credentials)) == {"PENALIZED": 1}
    w.sleep(1)
    assert outcome_of(second, second.question(credentials)) == {"REPLAYED": 1}


def test_what_was_let_in_meanwhile_is_known_in_spite_of_a_penalty(world):
    """That there was one, only the others knew."""
    w = world(2)
    first, second = w.discs
    first.state.away = True
    for number in range(5):
        w.attempt(second, f"guess {number}")
    credentials = first.respond()
    assert outcome_of(first, first.question(credentials)) == {"AUTHORIZED": 1}
    first.state.come_back()
    third = w.add()
    assert outcome_of(third, third.question(credentials)) == {"REPLAYED": 1}, (
        "and the login ended the penalty"
    )


# --- what cannot be believed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garble",
    [
        lambda reply: b"",
        lambda reply: reply[:-1],
        lambda reply: reply + b"\1",
        lambda reply: bytes(len(reply)),
        lambda reply: b"\xff" * len(reply),
        lambda reply: b"\6" + bytes(10),  # a guess was counted
        lambda reply: b"\7",  # nothing was asked
        lambda reply: b"\5",  # a penalty, without its standings
    ],
    ids=["empty", "short", "long", "zeros", "unknown", "of a guess", "of nothing", "no standings"],
)
def test_a_reply_that_does_not_fit_lets_nobody_in(world, garble):
    w = world(1)
    (disc,) = w.discs
    disc.state.answer = garble
    credentials = disc.respond()
    answer = disc.ask(credentials)
    assert result_code(answer) == 5012
    assert disc.counts[Outcome.FAILED] == 1
    assert disc.counts[Outcome.AUTHORIZED] == 0


@given(st.binary(max_size=40))
@settings(max_examples=300)
def test_no_reply_but_the_right_codes_lets_in(users, reply):
    class Fixed:
        """A state that says the same whatever it is told."""

        def __init__(self):
            self.sharing = sharing_of(VerifierConfig(), KEY)
            self.sharing.is_reachable = True
            self.stats = StateStats()

        async def ready(self):
            pass

        def tell(self, records, done):
            done(reply)

    disc = Asker(users, None, Fixed())
    disc.source = HERE
    disc.ask(disc.respond())
    let_in = disc.counts[Outcome.AUTHORIZED] + disc.counts[Outcome.RETRANSMITTED]
    assert let_in == (reply in (b"\1", b"\2"))


# --- all together -----------------------------------------------------------------------------------------


class GuessOracle:
    """The rules for guesses, for all DISC at once; a source has too many at `tries` users."""

    def __init__(self, tries):
        self.tries = tries
        self.tallies = {}
        self.logged_in = set()

    def tally(self, key, now):
        found = self.tallies.setdefault(key, [0, 0, 0.0, 0.0])  # wrong, delay, until, forgotten at
        if found[0] and now >= found[3]:
            found[:] = [0, 0, 0.0, 0.0]
        return found

    def wrong(self, key, tries, now):
        tally = self.tally(key, now)
        if not tally[0]:
            tally[3] = now + 600
        tally[0] += 1
        if tally[0] >= tries and now >= tally[2]:
            tally[1] = min(2 * tally[1], 60) or 1
            tally[2] = now + tally[1]
            tally[3] = tally[2] + 600

    def attempt(self, user, source, right, now):
        place, recent = (user, source), (user, source) in self.logged_in
        held = now < self.tally(place, now)[2] or (not recent and now < self.tally(source, now)[2])
        if held:
            return "PENALIZED"
        if not right:
            if not recent and not self.tally(place, now)[0]:
                self.wrong(source, self.tries, now)
            self.wrong(place, 5, now)
            return "WRONG_DIGEST"
        if not recent:
            tally = self.tally(source, now)
            tally[0] = max(tally[0] - 1, 0)
            if tally[0] < self.tries and now >= tally[2]:
                tally[1] = 0
        self.tallies.pop(place, None)
        self.logged_in.add(place)
        return "AUTHORIZED"


ATTEMPTS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(USERS),
        st.sampled_from((HERE, ELSEWHERE)),
        st.booleans() | st.just(False),
        st.sampled_from((0, 0, 0, 0.25, 1, 5, 61, 601)),
    ),
    max_size=40,
)


@given(ATTEMPTS)
@settings(max_examples=100)
def test_guesses_at_any_disc_in_any_order_are_as_the_plain_rules_say(redis, users, attempts):
    w = World(redis, users, 3, rules={"SOURCE_TRIES": 2})
    try:
        oracle = GuessOracle(2)
        for disc, user, source, right, pause in attempts:
            w.sleep(pause)
            found = w.attempt(w.discs[disc], PASSWORD if right else "guess", user, source)
            assert found == oracle.attempt(user, source, right, w.server.now)
    finally:
        w.server.close()


USES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 2), st.integers(1, 3)), max_size=24
)


@given(USES)
@settings(max_examples=100)
def test_uses_at_any_disc_in_any_order_are_counted_once(redis, users, uses):
    """Of a nonce and count, the first one is let in, and its retransmissions; a DISC remembers a replay."""
    w = World(redis, users, 3)
    try:
        for disc in w.discs:
            disc.source = ""
        (challenge,) = w.discs[0].challenges().values()
        nonces = [challenge, *(w.discs[0].challenges()["MD5"] for _ in range(2))]
        first, replayed = {}, set()
        for number, nonce, count, end_to_end in uses:
            disc = w.discs[number]
            disc.end_to_end = end_to_end
            credentials = authorization(
                nonces[nonce], "alice", PASSWORD, "REGISTER", f"sip:{REALM}", nc=count, cnonce="same"
            )
            use = (nonce, count)
            if use not in first:
                expected = "AUTHORIZED"
                first[use] = end_to_end
            elif first[use] == end_to_end and (number, use) not in replayed:
                expected = "RETRANSMITTED"
            else:
                expected = "REPLAYED"
            known = (number, use, "known")
            if expected == "REPLAYED" and known not in replayed:
                replayed.add((number, use))
            if expected != "REPLAYED":
                replayed.add(known)
            assert outcome_of(disc, disc.question(credentials)) == {expected: 1}
    finally:
        w.server.close()


def test_challenge_after_replay_says_stale(world):
    """RFC 7616, 3.3: the password was right."""
    first, second, _ = world().discs
    credentials = first.respond()
    first.ask(credentials)
    answer = second.ask(credentials)
    assert challenges_of(answer)["MD5"].stale


def test_a_penalty_from_elsewhere_is_answered_as_one_from_here(world):
    w = world(2)
    for number in range(5):
        w.attempt(w.discs[0], f"guess {number}")
    here, elsewhere = (disc.ask(disc.respond()) for disc in w.discs)
    assert result_code(here) == result_code(elsewhere)
    assert failed(here) == failed(elsewhere)


# --- what is dropped --------------------------------------------------------------------------------------


def hashes(redis, kind):
    return [key for key in redis.contents() if key.startswith(kind)]


def test_uses_that_nobody_needs_any_more_are_dropped(world, redis):
    """Before their time to live ends: that would block the server."""
    w = world(1)
    w.attempt(w.discs[0])
    w.sleep(400)
    w.attempt(w.discs[0])
    assert len(hashes(redis, b"adn")) == 1


def test_uses_are_kept_as_long_as_any_disc_needs_them(world, redis):
    w = world(0)
    long, short, other = (
        Asker(w._users, Nonces(KEY, seconds), w.server.state(nonce_lifetime=seconds), nonce_lifetime=seconds)
        for seconds in (1000, 300, 1000)
    )
    credentials = long.respond()
    assert outcome_of(long, long.question(credentials)) == {"AUTHORIZED": 1}
    w.server.now += 400
    for disc in (long, short, other):
        disc.now += 400
    assert outcome_of(short, short.question(short.respond())) == {"AUTHORIZED": 1}
    assert len(hashes(redis, b"adn")) == 2
    assert outcome_of(other, other.question(credentials)) == {"REPLAYED": 1}


def test_a_disc_that_needs_uses_for_longer_says_so(world, redis):
    """Also if another one has made their hash."""
    w = world(0)
    short, long = (
        Asker(w._users, Nonces(KEY, seconds), w.server.state(nonce_lifetime=seconds), nonce_lifetime=seconds)
        for seconds in (300, 1000)
    )
    for disc in (short, long):
        assert outcome_of(disc, disc.question(disc.respond())) == {"AUTHORIZED": 1}
    assert len(hashes(redis, b"adn")) == 1
    w.server.now += 400
    short.now += 400
    assert outcome_of(short, short.question(short.respond())) == {"AUTHORIZED": 1}
    assert len(hashes(redis, b"adn")) == 2


def test_logins_that_are_long_ago_are_dropped(world, redis):
    w = world(1)
    w.attempt(w.discs[0])
    w.sleep(5400)
    w.attempt(w.discs[0])
    assert len(hashes(redis, b"adl")) == 1


def test_a_hash_gets_its_time_to_live_once(world, redis):
    def expiries():
        found = [line for line in redis.say("INFO", "commandstats").splitlines() if b"_expire:" in line]
        return int(found[0].split(b"calls=")[1].split(b",")[0])

    w = world(1)
    w.attempt(w.discs[0])
    before = expiries()
    for _ in range(5):
        w.attempt(w.discs[0])
    assert expiries() == before


# --- what is stored ---------------------------------------------------------------------------------------


def test_nothing_that_is_stored_can_be_read(world, redis):
    """No name, no address, no nonce and no response; and each key has a time to live."""
    w = world(2, nonce_uses=5)
    disc = w.discs[0]
    credentials = [disc.respond(), disc.respond(user="bob")]
    for user, each in zip(("alice", "bob"), credentials, strict=True):
        disc.ask(each, user=user)
    for number in range(3):
        w.attempt(disc, f"guess {number}", user="carol")
    texts = [b"alice", b"bob", b"carol", REALM.encode(), HERE.encode(), PASSWORD.encode()]
    for each in credentials:
        for name in ("nonce", "response", "cnonce"):
            value = each.split(f'{name}="')[1].split('"')[0].encode()
            texts.append(value)
            if name != "cnonce":
                texts.append(bytes.fromhex(value.decode()))
                texts.append(bytes.fromhex(value.decode())[-8:])
    stored = redis.contents()
    assert {key[:3] for key in stored} == {b"adb", b"adr", b"adn", b"adl", b"adu", b"ads"}
    everything = b"\n".join(key + b"=" + value for key, value in stored.items())
    for text in texts:
        assert text not in everything
