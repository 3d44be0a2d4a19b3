"""Comparison of the digest-uri with the Request-URI (RFC 7616, 3.4.6).

A proxy on the path may rewrite the Request-URI, and telephones use the domain with which they register as the
digest-uri; RFC 3261, 22.4, rule 8 requires only that the digest-uri is in the hash. So the default policy
compares only the host, with that of the Request-URI and with the realm. If a proxy has replaced a host by an
IP address, there is nothing to compare.
"""

from __future__ import annotations

from typing import Literal

from auth_diameter._core import ParseError, Uri

UriPolicy = Literal["host", "strict", "off"]
URI_POLICIES: tuple[UriPolicy, ...] = ("host", "strict", "off")


def uri_fits(policy: UriPolicy, digest_uri: str, resource: str, realm: str) -> bool:
    """Whether a digest over `digest_uri` is accepted for a request to `resource`.

    With ``"host"`` the host of the digest-uri must be that of the Request-URI, or the realm, or below the
    realm. Any host is accepted if either URI has an IP address: a client may have been configured without a
    name, and a proxy may have looked one up.

    With ``"strict"`` the user, host and port must be those of the Request-URI. The same holds with ``"host"``
    for a URI without a host.

    Args:
        policy: ``"host"``, ``"strict"`` or ``"off"``, which accepts any URI.
        digest_uri: the ``uri`` of the credentials.
        resource: the Request-URI as ``user@host[:port]``; "" if it is unknown. Then ``"host"`` compares with
            the realm only, and ``"strict"`` accepts any URI.
        realm: the realm of the credentials.
    """
    if policy == "off":
        return True
    try:
        uri = Uri.parse(digest_uri)
    except ParseError:
        return False
    if policy == "strict" or uri.host is None:
        return not resource or _parts(_address(uri)) == _parts(resource)
    host, domain, asked = uri.host.lower(), realm.lower(), _host(resource)
    return host in (asked, domain) or host.endswith("." + domain) or _is_address(host) or _is_address(asked)


def _address(uri: Uri) -> str:
    """The URI as ``user@host[:port]``; without a host, its number or its whole text."""
    if uri.host is None:
        return uri.account or uri.text
    user = f"{uri.account}@" if uri.user is not None else ""
    port = f":{uri.port}" if uri.port is not None else ""
    return f"{user}{uri.host}{port}"


def _parts(address: str) -> tuple[str, str]:
    """The user, which is case-sensitive, and host and port, which are not (RFC 3261, 19.1.4)."""
    user, _, host = address.rpartition("@")
    return user, host.lower()


def _is_address(host: str) -> bool:
    return host.startswith("[") or host.replace(".", "").isdigit()


def _host(resource: str) -> str:
    """The host of ``user@host[:port]`` in lower case."""
    address = resource.rpartition("@")[2].lower()
    if address.startswith("["):
        return address.partition("]")[0] + "]"
    return address.partition(":")[0]
