"""Digest in full, as DISC judges it: RFC 7616 and RFC 8760, rule by rule.

Telephones are played by our UAC; how they and strangers' clients agree is in tests/peers.
"""

import hashlib
import logging
from collections import Counter

import pytest
from kit.asker import KEY, REALM, Asker
from kit.sip import PASSWORD
from kit.wire import CHALLENGE, NOW, USER_NAME, aa_request, challenges_of
from kit.wire import result_code as code

import auth_diameter as ad
from auth_diameter.lab.uac import authorization
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.cache import Cache
from auth_diameter.store.hashes import Hashes, compute_ha1
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import Algorithms as AlgorithmsOf
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces
from auth_diameter.verifier.outcome import Outcome

RESPONSE_AUTH, NEXTNONCE = 106, 107
ALL = ("SHA-512-256", "SHA-256", "MD5")


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "disc.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", REALM, PASSWORD)
        store.add_user("bob", REALM, "builder")
        with store.session.changing():
            store.put("mary", REALM, Hashes(compute_ha1("mary", REALM, "lamb")), exists=False)
    with SqliteStore.open(path) as opened:
        yield opened


@pytest.fixture
def make(store):
    """A server of these settings."""
    return lambda nonces=None, **settings: Asker(store, nonces, **settings)


# ------------------------------------------------------------------ algorithms and qop: RFC 7616 and 8760


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("sess", [False, True], ids=["plain", "sess"])
def test_each_algorithm(make, algorithm, sess):
    algorithm += "-sess" if sess else ""
    server = make(algorithms=(algorithm,))
    challenge = server.challenges()[algorithm]
    right = authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}")
    wrong = authorization(challenge, "alice", "guess", "REGISTER", f"sip:{REALM}")
    assert [code(server.ask(value)) for value in (wrong, right)] == [5003, 2001]


@pytest.mark.parametrize(("offered", "used"), [("MD5", "MD5-sess"), ("SHA-256-sess", "SHA-256")])
def test_an_algorithm_does_not_stand_for_its_sess_nor_the_reverse(make, offered, used):
    """RFC 7616, 3.4: the algorithm is that of the challenge; even where the response is right."""
    server = make(algorithms=(offered,))
    nonce = server.challenges()[offered].nonce
    challenge = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{nonce}", qop="auth", algorithm={used}')
    assert code(server.ask(authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}"))) == 5003
    assert server.counts[Outcome.ALGORITHM_NOT_OFFERED] == 1


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("qop", ["auth", None])
@pytest.mark.parametrize("sess_offered", [False, True])
def test_a_response_that_was_overheard_is_no_key_of_a_session(make, algorithm, qop, sess_offered):
    """RFC 7616, 3.4.1 and 3.4.2: it is A1 of -sess, with a cnonce of all that follows the nonce in it."""
    sess = f"{algorithm}-sess"
    server = make(algorithms=(algorithm, sess) if sess_offered else (algorithm,))
    overheard = server.respond(algorithm, qop=qop)
    assert code(server.ask(overheard)) == 2001
    known = ad.Credentials.parse(overheard)

    def hashed(text):
        return hashlib.new({"MD5": "md5", "SHA-256": "sha256"}.get(algorithm, "sha512_256"), text).hexdigest()

    cnonce = hashed(f"REGISTER:{known.uri}".encode())
    if qop is not None:
        cnonce = f"{known.nc}:{known.cnonce}:{qop}:{cnonce}"
    a2 = hashed(b"INVITE:sip:expensive@siphub.net")
    response = hashed(f"{known.response}:{known.nonce}:00000002:{cnonce}:auth:{a2}".encode())
    forged = (
        f'Digest username="alice", realm="{REALM}", nonce="{known.nonce}", uri="sip:expensive@siphub.net",'
        f' algorithm={sess}, qop=auth, nc=00000002, cnonce="{cnonce}", response="{response}"'
    )
    ha1 = compute_ha1("alice", REALM, PASSWORD, algorithm)
    assert ad.verify(ad.Credentials.parse(forged), "INVITE", ha1)  # the hashes are right indeed
    answer = server.ask(forged, method="INVITE", resource="expensive@siphub.net")
    assert code(answer) == (4001 if sess_offered else 5003)
    assert server.counts[Outcome.AUTHORIZED] == 1


def test_challenges_come_in_the_order_of_preference(make):
    """RFC 8760, 2.3: the topmost that the client knows is to be used."""
    assert list(make(algorithms=("SHA-256", "MD5")).challenges()) == ["SHA-256", "MD5"]
    assert list(make(algorithms=ALL).challenges()) == list(ALL)
    assert list(make().challenges()) == ["MD5"]


def test_each_challenge_has_a_nonce_of_its_own(make):
    """Bound to the algorithm: the nonce of the strong challenge is no good with the weak hash."""
    server = make(algorithms=("SHA-256", "MD5"))
    strong = server.challenges()["SHA-256"]
    weakened = ad.Challenge.parse(
        f'Digest realm="{REALM}", nonce="{strong.nonce}", qop="auth", algorithm=MD5'
    )
    value = authorization(weakened, "alice", PASSWORD, "REGISTER", f"sip:{REALM}")
    assert list(server.challenges(value)) == ["SHA-256", "MD5"]
    assert server.counts[Outcome.FOREIGN_NONCE] == 1


EACH = [f"{algorithm}{sess}" for algorithm in ALL for sess in ("", "-sess")]


@pytest.mark.parametrize("used", EACH)
@pytest.mark.parametrize("given", EACH)
def test_a_nonce_is_good_with_its_own_algorithm_alone(make, given, used):
    """RFC 8760, 6, for each pair of those that are offered together."""
    server = make(algorithms=tuple(EACH))
    nonce = server.challenges()[given].nonce
    challenge = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{nonce}", qop="auth", algorithm={used}')
    value = authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}")
    assert code(server.ask(value)) == (2001 if given == used else 4001)
    assert server.counts[Outcome.FOREIGN_NONCE] == (given != used)


def test_a_nonce_with_any_bit_flipped_is_not_ours_however_right_the_digest(make):
    """RFC 7616, 5.4."""
    server = make()
    nonce = server.challenges()["MD5"].nonce
    flipped = [
        nonce[:at] + chr(ord(nonce[at]) ^ 1 << bit) + nonce[at + 1 :] for at in range(56) for bit in range(7)
    ]
    for touched in flipped:
        if touched.isprintable() and not set(touched) & set('"\\'):
            challenge = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{touched}", qop="auth"')
            value = authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}")
            assert server.challenges(value)["MD5"].stale is True
    assert server.counts[Outcome.FOREIGN_NONCE] > 250


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-512-256"])
def test_downgrade_an_algorithm_that_was_not_offered_is_refused(make, algorithm):
    """RFC 8760, 6: even where the response is right."""
    server = make(algorithms=("SHA-256",))
    nonce = Nonces(KEY).make(REALM, NOW, algorithm)
    forged = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{nonce}", qop="auth", algorithm={algorithm}')
    value = authorization(forged, "alice", PASSWORD, "REGISTER", f"sip:{REALM}")
    assert code(server.ask(value)) == 5003
    assert server.counts == Counter({Outcome.ALGORITHM_NOT_OFFERED: 1})


def test_an_unknown_algorithm_is_refused(make):
    server = make()
    assert code(server.ask(server.respond().replace("algorithm=MD5", "algorithm=SHA3"))) == 5003
    assert server.counts[Outcome.ALGORITHM_NOT_OFFERED] == 1


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_response_of_the_other_length_is_refused(make, algorithm):
    server = make(algorithms=ALL)
    value = server.respond(algorithm)
    before, _, response = value.rpartition('response="')
    response = response.rstrip('"')
    other = response * 2 if algorithm == "MD5" else response[:32]
    assert code(server.ask(f'{before}response="{other}"')) == 5003
    assert server.counts[Outcome.MALFORMED_RESPONSE] == 1


def test_a_user_with_md5_only_is_challenged_with_md5_only(make):
    server = make(algorithms=ALL)
    assert list(server.challenges(user="mary")) == ["MD5"]
    assert code(server.ask(server.respond(user="mary", password="lamb"), user="mary")) == 2001
    # Where MD5 is not offered at all, there is nothing else to say.
    assert list(make(algorithms=("SHA-256",)).challenges(user="mary")) == ["SHA-256"]


def test_the_user_is_known_whatever_domain_the_request_is_from(make):
    """Of User-Name the part before the "@" is the user; From may have another domain than the realm."""
    server = make(algorithms=ALL)
    [answer] = server.answer(aa_request(ad.Avp(USER_NAME, "mary@elsewhere.example"), end_to_end=1))
    assert list(challenges_of(answer)) == ["MD5"]


@pytest.mark.parametrize("majority", ["MD5", "all"])
def test_nobody_learns_from_challenges_who_exists(make, store, majority):
    """An unknown name is offered what most users of its realm are."""
    with Accounts.open(store.name, writable=True) as writer, writer.session.changing():
        for number in range(5 if majority == "MD5" else 0):
            ha1 = compute_ha1(f"old{number}", REALM, "x")
            writer.put(f"old{number}", REALM, Hashes(ha1), exists=False)
    server = make(algorithms=ALL)
    usual = ["MD5"] if majority == "MD5" else list(ALL)
    for name in ("nobody", "aaron", "mary1", "zoe", ""):
        assert list(server.challenges(user=name)) == usual
    stranger = server.respond(user="nobody")
    rechallenging = make(algorithms=ALL, rechallenge=True)
    assert list(rechallenging.challenges(stranger)) == usual
    # Who has something else is told apart by who asks for that very name.
    assert list(server.challenges(user="mary")) == ["MD5"]
    assert list(server.challenges(user="alice")) == list(ALL)


def test_who_can_use_nothing_that_is_offered_looks_like_anybody(make, store):
    """With strong algorithms alone a user with MD5 is challenged as one who does not exist."""
    server = make(algorithms=ALL[:2])
    assert list(server.challenges(user="mary")) == list(server.challenges(user="nobody")) == list(ALL[:2])
    with Accounts.open(store.name, writable=True) as writer, writer.session.changing():
        for name in ("old1", "old2", "old3"):
            hashes = Hashes(
                compute_ha1(name, REALM, "x"), ha1_sha256=compute_ha1(name, REALM, "x", "SHA-256")
            )
            writer.put(name, REALM, hashes, exists=False)
    server = make(algorithms=ALL[:2])
    assert list(server.challenges(user="mary")) == list(server.challenges(user="nobody")) == ["SHA-256"]


def test_after_a_change_a_user_is_offered_what_he_has_now(make, store):
    """Not what was kept of before: half a second later at most."""
    server = make(algorithms=ALL)
    assert list(server.challenges(user="mary")) == ["MD5"]
    assert list(server.challenges(user="nobody")) == list(ALL)
    with Accounts.open(store.name, writable=True) as writer:
        writer.add_user("mary", REALM, "lamb", replace=True)
        with writer.session.changing() as connection:
            connection.exec_driver_sql("UPDATE subscriber SET ha1_sha256 = '' WHERE username <> 'mary'")
    server.now += 0.5
    assert list(server.challenges(user="mary")) == list(ALL)
    assert list(server.challenges(user="nobody")) == [ALL[0], "MD5"]


@pytest.mark.parametrize(
    ("algorithms", "single"),
    [(("SHA-256", "MD5-sess", "MD5"), "MD5"), (("SHA-256", "MD5-sess"), "MD5-sess"), (ALL[:2], ALL[0])],
)
def test_the_one_challenge_is_of_what_telephones_know_best(make, algorithms, single):
    server = make(algorithms=algorithms)
    server.end_to_end = 0
    assert list(server.challenges()) == [single]
    assert code(server.ask(server.respond(single))) == 2001


@pytest.mark.parametrize("how", ["OpenSER's module", "setting"])
def test_who_can_take_one_challenge_gets_md5_alone(make, how):
    server = make(algorithms=ALL)
    if how == "setting":
        server.one_challenge = True
    else:
        server.end_to_end = 0
    assert list(server.challenges()) == ["MD5"]
    assert code(server.ask(server.respond())) == 2001


def test_auth_int(make):
    """RFC 7616, 3.4.3: the body counts, by its hash, which the SIP server sends along."""
    server = make(qop=("auth", "auth-int"))
    assert server.challenges()["MD5"].qop == ("auth", "auth-int")
    value = server.respond(qop="auth-int", body=b"v=0", method="INVITE")
    hashed, of_empty = (hashlib.md5(body).hexdigest() for body in (b"v=0", b""))
    assert code(server.ask(value, method="INVITE", body=of_empty)) == 5003
    assert code(server.ask(value, method="INVITE", body=hashed)) == 2001
    empty = server.respond(qop="auth-int")
    assert code(server.ask(empty, body=of_empty)) == 2001
    assert code(server.ask(server.respond(qop="auth-int"))) == 5003  # without it nothing can be proved
    assert server.counts[Outcome.QOP_NOT_OFFERED] == 1


def test_auth_int_is_not_offered_to_who_does_not_send_the_hash(make):
    server = make(qop=("auth", "auth-int"))
    server.end_to_end = 0
    assert server.challenges()["MD5"].qop == ("auth",)


def test_who_is_offered_auth_in_place_of_auth_int_may_use_it(make):
    server = make(qop=("auth-int",))
    server.end_to_end = 0
    assert code(server.ask(server.respond())) == 2001


def test_with_auth_int_alone_neither_auth_nor_none_will_do(make):
    server = make(qop=("auth-int",))
    for qop in ("auth", None):
        challenge = server.challenges()["MD5"]
        value = f'Digest realm="{REALM}", nonce="{challenge.nonce}"' + (f', qop="{qop}"' if qop else "")
        value = authorization(ad.Challenge.parse(value), "alice", PASSWORD, "REGISTER", f"sip:{REALM}")
        assert code(server.ask(value)) == 5003
    assert server.counts[Outcome.QOP_NOT_OFFERED] == 2


def test_a_qop_that_nobody_knows_is_refused(make):
    server = make()
    assert code(server.ask(server.respond().replace("qop=auth", "qop=auth-conf"))) == 5003
    assert server.counts[Outcome.QOP_NOT_OFFERED] == 1


@pytest.mark.parametrize("lacking", ["nc", "cnonce"])
def test_a_qop_without_its_values_is_refused(make, lacking):
    server = make()
    kept = [part for part in server.respond().split(", ") if not part.startswith(f"{lacking}=")]
    assert code(server.ask(", ".join(kept))) == 5003
    assert server.counts[Outcome.MALFORMED_QOP] == 1


# ------------------------------------------------------------------ userhash: RFC 7616, 3.4.4


@pytest.mark.parametrize("algorithm", ALL)
def test_userhash(make, algorithm):
    server = make(algorithms=(algorithm,), userhash=True)
    assert ("userhash", "true") in server.challenges()[algorithm].parameters
    assert code(server.ask(server.respond(algorithm, userhash=True))) == 2001
    assert code(server.ask(server.respond(algorithm, userhash=True, password="guess"))) == 5003
    assert code(server.ask(server.respond(algorithm))) == 2001


def test_userhash_was_not_offered(make):
    server = make()
    assert code(server.ask(server.respond(userhash=True))) == 5003
    assert server.counts[Outcome.UNKNOWN_USER] == 1


@pytest.mark.parametrize("info", [False, True])
def test_the_sip_server_is_told_whose_hash_it_was(make, info):
    """It cannot know; a group check and a route go by the name."""
    server = make(userhash=True, authentication_info=info)
    assert server.ask(server.respond(userhash=True)).find(USER_NAME).value == "alice"
    assert server.ask(server.respond()).find(USER_NAME) is None
    assert server.ask(server.respond(userhash=True, password="guess")).find(USER_NAME) is None
    server.end_to_end = 0
    answer = server.ask(server.respond(userhash=True))
    assert (code(answer), answer.find(USER_NAME)) == (2001, None)


def test_a_hash_that_is_not_said_to_be_one_is_a_name(make):
    """RFC 7616, 3.4: userhash is false where it is not given."""
    server = make(userhash=True)
    for change in (", userhash=true", ", userhash=false"):
        value = server.respond(userhash=True)
        assert code(server.ask(value.replace(", userhash=true", change))) == (
            2001 if "true" in change else 5003
        )
    assert code(server.ask(server.respond(userhash=True).replace(", userhash=true", ""))) == 5003


def test_userhash_of_nobody(make):
    server = make(userhash=True)
    challenge = server.challenges()["MD5"]
    value = authorization(challenge, "nobody", PASSWORD, "REGISTER", f"sip:{REALM}", userhash=True)
    assert code(server.ask(value)) == 5003


def test_a_hash_of_nobody_stands_for_no_neighbour(make):
    """One is looked up in its place, for the sake of time; even the neighbour's own password is wrong."""
    server = make(userhash=True)
    for user, password in (("alice", PASSWORD), ("bob", "builder"), ("mary", "lamb")):
        value = server.respond(user=user, password=password, userhash=True)
        before, _, rest = value.partition('username="')
        for digit in "0123456789abcdef":
            touched = f'{before}username="{digit * 32}{rest[32:]}'
            assert code(server.ask(touched)) == 5003
        assert code(server.ask(f'{before}username="{user}{rest[32:]}')) == 5003
        assert code(server.ask(value)) == 2001
    assert server.counts[Outcome.UNKNOWN_USER] == 3 * 17


def test_userhash_of_a_user_who_was_added_meanwhile(make, store):
    server = make(userhash=True)
    assert code(server.ask(server.respond(userhash=True))) == 2001
    with Accounts.open(store.name, writable=True) as writer:
        writer.add_user("new", REALM, PASSWORD)
    server.now += 1
    assert code(server.ask(server.respond(user="new", userhash=True))) == 2001


def test_who_hashes_the_username_is_out_half_a_second_after_a_change(make, store):
    """A new password and a deletion count for hashed names as for plain ones."""
    server = make(userhash=True)
    alice, bob = server.respond(userhash=True), server.respond(user="bob", password="builder", userhash=True)
    assert [code(server.ask(value)) for value in (alice, bob)] == [2001, 2001]
    with Accounts.open(store.name, writable=True) as writer:
        writer.add_user("alice", REALM, "another", replace=True)
        writer.delete_user("bob", REALM)
    server.now += 0.5
    alice, bob = server.respond(userhash=True), server.respond(user="bob", password="builder", userhash=True)
    assert [code(server.ask(value)) for value in (alice, bob)] == [5003, 5003]
    assert code(server.ask(server.respond(password="another", userhash=True))) == 2001


class Forgetful(SqliteStore):
    """Empties the cache when it is asked what to offer a user, and remembers for whom it was asked."""

    cache: Cache
    asked: list[str]

    async def fetch(self, keys):
        offered = [key.username for key in keys if isinstance(key, AlgorithmsOf)]
        if offered:
            self.asked += offered
            self.cache.users.clear()
        return await super().fetch(keys)


def test_whose_hash_it_was_is_known_to_the_end_of_a_turn(store):
    """The cache may drop the user after the digest was verified, and a challenge still goes by the name."""
    forgetful = Forgetful(store.database)
    server = Asker(forgetful, userhash=True, algorithms=("SHA-256", "MD5"))
    forgetful.cache, forgetful.asked = server.disc._driver.cache, []
    value = server.respond("MD5", userhash=True)
    server.now += 311  # the nonce is stale
    forgetful.asked.clear()
    server.disc._driver.cache.users.clear("algorithms")
    assert server.challenges(value)["MD5"].stale
    assert forgetful.asked == ["alice"]


# ------------------------------------------------------------------ nonces: RFC 7616, 3.3 and 5.4


def test_a_restart_and_another_node_take_the_nonces_of_their_key(make):
    first, second, stranger = make(), make(), make(nonces=Nonces(b"another key of theirs"))
    assert code(second.ask(first.respond())) == 2001
    assert code(stranger.ask(first.respond())) == 4001
    assert stranger.counts[Outcome.FOREIGN_NONCE] == 1


def test_stale_only_where_the_digest_is_right(make):
    """RFC 7616, 3.3: stale=true says that the password was right."""
    server = make()
    right, wrong = server.respond(), server.respond(password="guess")
    server.now += 311
    assert server.challenges(right)["MD5"].stale is True
    assert code(server.ask(wrong)) == 5003
    assert [server.counts[outcome] for outcome in (Outcome.STALE, Outcome.WRONG_DIGEST)] == [1, 1]


def test_a_nonce_that_is_used_once(make):
    server = make(nonce_uses=1)
    challenge = server.challenges()["MD5"]
    first, second = (
        authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}", nc=nc) for nc in (1, 2)
    )
    assert code(server.ask(first)) == 2001
    assert server.challenges(second)["MD5"].stale is True
    assert server.counts[Outcome.STALE] == 1


def test_a_nonce_bound_to_the_address_of_the_uac(make):
    server = make(bind_source=True)
    server.source = "192.0.2.1"
    value = server.respond()
    server.source = "192.0.2.2"
    assert server.challenges(value)["MD5"].stale is True
    assert server.counts[Outcome.FOREIGN_NONCE] == 1
    server.source = "192.0.2.1"
    assert code(server.ask(value)) == 2001
    server.source = "192.0.2.2"
    assert server.challenges(value)["MD5"].stale is True, "nor is it good elsewhere once it was used"
    assert server.counts[Outcome.FOREIGN_NONCE] == 2


def test_a_nonce_stays_bound_to_its_address_when_it_is_used_again(make):
    """Its counts are remembered by then, and the nonce itself is looked at no more."""
    server = make(bind_source=True)
    server.source = "192.0.2.1"
    challenge = server.challenges()["MD5"]

    def ask(source, nc):
        server.source = source
        value = authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}", nc=nc)
        return code(server.ask(value))

    assert ask("192.0.2.1", 1) == 2001
    assert [ask(source, 2) for source in ("192.0.2.2", "192.0.2.10", "")] == [4001] * 3
    assert ask("192.0.2.1", 2) == 2001, "nobody else has used up its count"


# ------------------------------------------------------------------ nonce counts: RFC 7616, 3.4 and 5.5


def test_a_replay_gets_a_new_challenge_and_is_never_let_in(make):
    """Not 403, for the client may be honest: with stale=true it goes on by itself."""
    server = make()
    value = server.respond()
    assert code(server.ask(value)) == 2001
    assert server.challenges(value)["MD5"].stale is True
    assert server.counts[Outcome.REPLAYED] == 1


def test_requests_out_of_order(make):
    server = make()
    challenge = server.challenges()["MD5"]

    def ask(nc):
        value = authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}", nc=nc)
        return code(server.ask(value))

    assert [ask(nc) for nc in (3, 1, 2, 4)] == [2001] * 4
    assert [ask(nc) for nc in (3, 1, 2, 4)] == [4001] * 4
    assert [ask(nc) for nc in (100, 37, 36)] == [2001, 2001, 4001]


def test_the_retransmission_of_a_request_is_answered_the_same(make):
    """RFC 6733, 3: it has the End-to-End Identifier of what it repeats, and uses up no count."""
    server = make()
    server.end_to_end = 77
    value = server.respond()
    answers = [server.ask(value).encode() for _ in range(7)]
    assert answers == answers[:1] * 7
    assert code(server.ask(value)) == 2001
    assert server.counts[Outcome.RETRANSMITTED] == 7
    server.end_to_end = 78  # the same credentials in another request are a replay
    assert code(server.ask(value)) == 4001


def test_who_cannot_tell_a_retransmission_has_none(make):
    server = make()
    server.end_to_end = 0
    value = server.respond()
    assert [code(server.ask(value)) for _ in range(2)] == [2001, 4001]


def test_a_count_of_zero_is_refused(make):
    server = make()
    assert code(server.ask(server.respond(nc=0))) == 5003
    assert server.counts[Outcome.COUNT_ZERO] == 1


def test_a_count_that_ran_over_is_a_replay(make):
    server = make()
    challenge = server.challenges()["MD5"]
    values = [
        authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}", nc=nc)
        for nc in (0xFFFFFFFF, 1)
    ]
    assert [code(server.ask(value)) for value in values] == [2001, 4001]


def test_nobody_is_locked_out_by_counts_of_others(make):
    """A count is noted only after the digest was found right."""
    server = make()
    challenge = server.challenges()["MD5"]
    forged = authorization(challenge, "alice", "guess", "REGISTER", f"sip:{REALM}", nc=0xFFFFFFFF)
    assert code(server.ask(forged)) == 5003
    own = authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}", nc=1)
    assert code(server.ask(own)) == 2001


def test_without_qop_a_nonce_serves_once(make):
    """RFC 3261, 22.4 wants such clients served; without a count nothing else tells a replay."""
    server = make()
    value = server.respond(qop=None)
    assert [code(server.ask(value)) for _ in range(2)] == [2001, 4001]


def test_memory_for_counts_is_bounded_and_no_replay_gets_in(make):
    server = make(max_nonces=10)
    values = [server.respond() for _ in range(30)]
    assert code(server.ask(values[0])) == 2001
    for _ in range(20):
        server.now += 1
        assert code(server.ask(server.respond())) == 2001
    # The first one is forgotten, and with it all that were made by then, though never used.
    assert [code(server.ask(value)) for value in values] == [4001] * 30


# ------------------------------------------------------------------ wrong passwords


def test_a_wrong_password_is_403_by_default_and_a_challenge_where_wanted_but_not_for_ever(make):
    assert code(make().ask(make().respond(password="guess"))) == 5003
    server = make(rechallenge=True, max_challenges=3)
    codes = [code(server.ask(server.respond(password="guess"))) for _ in range(5)]
    assert codes == [4001] * 3 + [5003] * 2
    # Another source is not locked out, and a success begins anew.
    server.source = "192.0.2.2"
    assert code(server.ask(server.respond(password="guess"))) == 4001
    server.source = ""
    assert code(server.ask(server.respond())) == 2001
    assert code(server.ask(server.respond(password="guess"))) == 4001


def test_a_success_begins_anew_for_who_hashes_the_username_too(make):
    """RFC 7616, 3.4.4: the hash and the name are one user."""
    server = make(rechallenge=True, max_challenges=2, userhash=True)
    for _ in range(3):
        assert code(server.ask(server.respond(password="guess", userhash=True))) == 4001
        assert code(server.ask(server.respond(userhash=True))) == 2001


def test_a_retransmission_is_no_success_that_begins_anew(make):
    """It repeats what was proven before: whoever overheard it gets no more guesses by sending it again."""
    server = make(rechallenge=True, max_challenges=2)
    right = server.respond()
    again = server.question(right)
    assert [code(answer) for answer in server.answer(again)] == [2001]
    codes = [code(server.ask(server.respond(password="guess"))) for _ in range(2)]
    assert [code(answer) for answer in server.answer(again)] == [2001]
    assert server.counts[Outcome.RETRANSMITTED] == 1
    codes.append(code(server.ask(server.respond(password="guess"))))
    assert codes == [4001, 4001, 5003]


def test_the_realm_in_other_letters_gives_no_more_challenges(make):
    """A host name has no case (RFC 4343); the new challenge has the spelling that HA1 was made with."""
    server = make(rechallenge=True, max_challenges=2)
    found = []
    for realm in ("SIPHUB.net", "SipHub.Net", "siphub.NET"):
        answer = server.ask(server.respond(password="guess").replace(REALM, realm, 1))
        found.append(code(answer))
        if challenge := answer.find(CHALLENGE):
            assert ad.Challenge.parse(challenge.data.removesuffix(b"\r\n")).realm == REALM
    assert found == [4001, 4001, 5003]


# ------------------------------------------------------------------ digest-uri: RFC 7616, 3.4.6


@pytest.mark.parametrize(
    ("policy", "codes"), [("host", [2001, 2001, 5003]), ("strict", [2001, 5003, 5003]), ("off", [2001] * 3)]
)
def test_the_digest_uri(make, policy, codes):
    server = make(uri_policy=policy)
    rewritten, elsewhere = "10.0.0.5:5070", "else.where"
    challenge = server.challenges()["MD5"]
    found = []
    for nc, (uri, resource) in enumerate([(REALM, REALM), (REALM, rewritten), (elsewhere, REALM)], 1):
        value = authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{uri}", nc=nc)
        found.append(code(server.ask(value, resource=resource)))
    assert found == codes
    assert server.counts[Outcome.OTHER_URI] == codes.count(5003)


# ------------------------------------------------------------------ Authentication-Info: RFC 7616, 3.5


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize(
    ("sess", "qop"), [("", "auth"), ("", "auth-int"), ("", None), ("-sess", "auth"), ("-sess", "auth-int")]
)
def test_the_server_proves_that_it_knows_the_password_too(make, algorithm, sess, qop):
    """Calculated here with hashlib alone: A2 is ":" uri, with auth-int of a reply that has no body."""
    server = make(algorithms=(algorithm + sess,), qop=("auth", "auth-int"), authentication_info=True)
    value = server.respond(algorithm + sess, qop=qop)

    def hashed(*parts):
        name = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}[algorithm]
        return hashlib.new(name, ":".join(parts).encode()).hexdigest()

    answer = server.ask(value, body=hashed("") if qop == "auth-int" else None)
    c = ad.Credentials.parse(value)
    a1 = hashed("alice", REALM, PASSWORD)
    if sess:
        a1 = hashed(a1, c.nonce, c.cnonce)
    a2 = hashed("", c.uri, hashed("")) if qop == "auth-int" else hashed("", c.uri)
    between = (c.nc, c.cnonce, qop) if qop is not None else ()
    assert answer.find(RESPONSE_AUTH).value == hashed(a1, c.nonce, *between, a2)
    assert (answer.find(NEXTNONCE) is None) is (qop is not None)


def test_a_nonce_half_through_its_life_is_followed_by_the_next(make):
    server = make(authentication_info=True)
    value = server.respond()
    server.now += 151
    following = server.ask(value).find(NEXTNONCE).value
    challenge = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{following}", qop="auth"')
    server.now += 200
    assert code(server.ask(authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}"))) == 2001


def test_a_nonce_used_up_is_followed_by_the_next(make):
    server = make(authentication_info=True, nonce_uses=2)
    challenge = server.challenges()["MD5"]
    first, second = (
        server.ask(authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{REALM}", nc=nc))
        for nc in (1, 2)
    )
    assert first.find(NEXTNONCE) is None
    assert second.find(NEXTNONCE) is not None


def test_a_retransmission_is_told_of_the_same_next_nonce(make):
    for settings in ({"nonce_uses": 1}, {}):
        server = make(authentication_info=True, **settings)
        value, server.end_to_end = server.respond(), 77
        answers = []
        for _ in range(3):
            server.now += 149 if not answers else 3
            answers.append(server.ask(value).encode())
        assert answers == answers[:1] * 3


def test_without_qop_each_answer_brings_the_next_nonce(make):
    """It serves once, as nothing counts its uses."""
    server = make(authentication_info=True)
    assert server.ask(server.respond(qop=None)).find(NEXTNONCE) is not None


def test_no_authentication_info_unless_wanted_and_none_for_the_c_module(make):
    assert make().ask(make().respond()).find(RESPONSE_AUTH) is None
    server = make(authentication_info=True)
    server.end_to_end = 0
    answer = server.ask(server.respond())
    assert (code(answer), answer.find(RESPONSE_AUTH)) == (2001, None)


# ------------------------------------------------------------------ what bad input gets


def test_each_refusal_is_counted_apart_and_no_secret_is_logged(make, caplog):
    caplog.set_level(logging.DEBUG)
    server = make()
    right = server.respond()
    response = right.rpartition('response="')[2].rstrip('"')
    for value in (
        right.replace("algorithm=MD5", "algorithm=X"),
        right.replace("qop=auth", "qop=x"),
        right.replace(response, response * 2),
        right.replace(response, response[:31]),
        right.replace(f'realm="{REALM}"', 'realm="else.where"'),
        right.replace("nc=00000001, ", ""),
        right.replace('nonce="', 'nonce="0'),
        "Digest",
    ):
        assert code(server.ask(value)) in (4001, 5003)
    del server.counts[Outcome.CHALLENGED]
    assert server.counts == Counter(
        {
            Outcome.ALGORITHM_NOT_OFFERED: 1,
            Outcome.QOP_NOT_OFFERED: 1,
            Outcome.MALFORMED_RESPONSE: 2,
            Outcome.REALM_NOT_SERVED: 1,
            Outcome.MALFORMED_QOP: 1,
            Outcome.WRONG_DIGEST: 1,
            Outcome.MALFORMED_CREDENTIALS: 1,
        }
    )
    nonce = ad.Credentials.parse(right).nonce
    assert response not in caplog.text
    assert nonce not in caplog.text


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"algorithms": ()}, "algorithms"),
        ({"algorithms": ("MD5", "MD5")}, "algorithms"),
        ({"algorithms": ("md4",)}, "algorithms"),
        ({"algorithms": ["MD5"]}, "algorithms"),
        ({"qop": ("none",)}, "qop"),
        ({"nonce_lifetime": 0}, "nonce_lifetime"),
        ({"nonce_uses": -1}, "nonce_uses"),
        ({"max_nonces": 0}, "max_nonces"),
        ({"max_challenges": 0}, "max_challenges"),
        ({"uri_policy": "loose"}, "uri_policy"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_used_is_named(settings, named):
    with pytest.raises(ad.ConfigError, match=f"^{named}"):
        VerifierConfig(**settings)
