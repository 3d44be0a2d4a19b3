"""Whether a digest was made for this request: its digest-uri beside the Request-URI (RFC 7616, 3.4.6).

A proxy on the way may rewrite the Request-URI, and telephones put the domain into the digest-uri that they
register with (RFC 3261, 22.4, rule 8, wants no more than that it is in the hashes). So the default asks
only that the host is one that this request or this realm is about, which cannot be told where a proxy has
made an address of it.
"""

from __future__ import annotations

from typing import Literal

from auth_diameter._core import ParseError, Uri

UriPolicy = Literal["host", "strict", "off"]
URI_POLICIES: tuple[UriPolicy, ...] = ("host", "strict", "off")


def uri_fits(policy: UriPolicy, digest_uri: str, resource: str, realm: str) -> bool:
    """Whether a digest over `digest_uri` may stand for a request to `resource`.

    Args:
        policy: ``"host"``: its host is that of the Request-URI, the realm, below the realm, or either of the
            two has an address, as of a client that was given no name or after a proxy that looked one up;
            ``"strict"``, and for a URI without a host: it names what the Request-URI names, user, host and
            port; ``"off"``: any.
        resource: the Request-URI as ``user@host[:port]``; "" where it is not known, which leaves the realm,
            and nothing for ``"strict"`` to refuse.
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
    """As the Resource AVP has it; without a host, the number or all of it."""
    if uri.host is None:
        return uri.account or uri.text
    user = f"{uri.account}@" if uri.user is not None else ""
    port = f":{uri.port}" if uri.port is not None else ""
    return f"{user}{uri.host}{port}"


def _parts(address: str) -> tuple[str, str]:
    """The user, in which case counts, and host and port, in which it does not (RFC 3261, 19.1.4)."""
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
