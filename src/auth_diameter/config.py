"""The configuration of the client: each setting with its default, its unit and its reason."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from auth_diameter._core import ConfigError
from auth_diameter.addresses import check_port, checked_peers, parse_peers, show
from auth_diameter.decision import UNAVAILABLE
from auth_diameter.standard import DIALECT_PORT, StandardConfig
from auth_diameter.store.config import StoreConfig
from auth_diameter.verifier.config import VerifierConfig

DEFAULT_PORT: Final = DIALECT_PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(VerifierConfig, StoreConfig, StandardConfig):
    """How to reach DISC, and how to reply when it cannot be reached; or, with `db`, how to do without DISC.

    The first three are the parameters of OpenSER's module, with the same names and defaults. With `db` the
    settings of DISC's Verifier apply here, which are fields as well: see `VerifierConfig`. The settings for
    standard Diameter are those of `StandardConfig`.

    Raises:
        ConfigError: a value cannot be used; the message names the field.
    """

    diameter_client_host: str = "localhost"
    """Host of DISC: a name, an IPv4 or IPv6 address; several with commas, each with a port or
    without: ``"10.0.0.1,[2001:db8::1]:3001"``."""

    diameter_client_port: int = DEFAULT_PORT
    """TCP port of DISC, 1 to 65535, for a host without a port. With standard Diameter 3000 stands for its own
    port: 3868, or 5868 with TLS."""

    use_domain: bool = False
    """Whether a group check names the user as ``user@domain`` instead of ``user``."""

    peers: Sequence[tuple[str, int]] | None = None
    """The DISC servers as (host, port); None: those of the two fields above."""

    db: str | None = None
    """Database of the subscribers: a path of SQLite, or a URL such as ``postgresql://user@host/kamailio``,
    ``mysql://user@host/kamailio`` or ``redis://host/0``; or an HSS, ``cx://host/realm``. With it, credentials
    are verified in this process, and no DISC is asked."""

    db_password: str | None = dataclasses.field(default=None, repr=False)
    """Password of a database server, with `db`, if its URL has none."""

    nonce_key: bytes | Sequence[bytes] | None = dataclasses.field(default=None, repr=False)
    """Secret key of the nonces, with `db`: 16 bytes or more. Servers with the same one accept each other's
    challenges. Of several keys the first makes nonces, and all are accepted. None: a random key."""

    state: str | None = dataclasses.field(default=None, repr=False)
    """URL of a Redis or Valkey in which servers with the same `nonce_key` and settings count nonces and
    guesses together, with `db`: ``redis://host:6379/0``, ``rediss://…``, ``valkey://…``, ``unix:///path``.
    None: this one counts alone."""

    timeout: float = 2.0
    """Seconds from a question to its answer, connecting included; the C module's limit. Until
    then a telephone has sent its request three times (RFC 3261, 17.1.2.2)."""

    connect_timeout: float = 1.0
    """Seconds for one attempt to connect, so that a second one fits into `timeout`; with standard Diameter
    for the peer's CEA behind it as well."""

    max_connections: int = 64
    """Connections to all DISC together. Threads use one each while a question is under way; asyncio
    opens a second one only when the first is full."""

    max_in_flight: int = 1000
    """Questions under way on one connection of asyncio; 1 for the original DISC, which expects
    one complete question in each TCP segment."""

    max_waiting: int = 10_000
    """Questions that may wait for a connection; the next one gets a 503 at once."""

    max_delay: float | None = 0.25
    """Seconds that a question may have to wait for its answer, by the rate at which answers come in;
    one that would wait longer gets a 503 at once. So in an overload only the excess is refused, and the
    others do not run into `timeout`. 128 questions (256 of threads) may wait however slow DISC is. None: no
    limit, for a DISC that is far away."""

    unavailable_status: int = UNAVAILABLE
    """SIP status when DISC does not answer: 503, or 500, which the C module sends."""

    retry_after: int = 2
    """Seconds in the Retry-After of a 503 (RFC 3261, 20.33); 0: no such header."""

    tell_source: bool = False
    """Whether DISC is told the address that a request came from, in a Calling-Station-Id AVP. Our
    DISC needs it to bind nonces to a source and to count guesses. The original DISC does not know the AVP.
    With `db` the address is known in any case."""

    penalty: bool = True
    """Whether credentials are refused unseen for up to a minute after many wrong ones of the same user or
    source, so that passwords cannot be guessed. It applies only if the source is known."""

    max_sip_message: int = 65_535
    """Bytes that a SIP request may have: what UDP can carry."""

    max_sip_headers: int = 256
    """Header fields that a SIP request may have; telephones send some 15. It bounds the work for one
    request."""

    max_diameter_message: int = 65_536
    """Bytes that a question to DISC or an answer may have; with the whole credentials in it, a
    question has some 600. A connection on which a longer answer begins is closed."""

    def __post_init__(self) -> None:
        VerifierConfig.__post_init__(self)
        StoreConfig.__post_init__(self)
        if isinstance(self.db, str) and self.db.startswith("cx://") and self.application == "disc":
            object.__setattr__(self, "application", "cx")
        StandardConfig.__post_init__(self)
        self._check_back_end()
        if self.diameter_client_port == DEFAULT_PORT:
            object.__setattr__(self, "diameter_client_port", self.default_port)
        if not isinstance(self.use_domain, int):  # a number in OpenSER
            raise ConfigError(f"use_domain: expected True or False, not {self.use_domain!r}")
        object.__setattr__(self, "use_domain", bool(self.use_domain))
        for name in _SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ConfigError(f"{name}: expected True or False, not {value!r}")
        check_port("diameter_client_port", self.diameter_client_port)
        if self.peers is not None:
            object.__setattr__(self, "peers", checked_peers("peers", self.peers))
        for _, port in self.addresses():
            check_port("diameter_client_host", port)
        for name in ("timeout", "connect_timeout"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value <= 3600:
                raise ConfigError(f"{name}: expected seconds above 0, up to 3600, not {value!r}")
        if self.max_delay is not None and (
            not isinstance(self.max_delay, int | float) or not 0 < self.max_delay <= 3600
        ):
            raise ConfigError(
                f"max_delay: expected seconds above 0, up to 3600, or None, not {self.max_delay!r}"
            )
        for name in ("max_connections", "max_in_flight", "max_waiting"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name}: expected a whole number from 1 on, not {value!r}")
        for name, least, most in _SIZES:
            value = getattr(self, name)
            if not isinstance(value, int) or not least <= value <= most:
                raise ConfigError(f"{name}: expected a whole number from {least} to {most}, not {value!r}")
        if self.unavailable_status not in (500, 503):
            raise ConfigError(f"unavailable_status: expected 500 or 503, not {self.unavailable_status!r}")
        if not isinstance(self.retry_after, int) or not 0 <= self.retry_after <= 3600:
            raise ConfigError(f"retry_after: expected whole seconds up to 3600, not {self.retry_after!r}")

    def _check_back_end(self) -> None:
        """Refuses settings of the back end that is not used."""
        if self.db is None and self.application == "cx":
            others: tuple[str, ...] = ("db_password",)
            what = "an HSS is asked for the users"
        elif self.db is None:
            others = ("db_password", "nonce_key", "state", *_OF_VERIFIER, *_OF_STORE)
            what = "a setting of DISC, or of the local back end: db is missing"
        else:
            if not isinstance(self.db, str) or not self.db:
                raise ConfigError("db: expected the path or the URL of a database")
            others = ("diameter_client_host", "diameter_client_port", "peers")
            if self.application == "sip" or (self.application == "cx" and not self.db.startswith("cx://")):
                raise ConfigError(f'application: "{self.application}" with db, which needs no other server')
            what = "no DISC is asked with db"
        for name in others:
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ConfigError(f"{name}: {what}")
        if self.nonce_key is not None:
            keys = (self.nonce_key,) if isinstance(self.nonce_key, bytes) else self.nonce_key
            if not isinstance(keys, tuple | list) or not keys or not all(map(_is_key, keys)):
                raise ConfigError(
                    f"nonce_key: expected {_LEAST_KEY} secret bytes or more, or several such keys"
                )
            object.__setattr__(self, "nonce_key", tuple(keys))
        if self.state is not None:
            if not isinstance(self.state, str) or not self.state:
                raise ConfigError("state: expected the URL of a Redis or Valkey")
            if self.nonce_key is None:
                raise ConfigError(
                    "state: needs a nonce_key, the same for all, or they refuse each other's nonces"
                )

    @property
    def database(self) -> str | None:
        """What `db` names, or with "cx" the HSS as a database; None: another server is asked."""
        if self.db is not None or self.application != "cx":
            return self.db
        return f"cx://{','.join(show(*address) for address in self.addresses())}"

    def addresses(self) -> Sequence[tuple[str, int]]:
        """Each DISC as (host, port): those of `peers`, or of the host and port fields."""
        if self.peers is not None:
            return self.peers
        return parse_peers(self.diameter_client_host, self.diameter_client_port)


def config_of(settings: Mapping[str, Any]) -> Config:
    """The configuration of settings by their names.

    Raises:
        ConfigError: a setting is unknown, or its value cannot be used.
    """
    known = Config.__dataclass_fields__
    for name in settings:
        if name not in known:
            likely = difflib.get_close_matches(name, known, 1)
            hint = f"; is it {likely[0]!r}?" if likely else ""
            raise ConfigError(f"unknown setting {name!r}{hint}")
    return Config(**settings)


# `penalty` is a setting of both back ends.
_OF_VERIFIER = tuple(field.name for field in dataclasses.fields(VerifierConfig) if field.name != "penalty")
_OF_STORE = tuple(field.name for field in dataclasses.fields(StoreConfig))
_SWITCHES = (
    "tell_source",
    *(field.name for field in dataclasses.fields(VerifierConfig) if isinstance(field.default, bool)),
)
_LEAST_KEY = 16  # bytes
_SIZES = (
    ("max_sip_message", 256, 1 << 24),
    ("max_sip_headers", 8, 1 << 16),
    ("max_diameter_message", 256, (1 << 24) - 1),
)  # name, least, most; Message Length has 24 bits (RFC 6733, 3)


def _is_key(key: object) -> bool:
    return isinstance(key, bytes) and len(key) >= _LEAST_KEY
