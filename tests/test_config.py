"""The settings: OpenSER's defaults, and a ConfigError that names what cannot be used."""

from __future__ import annotations

import dataclasses

import pytest

from auth_diameter import Config, ConfigError


def test_the_defaults_are_those_of_openser_s_module():
    config = Config()
    assert config.diameter_client_host == "localhost"
    assert config.diameter_client_port == 3000
    assert config.use_domain is False
    assert config.addresses() == (("localhost", 3000),)
    assert config.timeout == 2.0
    assert config.unavailable_status == 503


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().timeout = 3.0


@pytest.mark.parametrize(("value", "means"), [(0, False), (1, True), (True, True), (False, False)])
def test_use_domain_is_a_number_in_openser(value, means):
    assert Config(use_domain=value).use_domain is means


@pytest.mark.parametrize(
    ("settings", "peers"),
    [
        ({"diameter_client_host": "disc.example"}, (("disc.example", 3000),)),
        ({"diameter_client_host": "disc.example:3001"}, (("disc.example", 3001),)),
        ({"diameter_client_port": 3868}, (("localhost", 3868),)),
        ({"diameter_client_host": "2001:db8::1"}, (("2001:db8::1", 3000),)),
        (
            {"diameter_client_host": "10.0.0.1, [2001:db8::1]:3001", "diameter_client_port": 4000},
            (("10.0.0.1", 4000), ("2001:db8::1", 3001)),
        ),
        ({"peers": [("a", 1), ("b", 65535)]}, (("a", 1), ("b", 65535))),
    ],
    ids=["host", "host with port", "port", "IPv6 without brackets", "several", "peers"],
)
def test_where_disc_is(settings, peers):
    assert Config(**settings).addresses() == peers


def test_another_host_in_a_copy():
    """What was made of the old host must not outlive it."""
    config = dataclasses.replace(Config(), diameter_client_host="disc.example")
    assert config.addresses() == (("disc.example", 3000),)


def test_a_limit_for_the_delay_may_be_left_out():
    assert Config().max_delay == 0.25
    assert Config(max_delay=None).max_delay is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"max_delay": 0}, "max_delay"),
        ({"max_delay": "0.25"}, "max_delay"),
        ({"diameter_client_host": ""}, "diameter_client_host"),
        ({"diameter_client_host": "  "}, "diameter_client_host"),
        ({"diameter_client_host": None}, "diameter_client_host"),
        ({"diameter_client_host": "a,"}, "diameter_client_host"),
        ({"diameter_client_host": "a:b"}, "diameter_client_host"),
        ({"diameter_client_host": "a:70000"}, "diameter_client_host"),
        ({"diameter_client_host": "a:0"}, "diameter_client_host"),
        ({"diameter_client_host": "a:\u0663"}, "diameter_client_host"),
        ({"diameter_client_host": "[::1"}, "diameter_client_host"),
        ({"diameter_client_host": "[::1]3000"}, "diameter_client_host"),
        ({"diameter_client_port": 0}, "diameter_client_port"),
        ({"diameter_client_port": 65536}, "diameter_client_port"),
        ({"diameter_client_port": "3000"}, "diameter_client_port"),
        ({"diameter_client_port": True}, "diameter_client_port"),
        ({"peers": []}, "peers"),
        ({"peers": [("a", 0)]}, "peers"),
        ({"peers": [("", 3000)]}, "peers"),
        ({"peers": ["a:3000"]}, "peers"),
        ({"peers": "a"}, "peers"),
        ({"peers": 3000}, "peers"),
        ({"use_domain": "no"}, "use_domain"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1.0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": "2"}, "timeout"),
        ({"connect_timeout": 0.0}, "connect_timeout"),
        ({"max_connections": 0}, "max_connections"),
        ({"max_in_flight": 1.5}, "max_in_flight"),
        ({"max_waiting": None}, "max_waiting"),
        ({"tell_source": 1}, "tell_source"),
        ({"max_sip_message": 255}, "max_sip_message"),
        ({"max_sip_headers": 1 << 17}, "max_sip_headers"),
        ({"max_diameter_message": 1 << 24}, "max_diameter_message"),
        ({"unavailable_status": 404}, "unavailable_status"),
        ({"retry_after": -1}, "retry_after"),
        ({"penalty": 1}, "penalty"),
        ({"retry_after": 2.5}, "retry_after"),
        ({"algorithms": (["MD5"],), "db": "users"}, "algorithms"),
        ({"qop": ("auth", "auth"), "db": "users"}, "qop"),
        ({"bind_source": "no", "db": "users"}, "bind_source"),
        ({"userhash": 1, "db": "users"}, "userhash"),
        ({"authentication_info": None, "db": "users"}, "authentication_info"),
        ({"rechallenge": 0, "db": "users"}, "rechallenge"),
        ({"limit_accounts": "yes", "db": "users"}, "limit_accounts"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named(settings, named):
    with pytest.raises(ConfigError, match=f"^{named}"):
        Config(**settings)


# ------------------------------------------------------------------ the local back end

KEY = b"sixteen secret b"


@pytest.mark.parametrize("keys", [KEY, [KEY], (KEY, KEY + b"ytes")], ids=["one", "list", "several"])
def test_keys_of_nonces_are_kept_as_a_tuple(keys):
    """A list of the caller may change later."""
    expected = (KEY,) if keys is KEY else tuple(keys)
    assert Config(db="users.sqlite", nonce_key=keys).nonce_key == expected


@pytest.mark.parametrize(
    "keys",
    [
        b"",
        KEY[:-1],
        [],
        [KEY, KEY[:-1]],
        [KEY, None],
        KEY.decode(),
        [KEY.decode()],
        bytearray(KEY),
        {KEY},
        16,
    ],
    ids=repr,
)
def test_a_key_that_could_be_guessed_is_none(keys):
    """16 bytes at least, each of them; and the message does not repeat what may be a secret."""
    with pytest.raises(ConfigError, match=r"^nonce_key: expected 16 secret bytes or more") as caught:
        Config(db="users.sqlite", nonce_key=keys)
    assert "sixteen" not in str(caught.value)


@pytest.mark.parametrize("db", ["", b"users.sqlite", 1, True])
def test_a_database_is_named_by_its_path(db):
    with pytest.raises(ConfigError, match=r"^db: expected the path or the URL of a database"):
        Config(db=db)


@pytest.mark.parametrize(
    "settings",
    [{"diameter_client_host": "disc.example"}, {"diameter_client_port": 3001}, {"peers": [("a", 1)]}],
    ids=str,
)
def test_where_disc_is_has_no_meaning_with_a_database(settings):
    """A caller who names both has one of them wrong: which users are let in must not be a guess."""
    (name,) = settings
    with pytest.raises(ConfigError, match=rf"^{name}: no DISC is asked with db"):
        Config(db="users.sqlite", **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"nonce_key": KEY},
        {"algorithms": ("SHA-256",)},
        {"qop": ("auth-int",)},
        {"bind_source": True},
        {"nonce_lifetime": 60.0},
    ],
    ids=str,
)
def test_settings_of_the_verifier_have_no_meaning_without_a_database(settings):
    """A caller would believe that nonces are bound to a source, and no DISC does it because of that."""
    (name,) = settings
    with pytest.raises(ConfigError, match=rf"^{name}: a setting of DISC, or of the local back end"):
        Config(**settings)
    Config(db="users.sqlite", **settings)
