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
