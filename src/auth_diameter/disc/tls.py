"""TLS for standard Diameter: it comes first, before the capabilities exchange (RFC 6733, 13.1).

Both sides show certificates. The peer's must name its Origin-Host, which the CER has.
"""

from __future__ import annotations

import ssl

from auth_diameter._core import ConfigError


def server_context(certificate: str, key: str, authorities: str) -> ssl.SSLContext:
    """Makes the context of a server that wants certificates of its clients.

    Args:
        certificate: file with our certificate and those between it and its authority, PEM.
        key: file with its private key, PEM, without a password.
        authorities: file with the certificates of the authorities that certify the peers, PEM.

    Raises:
        ConfigError: a file cannot be read, or holds something else; the message begins with the option.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    for option, path in (("--tls-cert", certificate), ("--tls-key", key), ("--tls-ca", authorities)):
        _check_readable(option, path)
    try:
        context.load_verify_locations(authorities)
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"--tls-ca {authorities}: holds no certificate in PEM") from None
    try:
        context.load_cert_chain(certificate, key, lambda: _no_password(key))
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"--tls-key {key}: is not the key of {certificate}") from None
        raise ConfigError(
            f"--tls-cert {certificate}, --tls-key {key}: no certificate and key in PEM"
        ) from None
    return context


def _no_password(key: str) -> str:
    raise ConfigError(f"--tls-key {key}: has a password; it must have none")


def _check_readable(option: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as error:
        raise ConfigError(f"{option} {path}: {getattr(error, 'strerror', None) or error}") from None
