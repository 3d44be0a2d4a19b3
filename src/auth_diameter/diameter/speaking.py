"""What a client speaks, by its configuration: an application, and with standard Diameter as which node."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from auth_diameter._core import Application, ConfigError, CxApplication, DiscApplication, SipApplication
from auth_diameter.config import Config
from auth_diameter.diameter.base import Identifiers, Node
from auth_diameter.diameter.cx import CX, VENDOR
from auth_diameter.diameter.sip import SIP

if TYPE_CHECKING:
    import ssl


def application_of(config: Config) -> Application:
    """The messages that a client exchanges with its back end; one for each client, and for each process."""
    if not config.is_standard:
        return DiscApplication()
    assert config.origin_host is not None
    assert config.origin_realm is not None
    if config.application == "cx":
        return CxApplication(
            config.origin_host,
            config.origin_realm,
            Identifiers().take(),
            config.server_uri or f"sip:{config.origin_host}",
            destination_realm=config.destination_realm or "",
            destination_host=config.destination_host or "",
        )
    return SipApplication(
        config.origin_host,
        config.origin_realm,
        Identifiers().take(),
        destination_realm=config.destination_realm or "",
        destination_host=config.destination_host or "",
        server_uri=config.server_uri or "",
    )


def node_of(config: Config) -> Node | None:
    """The node that a client is; None: there is none in the DISC dialect."""
    if not config.is_standard:
        return None
    assert config.origin_host is not None
    assert config.origin_realm is not None
    if config.application == "cx":
        return Node(host=config.origin_host, realm=config.origin_realm, vendor_applications=((VENDOR, CX),))
    return Node(host=config.origin_host, realm=config.origin_realm, applications=(SIP,))


def tls_of(config: Config) -> ssl.SSLContext | None:
    """The TLS settings of a client; None: there is no TLS.

    Raises:
        ConfigError: a file cannot be used; the message names it.
    """
    if config.tls_ca is None:
        return None
    import ssl  # late: few need it, and it takes long

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The names are checked in `NeighbourTable.opened`, and with the CEA in `capabilities.read_cea`.
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(config.tls_ca)
    except OSError as error:
        raise ConfigError(f"tls_ca: {config.tls_ca}: {_reason(error)}") from None
    if config.tls_cert is not None:
        try:
            context.load_cert_chain(config.tls_cert, config.tls_key, lambda: _no_password(config))
        except OSError as error:
            files = config.tls_cert if config.tls_key is None else f"{config.tls_cert} and {config.tls_key}"
            raise ConfigError(f"tls_cert: {files}: {_reason(error)}") from None
    return context


def _no_password(config: Config) -> str:
    """Is called for the password of a key; without it OpenSSL would ask for one on the terminal."""
    option, file = ("tls_cert", config.tls_cert) if config.tls_key is None else ("tls_key", config.tls_key)
    raise ConfigError(f"{option}: {file}: has a password; it must have none")


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None)  # of an SSLError
    if reason is not None:
        return f"is no PEM file of its kind ({reason})"
    return error.strerror or str(error)


def is_private(transport: Any) -> bool:
    """Whether nobody else reads along on a connection: there is TLS, or the peer is on this machine.

    Args:
        transport: that of asyncio; None: it is closed.
    """
    if transport is None:
        return False
    if transport.get_extra_info("ssl_object") is not None:
        return True
    peer = transport.get_extra_info("peername")
    return peer is not None and ip_address(peer[0]).is_loopback
