"""Which digest-uri may stand for which request: RFC 7616, 3.4.6; RFC 3261, 22.4."""

import pytest

from auth_diameter._core import uri_fits


@pytest.mark.parametrize(
    ("digest_uri", "resource", "host", "strict"),
    [
        ("sip:siphub.net", "siphub.net", True, True),
        ("sip:bob@siphub.net", "bob@siphub.net", True, True),
        ("sip:bob@siphub.net:5070", "bob@siphub.net:5070", True, True),
        ("SIP:bob@SipHub.NET;transport=tcp", "bob@siphub.net", True, True),
        ("sip:%62ob@siphub.net", "bob@siphub.net", True, True),  # RFC 3261, 19.1.4
        ("sip:[2001:db8::1]:5060", "[2001:DB8::1]:5060", True, True),
        # A proxy rewrote the Request-URI to the address of the server: no reason to refuse.
        ("sip:siphub.net", "10.0.0.5:5070", True, False),
        ("sip:bob@siphub.net", "bob@10.0.0.5", True, False),
        ("sip:sip.siphub.net", "10.0.0.5", True, False),
        ("sip:bob@else.where", "bob@10.0.0.5:5070", True, False),
        ("sip:bob@else.where", "[2001:db8::5]", True, False),
        ("sip:bob@else.where", "bob@10.0.0.5.else.were", False, False),
        # Another user or port of the same host; a call to elsewhere by way of this server.
        ("sip:carol@siphub.net", "bob@siphub.net", True, False),
        ("sip:bob@siphub.net", "bob@siphub.net:5070", True, False),
        ("sip:bob@else.where", "bob@else.where", True, True),
        # A host below the realm: a server of it, by its own name.
        ("sip:sip.siphub.net", "siphub.net", True, False),
        ("sip:bob@a.b.SIPHUB.net", "bob@siphub.net", True, False),
        # A client that knows the server by its address alone, as sipp does.
        ("sip:127.0.0.1:5060", "siphub.net", True, False),
        ("sip:[2001:db8::1]", "siphub.net", True, False),
        # A digest that was made for somebody else's server.
        ("sip:else.where", "siphub.net", False, False),
        ("sip:evilsiphub.net", "siphub.net", False, False),
        ("sip:siphub.net.else.where", "siphub.net", False, False),
        ("sip:siphub.net@else.where", "siphub.net", False, False),
        ("sip:else.where", "siphub.net@siphub.net", False, False),
        # No URI of a host.
        ("tel:+4930123456", "+4930123456", True, True),
        ("tel:+4930123456", "+4930123457", False, False),
        ("sip:Bob@siphub.net", "bob@siphub.net", True, False),
        ("*", "siphub.net", False, False),
        ("/index.html", "siphub.net", False, False),
        ("", "siphub.net", False, False),
        # What asks does not tell the Request-URI.
        ("sip:siphub.net", "", True, True),
        ("sip:else.where", "", False, True),
    ],
)
def test_policies(digest_uri, resource, host, strict):
    assert uri_fits("host", digest_uri, resource, "SIPhub.net") is host
    assert uri_fits("strict", digest_uri, resource, "SIPhub.net") is strict
    assert uri_fits("off", digest_uri, resource, "SIPhub.net") is True
