"""The store: users and groups listed and changed."""

import pytest
from kit.lookups import algorithms, canonical_realm, fetch, ha1, ha1_candidates, is_member
from kit.tables import HA1, HA1B, run_sql, select

from auth_diameter._core.errors import ConfigError
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.hashes import Hashes, compute_ha1
from auth_diameter.store.store import User

# --- users ----------------------------------------------------------------------------------------


def test_a_user_is_stored_by_hash_and_never_by_password(store, path):
    assert store.add_user("alice", "siphub.net", "secret") is True
    assert select(path, "SELECT username, domain, password, ha1, ha1b FROM subscriber") == [
        ("alice", "siphub.net", "", HA1, HA1B)
    ]
    store.close()
    assert b"secret" not in path.read_bytes()


def test_an_existing_users_password_is_replaced_only_when_asked_for(store):
    store.add_user("alice", "siphub.net", "secret")
    with pytest.raises(ConfigError, match=r"alice@siphub\.net exists already"):
        store.add_user("alice", "SIPHUB.net", "other")
    assert ha1(store, "alice", "siphub.net") == HA1
    assert store.add_user("alice", "SIPHUB.net", "other", replace=True) is False
    assert ha1(store, "alice", "siphub.net") == compute_ha1("alice", "siphub.net", "other")
    assert store.count_users() == 1


@pytest.mark.parametrize(
    ("username", "domain", "password"),
    [
        ("a:b", "siphub.net", "secret"),
        ("", "siphub.net", "secret"),
        ("alice", 'sip"hub.net', "secret"),
        ("alice", "", "secret"),
        ("alice", "siphub.net", ""),
        ("alice", "siphub.net", "secret\n"),
    ],
)
def test_names_that_do_not_fit_are_refused_in_one_line(store, username, domain, password):
    with pytest.raises(ConfigError) as error:
        store.add_user(username, domain, password)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
    assert store.count_users() == 0


def test_deleting_a_user_takes_its_groups_along(store, path):
    store.add_user("alice", "siphub.net", "secret")
    store.add_group("alice", "siphub.net", "staff")
    assert store.delete_user("alice", "SIPHub.net") is True
    assert store.delete_user("alice", "siphub.net") is False
    assert select(path, "SELECT count(*) FROM grp") == [(0,)]


def test_a_name_that_is_no_text_cannot_be_changed_either(store):
    with pytest.raises(ConfigError, match="not UTF-8"):
        store.delete_user("\udcff", "siphub.net")


def test_users_are_listed_by_domain_and_name(store):
    for username, domain in [("bob", "b.net"), ("zoe", "a.net"), ("alice", "b.net")]:
        store.add_user(username, domain, "secret")
    assert [str(user) for user in store.users()] == ["zoe@a.net", "alice@b.net", "bob@b.net"]
    assert [str(user) for user in store.users("B.NET")] == ["alice@b.net", "bob@b.net"]
    assert store.count_users() == 3


def test_no_repr_shows_a_hash(store):
    store.add_user("alice", "siphub.net", "secret")
    (user,) = store.users()
    assert user.ha1 == HA1
    assert repr(user) == "Account(username='alice', domain='siphub.net', plain_password=False)"
    assert HA1 not in repr(fetch(store, User("alice", "siphub.net", "MD5")))


def test_a_new_password_leaves_nothing_of_the_old_one(store):
    """Or the old password would still get in by another algorithm."""
    store.add_user("alice", "siphub.net", "secret")
    with store.session.changing():
        store.put("alice", "siphub.net", Hashes(compute_ha1("alice", "siphub.net", "new")), exists=True)
    assert algorithms(store, "alice", "siphub.net") == ("MD5",)
    assert ha1(store, "alice", "siphub.net", "SHA-256") is None


# --- tables of others -----------------------------------------------------------------------------


def test_a_new_user_joins_the_realm_in_the_spelling_it_has(kamailio):
    kamailio(("bob", "SIPHub.NET", "", HA1, ""))
    with Accounts.open(kamailio.path, writable=True) as store:
        store.add_user("alice", "siphub.net", "secret")
        assert canonical_realm(store, "siphub.net") == "SIPHub.NET"
        assert ha1(store, "alice", "siphub.net") == compute_ha1("alice", "SIPHub.NET", "secret")


def test_replacing_a_password_drops_the_plain_one(kamailio):
    kamailio(("alice", "siphub.net", "former", "", ""))
    with Accounts.open(kamailio.path, writable=True) as store:
        store.add_user("alice", "siphub.net", "secret", replace=True)
    assert select(kamailio.path, "SELECT password, ha1, ha1b FROM subscriber") == [("", HA1, HA1B)]


def test_a_table_without_ha1b_serves_and_is_written(tmp_path):
    path = tmp_path / "opensips.sqlite"
    run_sql(path, "CREATE TABLE subscriber (username TEXT, domain TEXT, ha1 TEXT NOT NULL)")
    with Accounts.open(path, writable=True) as store:
        store.add_user("alice", "siphub.net", "secret")
        assert ha1_candidates(store, "alice@siphub.net", "siphub.net") == (HA1,)


# --- groups ---------------------------------------------------------------------------------------


def test_a_member_is_one_until_taken_out(store):
    store.add_user("alice", "siphub.net", "secret")
    assert store.add_group("alice", "SIPHub.net", "voicemail") is True
    assert store.add_group("alice", "siphub.net", "voicemail") is False
    store.add_group("alice", "siphub.net", "admin")
    assert store.groups("alice", "siphub.net") == ("admin", "voicemail")
    assert is_member(store, "alice", "SIPHUB.NET", "voicemail")
    assert not is_member(store, "alice", "siphub.net", "Voicemail")
    assert not is_member(store, "Alice", "siphub.net", "voicemail")
    assert store.delete_group("alice", "SIPHub.net", "voicemail") is True
    assert store.delete_group("alice", "siphub.net", "voicemail") is False
    assert not is_member(store, "alice", "siphub.net", "voicemail")


def test_only_a_user_can_be_put_into_a_group(store):
    with pytest.raises(ConfigError, match=r"alice@siphub\.net does not exist"):
        store.add_group("alice", "siphub.net", "staff")


def test_the_time_of_a_membership_is_written_as_kamailio_writes_it(store, path):
    store.add_user("alice", "siphub.net", "secret")
    store.add_group("alice", "siphub.net", "staff")
    ((stamp, now),) = select(path, "SELECT last_modified, datetime('now') FROM grp")
    assert stamp[:13] == now[:13]
