"""Pseudo-variables in a realm, by the names that OpenSER gives them."""

from __future__ import annotations

import pytest
from kit.sip import build_credentials, build_request

from auth_diameter import ConfigError, SipRequest
from auth_diameter.client.pseudovars import compile_template

REQUEST = SipRequest(
    build_request(
        method="INVITE",
        request_uri="sip:bob@gw.example:5070",
        from_='"Alice" <sip:alice@siphub.net>;tag=a1',
        to="<sip:carol@other.example>;tag=b2",
        extra=(
            "Contact: <sip:alice@192.0.2.7>",
            "Content-Type: text/plain",
            "User-Agent: Phone 1.0",
            "X-Realm: from.header",
            "Refer-To: <sip:d@e>",
            "Diversion: <sip:f@g>",
            "Remote-Party-ID: <sip:h@i>",
            "P-Asserted-Identity: <sip:j@k>",
            "P-Preferred-Identity: <sip:l@m>",
            "Authorization: " + build_credentials("dan@where.example", "its.realm", algorithm="MD5"),
        ),
        body="hello",
    ),
    ("192.0.2.1", 5066),
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("$fd", "siphub.net"),
        ("$fu", "sip:alice@siphub.net"),
        ("$fU", "alice"),
        ("$ft", "a1"),
        ("$td", "other.example"),
        ("$tu", "sip:carol@other.example"),
        ("$tU", "carol"),
        ("$tt", "b2"),
        ("$rd", "gw.example"),
        ("$ru", "sip:bob@gw.example:5070"),
        ("$rU", "bob"),
        ("$rm", "INVITE"),
        ("$rp", "5070"),
        ("$rz", "sip"),
        ("$rv", "SIP/2.0"),
        ("$od", "gw.example"),
        ("$ou", "sip:bob@gw.example:5070"),
        ("$oU", "bob"),
        ("$ci", "c1@127.0.0.1"),
        ("$cs", "7"),
        ("$ct", "<sip:alice@192.0.2.7>"),
        ("$cT", "text/plain"),
        ("$cl", "5"),
        ("$bs", "5"),
        ("$rb", "hello"),
        ("$ml", str(REQUEST.data_size)),
        ("$si", "192.0.2.1"),
        ("$sp", "5066"),
        ("$ua", "Phone 1.0"),
        ("$rt", "<sip:d@e>"),
        ("$di", "<sip:f@g>"),
        ("$re", "<sip:h@i>"),
        ("$ai", "<sip:j@k>"),
        ("$pu", "<sip:l@m>"),
        ("$au", "dan"),
        ("$aU", "dan@where.example"),
        ("$ad", "where.example"),
        ("$ar", "its.realm"),
        ("$adu", "sip:siphub.net"),
        ("$aa", "MD5"),
        ("$hdr(X-Realm)", "from.header"),
        ("$hdr(x-realm)", "from.header"),
        ("$(hdr(X-Realm))", "from.header"),
        ("$(fd)", "siphub.net"),
        ("$$", "$"),
    ],
)
def test_each_variable(template, text):
    assert compile_template(template)(REQUEST) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("siphub.net", "siphub.net"),
        ("sip.$fd", "sip.siphub.net"),
        ("$rU@$fd", "bob@siphub.net"),
        ("$fd.suffix", "siphub.net.suffix"),
        ("$(fd)x$(td)", "siphub.netxother.example"),
        ("$fdx", "siphub.netx"),
        ("a$$b$$$fd", "a$b$siphub.net"),
        ("($hdr(X-Realm))", "(from.header)"),
        ("$hdr(X-Realm))", "from.header)"),
    ],
)
def test_variables_among_text(template, text):
    assert compile_template(template)(REQUEST) == text


@pytest.mark.parametrize(
    "template",
    [
        *("$", "a$", "$ fd", "$1", "$xx", "$fx", "$(fdx)", "$(xx)", "$(fd", "$()", "$avp(x)", "$var(x)"),
        *("$hdr", "$hdr()", "$hdr(", "$hdr(X-Realm", "$(hdr(X-Realm)", "$hdr($fd)", "$(fd{s.len})"),
        *("$fD", "$T", "$Tf"),
    ],
)
def test_an_unknown_variable_is_an_error_of_the_configuration(template):
    with pytest.raises(ConfigError, match="realm"):
        compile_template(template)


@pytest.mark.parametrize("realm", [None, b"siphub.net", 7, "\ud800"])
def test_a_realm_is_text(realm):
    with pytest.raises(ConfigError, match="realm"):
        compile_template(realm)


@pytest.mark.parametrize("missing", ["from_", "to"])
@pytest.mark.parametrize("template", ["{}", "sip.{}", "{}.x"])
def test_without_from_or_to_its_domain_cannot_be_told(missing, template):
    variable = "$fd" if missing == "from_" else "$td"
    request = SipRequest(build_request(**{missing: None}))
    assert compile_template(template.format(variable))(request) is None


@pytest.mark.parametrize(
    "variable",
    [
        *(
            "$fu",
            "$fU",
            "$tU",
            "$ft",
            "$tu",
            "$tt",
            "$ct",
            "$cT",
            "$ua",
            "$rt",
            "$di",
            "$re",
            "$ai",
            "$pu",
            "$rb",
        ),
        *("$si", "$sp", "$au", "$aU", "$ad", "$ar", "$adu", "$aa", "$hdr(X-Realm)"),
    ],
)
def test_what_a_request_lacks_is_empty(variable):
    request = SipRequest(build_request(from_=None, to=None))
    assert compile_template(variable)(request) == ""


@pytest.mark.parametrize(
    ("uri", "port"),
    [("sip:bob@h", "5060"), ("sips:bob@h", "5061"), ("sip:bob@h:99", "99"), ("sip:[::1]:5070", "5070")],
)
def test_the_port_of_the_request_uri_has_a_default(uri, port):
    """RFC 3261, 19.1.2."""
    assert compile_template("$rp")(SipRequest(build_request(request_uri=uri))) == port


@pytest.mark.parametrize(
    ("from_", "user", "domain"),
    [
        ("<sip:9901#1@siphub.net>;tag=1", "9901#1", "siphub.net"),
        ("Bell, \u00c1lex <sip:alice@siphub.net>", "alice", "siphub.net"),
        ("<tel:+33123>", "+33123", None),
        ("<urn:service:sos>", "", None),
    ],
)
def test_a_from_beyond_the_grammar_or_of_another_scheme(from_, user, domain):
    request = SipRequest(build_request(from_=from_))
    assert (compile_template("$fU")(request), compile_template("$fd")(request)) == (user, domain)


def test_credentials_that_cannot_be_read_are_passed_over():
    request = SipRequest(
        build_request(
            extra=(
                "Authorization: Digest username=",
                "Authorization: Basic YTpi",
                "Proxy-Authorization: " + build_credentials("eve", "proxy.realm"),
            )
        )
    )
    assert compile_template("$au@$ar")(request) == "eve@proxy.realm"


def test_a_body_of_any_bytes():
    data = build_request(body="xx").replace(b"xx", b"\xff\x00")
    text = compile_template("$rb")(SipRequest(data))
    assert text.encode("utf-8", "surrogateescape") == b"\xff\x00"


def test_templates_are_compiled_once():
    assert compile_template("once.$fd") is compile_template("once.$fd")
