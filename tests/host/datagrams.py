"""What a SIP server may be sent, and what DISC may answer: both the same in each run.

The datagrams are the sets of hostile input, forms that requests and credentials may have, beginnings of good
requests, and requests with random damage.
"""

from __future__ import annotations

import functools
import hashlib
import random

from hostile import corpora
from kit.sip import DIGEST, DOMAIN, REGISTER, changed, shortest, with_line
from kit.wire import CALLING_STATION_ID, CHALLENGE, FAILED_AVP, RESPONSE, USER_NAME, build_answer

from auth_diameter import Avp

DIGEST_RESPONSE_AUTH, DIGEST_NEXTNONCE = 106, 107
TORTURE = "torture "  # begins the names of messages of RFC 4475 and RFC 5118

# ------------------------------------------------------------------ what DISC may answer

_CHALLENGE = f'Digest realm="{DOMAIN}", nonce="5f3c9a1d", qop="auth"'.encode()
_THREE = [_CHALLENGE + b", algorithm=" + name for name in (b"SHA-512-256", b"SHA-256", b"MD5")]
_PROOF = (Avp(DIGEST_RESPONSE_AUTH, "0123456789abcdef" * 2), Avp(DIGEST_NEXTNONCE, "bmV4dA=="))


def _challenges(*values: bytes) -> tuple[Avp, ...]:
    return tuple(Avp(CHALLENGE, value + b"\r\n") for value in values)


def _failed(code: int) -> tuple[Avp, ...]:
    return (Avp(FAILED_AVP, code.to_bytes(4, "big") + b"\0\0\0\x08", flags=0),)


# Answers to the question with the SIP-MSGID 0; None: DISC does not answer.
ANSWERS: dict[str, bytes | None] = {
    "right": build_answer(0, 2001),
    "right, of another service": build_answer(0, 2001, service_type=b"8"),
    "right, with Authentication-Info": build_answer(0, 2001, more=_PROOF),
    "right, with the name": build_answer(0, 2001, more=(Avp(USER_NAME, "carol"),)),
    "challenge": build_answer(0, 4001, more=_challenges(_CHALLENGE)),
    "three challenges": build_answer(0, 4001, more=_challenges(*_THREE)),
    "stale": build_answer(0, 4001, more=_challenges(_CHALLENGE + b", stale=true")),
    "a challenge of 250 bytes": build_answer(
        0, 4001, more=_challenges(_CHALLENGE + b', opaque="%b"' % (b"a" * (250 - len(_CHALLENGE) - 11)))
    ),
    "a long challenge": build_answer(0, 4001, more=_challenges(_CHALLENGE + b', opaque="%b"' % (b"a" * 600))),
    "challenge, of another service": build_answer(0, 4001, service_type=b"8", more=_challenges(_CHALLENGE)),
    "wrong, with a challenge": build_answer(0, 5003, more=_challenges(_CHALLENGE)),
    "no challenge": build_answer(0, 4001),
    "wrong": build_answer(0, 5003),
    "wrong, by Failed-AVP": build_answer(0, 5003, more=_failed(RESPONSE)),
    "held back": build_answer(0, 5003, more=_failed(CALLING_STATION_ID)),
    "unable to comply": build_answer(0, 5012),
    "unable to deliver": build_answer(0, 3002),
    "without Result-Code": build_answer(0, None),
    "silence": None,
}

# ------------------------------------------------------------------ credentials

_ZEROS, _LONG = "0" * 32, "0" * 64
_QOP = 'qop=auth, nc=00000001, cnonce="0a4f113b"'


def _credentials(more: str = "", response: str = _ZEROS, username: str = 'username="alice"') -> str:
    text = f'Digest {username}, realm="{DOMAIN}", nonce="bm9uY2U=", uri="sip:{DOMAIN}", response="{response}"'
    return f"{text}, {more}" if more else text


_OURS = _credentials(_QOP)
_OTHERS = _OURS.replace(DOMAIN, "example.com", 1)
_HASHED = f'username="{hashlib.sha256(b"alice").hexdigest()}"'

CREDENTIALS: dict[str, list[str]] = {
    "rfc 2069": [_credentials()],
    "qop": [_OURS],
    "opaque": [_credentials(f'{_QOP}, opaque="5ccc"')],
    "unknown parameters": [_credentials(f'{_QOP}, x=y, z="a, b"')],
    "lower case": [_OURS.replace("Digest", "digest").replace("realm", "REALM")],
    "realm in upper case": [_OURS.replace(f'realm="{DOMAIN}"', f'realm="{DOMAIN.upper()}"')],
    "spaces": [_OURS.replace(", ", " ,\t ").replace("=", " = ")],
    "qop in quotes": [_OURS.replace("qop=auth", 'qop="auth"')],
    "empty qop": [_credentials('qop=""')],
    "unknown qop": [_OURS.replace("qop=auth", "qop=auth-conf")],
    "qop without nc": [_credentials('qop=auth, cnonce="a"')],
    "qop without cnonce": [_credentials("qop=auth, nc=00000001")],
    "short nc": [_OURS.replace("nc=00000001", "nc=0000001")],
    "auth-int": [_OURS.replace("qop=auth", "qop=auth-int")],
    "MD5": [_credentials(f"{_QOP}, algorithm=MD5")],
    "md5 in quotes": [_credentials(f'{_QOP}, algorithm="md5"')],
    "MD5-sess": [_credentials(f"{_QOP}, algorithm=MD5-sess")],
    "SHA-256": [_credentials(f"{_QOP}, algorithm=SHA-256", _LONG)],
    "SHA-256-sess": [_credentials(f"{_QOP}, algorithm=SHA-256-sess", _LONG)],
    "SHA-512-256": [_credentials(f"{_QOP}, algorithm=SHA-512-256", _LONG)],
    "SHA-256 of 32 digits": [_credentials(f"{_QOP}, algorithm=SHA-256")],
    "MD5 of 64 digits": [_credentials(f"{_QOP}, algorithm=MD5", _LONG)],
    "unknown algorithm": [_credentials(f"{_QOP}, algorithm=AKAv1-MD5")],
    "digits in upper case": [_credentials(_QOP, "ABCDEF01" * 4)],
    "no hex digits": [_credentials(_QOP, "x" * 32)],
    "userhash=false": [_credentials(f"{_QOP}, userhash=false")],
    "userhash=true": [_credentials(f"{_QOP}, algorithm=SHA-256, userhash=true", _LONG, _HASHED)],
    "username*": [_credentials(_QOP, username="username*=UTF-8''J%C3%A4s%20on")],
    "username twice": [_credentials(_QOP, username="username=\"alice\", username*=UTF-8''bob")],
    "username with a domain": [_credentials(_QOP, username=f'username="alice@{DOMAIN}"')],
    "username with escapes": [_credentials(_QOP, username=r'username="al\"i\\ce"')],
    "username in utf-8": [_credentials(_QOP, username='username="Jäson"')],
    "empty username": [_credentials(_QOP, username='username=""')],
    "username with a tab": [_credentials(_QOP, username='username="a\tb"')],
    "long username": [_credentials(_QOP, username=f'username="{"a" * 700}"')],
    "cnonce with escapes": [_OURS.replace("0a4f113b", r"a\"b\\c")],
    "cnonce with a tab": [_OURS.replace("0a4f113b", "a\tb")],
    "cnonce in utf-8": [_OURS.replace("0a4f113b", "ä\u200b")],
    "ims": [f'Digest username="alice@{DOMAIN}", realm="{DOMAIN}", nonce="", uri="sip:{DOMAIN}", response=""'],
    "empty nonce": [_OURS.replace("bm9uY2U=", "")],
    "no uri": [_OURS.replace(f'uri="sip:{DOMAIN}", ', "")],
    "uri with escapes": [_OURS.replace('uri="sip:', r'uri="sip:a\"b@')],
    "basic": ["Basic YWxpY2U6d29uZGVybGFuZA=="],
    "other realm": [_OTHERS],
    "other realm first": [_OTHERS, _OURS],
    "other realm malformed": [_OTHERS.replace("nc=00000001", "nc=1"), _OURS],
    "ours malformed behind ours": [_OURS, _OURS.replace("nc=00000001", "nc=1")],
    "ours malformed before ours": [_OURS.replace("nc=00000001", "nc=1"), _OURS],
    "basic first": ["Basic YQ==", _OURS],
    "ours twice": [_OURS.replace("alice", "bob"), _OURS],
    "folded": [_OURS.replace(", ", ",\r\n ")],
    "an unclosed quote": [_OURS[:-1]],
    "a comma at the end": [_OURS + ","],
    "empty": [""],
}

_BYE = (
    f"BYE sip:bob@192.0.2.4 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bKby;rport\r\n"
    f"Max-Forwards: 70\r\nFrom: Alice <sip:alice@{DOMAIN}>;tag=8a\r\n"
    f"To: Bob <sip:bob@{DOMAIN}>;tag=314159\r\n"
    f"Call-ID: bye-1\r\nCSeq: 231 BYE\r\nContent-Length: 0\r\n\r\n"
).encode()
_BODY = (
    b"v=0\r\no=a 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0\r\n"
)


def _of(method: str, data: bytes = REGISTER) -> bytes:
    """The request with another method."""
    return data.replace(b"REGISTER", method.encode())


_INVITE = _of("INVITE", REGISTER).replace(b"sip:siphub.net SIP", b"sip:bob@siphub.net SIP")
_CALL = changed(
    b"Content-Length: 0\r\n\r\n",
    b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY),
    with_line(b"Proxy-Authorization: " + _OURS.encode(), _INVITE),
)
_LOGIN = with_line(b"Contact: <sip:alice@192.0.2.1:5060>;expires=60\r\nAuthorization: " + _OURS.encode())


def _with_credentials() -> dict[str, bytes]:
    found = {}
    for name, values in CREDENTIALS.items():
        for field, data in (("Authorization", REGISTER), ("Proxy-Authorization", _INVITE), ("Both", _BYE)):
            fields = ["Authorization", "Proxy-Authorization"] if field == "Both" else [field]
            lines = [f"{each}: {value}" for value in values for each in fields]
            found[f"{data.split()[0].decode()} with {name}"] = with_line("\r\n".join(lines).encode(), data)
    for name, header in corpora.digest_headers().items():
        if len(header.value) < 65_000:
            found[f"register {name}"] = with_line(b"Authorization: " + header.value, corpora.register())
            found[f"invite {name}"] = with_line(
                b"Proxy-Authorization: " + header.value, _of("INVITE", corpora.register())
            )
    return found


# ------------------------------------------------------------------ forms of requests

_METHODS = [
    "REGISTER",
    "INVITE",
    "ACK",
    "CANCEL",
    "OPTIONS",
    "MESSAGE",
    "BYE",
    "SUBSCRIBE",
    "NOTIFY",
    "PRACK",
]
_METHODS += ["REFER", "FOO", "register"]

_VIAS = {
    "rport": b"SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1",
    "rport with a value": b"SIP/2.0/UDP 192.0.2.1:5060;rport=7;branch=z9hG4bK1",
    "another host": b"SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1",
    "another host and rport": b"SIP/2.0/UDP 10.0.0.1:5099;rport;branch=z9hG4bK1",
    "another port": b"SIP/2.0/UDP 192.0.2.1:5099;branch=z9hG4bK1",
    "no port": b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
    "a name": b"SIP/2.0/UDP pc33.siphub.net;branch=z9hG4bK1",
    "ipv6": b"SIP/2.0/UDP [2001:db8::7]:5070;branch=z9hG4bK1",
    "ipv6 in other letters": b"SIP/2.0/UDP [2001:DB8:0:0::7];branch=z9hG4bK1",
    "received": b"SIP/2.0/UDP 192.0.2.1;received=192.0.2.200;branch=z9hG4bK1",
    "maddr": b"SIP/2.0/UDP 192.0.2.1;maddr=224.0.1.75;ttl=1;branch=z9hG4bK1",
    "two": b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1, SIP/2.0/TCP a.example.com;branch=z9hG4bK2",
    "two lines": b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP b.example.com;branch=z9hG4bK2",
    "two, the first with rport": b"SIP/2.0/UDP 10.1.1.1;rport,SIP/2.0/UDP b.example.com:70;rport",
    "spaces": b"SIP / 2.0 / UDP 192.0.2.1 : 5060 ; branch = z9hG4bK1",
    "a fold": b"SIP/2.0/UDP 192.0.2.1\r\n  ;rport\r\n\t;branch=z9hG4bK1",
    "tcp": b"SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1",
    "no branch": b"SIP/2.0/UDP 192.0.2.1",
    "quoted parameter": b'SIP/2.0/UDP 192.0.2.1;x="a;rport,b"',
    "port 0": b"SIP/2.0/UDP 192.0.2.1:0;branch=z9hG4bK1",
}
_FROMS = {
    "no brackets": b"sip:alice@siphub.net;tag=1",
    "a quoted name": b'"A. \\"Al\\" <x>" <sip:alice@siphub.net>;tag=1',
    "a name in utf-8": '"Jäson" <sip:alice@siphub.net>;tag=1'.encode(),
    "sips": b"<sips:alice@siphub.net>;tag=1",
    "a port": b"<sip:alice@siphub.net:5070;transport=udp>;tag=1",
    "a password": b"<sip:alice:secret@siphub.net>;tag=1",
    "upper case": b"<SIP:Alice@SipHub.NET>;tag=1",
    "an address": b"<sip:alice@192.0.2.55>;tag=1",
    "an ipv6 address": b"<sip:alice@[2001:db8::1]>;tag=1",
    "another domain": b"<sip:alice@example.com>;tag=1",
    "no user": b"<sip:siphub.net>;tag=1",
    "escapes": b"<sip:%61lice%20b@siphub.net>;tag=1",
    "a number": b"<sip:+1-201-555-0123@siphub.net;user=phone>;tag=1",
    "tel": b"<tel:+1-201-555-0123>;tag=1",
    "tel with a domain": b"<tel:7042;phone-context=siphub.net>;tag=1",
    "urn": b"<urn:service:sos>;tag=1",
    "no tag": b"<sip:alice@siphub.net>",
    "tag and parameters": b"<sip:alice@siphub.net>;x=y;tag=1;z",
    "a hash": b"<sip:alice#1@siphub.net>;tag=1",
    "anonymous": b'"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1',
}
_CONTACTS = {
    "one": b"<sip:alice@192.0.2.1>",
    "two": b"<sip:alice@192.0.2.1>;expires=60, <sip:alice@192.0.2.2:5070>;expires=0",
    "two lines": b"<sip:alice@192.0.2.1>;q=0.5\r\nm: sip:alice@192.0.2.2;expires=5",
    "a name": b'"Alice, at home" <sip:alice@192.0.2.1;transport=udp?X=y>;expires=60;+sip.instance="<urn:x>"',
    "star": b"*\r\nExpires: 0",
    "star without Expires": b"*",
    "star and another": b"*, <sip:alice@192.0.2.1>\r\nExpires: 0",
    "Expires": b"<sip:alice@192.0.2.1>\r\nExpires: 90",
    "Expires is no number": b"<sip:alice@192.0.2.1>\r\nExpires: soon",
    "Expires is large": b"<sip:alice@192.0.2.1>;expires=99999999999",
    "mailto": b"<mailto:alice@siphub.net>",
    "tel": b"<tel:+1-201-555-0123>",
    "malformed": b"<sip:alice@",
    "malformed parameter": b"<sip:alice@192.0.2.1>;=",
    "empty": b"",
    "a hundred": b", ".join(b"<sip:alice@192.0.2.%d>" % n for n in range(100)),
    "three hundred": b", ".join(b"<sip:%d@192.0.2.1>" % n for n in range(300)),
    "a fold": b"<sip:alice@192.0.2.1>\r\n ;expires=7",
}
_URIS = {
    "tel": b"tel:+1-201-555-0123",
    "sips": b"sips:siphub.net",
    "an address": b"sip:192.0.2.1",
    "ipv6": b"sip:[2001:db8::1]:5061",
    "parameters": b"sip:siphub.net;transport=udp;lr",
    "headers": b"sip:siphub.net?x=y",
    "urn": b"urn:service:sos",
    "upper case": b"SIP:SIPHUB.NET",
}
_LINES = {
    "a header of 5,000 bytes": b"X-Long: " + b"a" * 5000,
    "a body in the header": b"Subject: \r\n \r\n x",
    "a hundred headers": b"\r\n".join(b"X-%d: y" % n for n in range(100)),
    "300 headers": b"\r\n".join(b"X-%d: y" % n for n in range(300)),
    "Route": b"Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>",
    "Require": b"Require: path, gruu",
    "Proxy-Require": b"Proxy-Require: sec-agree",
    "a name in other letters": b"mAX-fORWARDS: 70",
    "Event": b"Event: presence\r\nAccept: application/pidf+xml",
    "a NUL": b"Subject: a\0b",
    "bytes beyond ASCII": b"Subject: \xff\xfe",
    "P-Asserted-Identity": b"P-Asserted-Identity: <sip:carol@siphub.net>",
}
_COMPACT = (
    b"%b sip:siphub.net SIP/2.0\r\nv:SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"f:<sip:alice@siphub.net>;tag=1\r\n"
    b"t:sip:alice@siphub.net\r\n ;x\r\ni:1\r\nCSeq:9\r\n %b\r\nm:sip:alice@192.0.2.1\r\nl: 2\r\n\r\nhi!"
)


def _forms() -> dict[str, bytes]:
    via, from_ = (
        b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds",
        b"Alice <sip:alice@siphub.net>;tag=1928301774",
    )
    to = b"To: <sip:alice@siphub.net>"
    found = {f"method {method}": _of(method) for method in _METHODS}
    found |= {f"{name.decode()} in compact forms": _COMPACT % (name, name) for name in (b"REGISTER", b"BYE")}
    found |= {f"shortest {method}": shortest(method) for method in ("REGISTER", "INVITE", "MESSAGE")}
    found["call"] = _CALL
    found["bye"] = _BYE
    found["login"] = _LOGIN
    found["auth-int with a body"] = _CALL.replace(b"qop=auth", b"qop=auth-int")
    found["empty lines before it"] = b"\r\n\r\n" + REGISTER
    found["body without length"] = REGISTER.replace(b"Content-Length: 0\r\n", b"") + b"hello"
    found["behind the body"] = REGISTER + b"more"
    found["no Content-Length"] = REGISTER.replace(b"Content-Length: 0\r\n", b"")
    found["no Max-Forwards"] = REGISTER.replace(b"Max-Forwards: 70\r\n", b"")
    found["SIP/3.0"] = REGISTER.replace(b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia")
    found["sip/2.0"] = REGISTER.replace(b"SIP/2.0\r\nVia", b"sip/2.0\r\nVia")
    found["another method in CSeq"] = REGISTER.replace(b"1 REGISTER", b"1 INVITE")
    for method, data in (("register", REGISTER), ("invite", _INVITE), ("login", _LOGIN)):
        for name, value in _VIAS.items():
            found[f"{method}, via: {name}"] = changed(via, value, data)
        for name, value in _FROMS.items():
            found[f"{method}, from: {name}"] = changed(from_, value, data)
            found[f"{method}, to: {name}"] = changed(to, b"To: " + value, data)
        for name, value in _URIS.items():
            line = data.split(b" ")[1]
            found[f"{method}, uri: {name}"] = data.replace(line, value, 1)
        for name, value in _LINES.items():
            found[f"{method}, {name}"] = with_line(value, data)
        for name in ("Via", "From", "To", "Call-ID", "CSeq"):
            lines = data.split(b"\r\n")
            one = [line for line in lines if line.startswith(name.encode() + b":")]
            found[f"{method} without {name}"] = b"\r\n".join(line for line in lines if line not in one)
            found[f"{method}, {name} twice"] = data.replace(one[0], one[0] + b"\r\n" + one[0])
    found |= {f"contact: {name}": with_line(b"Contact: " + value) for name, value in _CONTACTS.items()}
    found |= {
        f"login, contact: {name}": changed(b"<sip:alice@192.0.2.1:5060>;expires=60", value, _LOGIN)
        for name, value in _CONTACTS.items()
    }
    for n in range(2, 70):  # replies around 512 bytes, and around twice the request
        found[f"shortest, a Call-ID of {n}"] = changed(b"\r\ni: 1", b"\r\ni: " + b"1" * n, shortest("INVITE"))
    for size in (2047, 2048, 2049, 8192, 65_507):
        found[f"of {size} bytes"] = with_line(b"X: " + b"a" * (size - len(_LOGIN) - 5), _LOGIN)
    return found


# ------------------------------------------------------------------ damage


def _beginnings() -> dict[str, bytes]:
    found = {f"{n} bytes of a login": _LOGIN[:n] for n in range(0, len(_LOGIN), 5)}
    return found | {f"{n} bytes of a call": _CALL[:n] for n in range(0, len(_CALL), 9)}


_BASES = [REGISTER, _LOGIN, _CALL, _BYE, _COMPACT % (b"REGISTER", b"REGISTER")]
_BASES += [with_line(b"Authorization: " + DIGEST), shortest("INVITE")]
_PIECES = [
    b"\r\n",
    b"\r\n ",
    b"\0",
    b'"',
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"=",
    b" ",
    b"\t",
    b"%",
    b"\xc3\xa4",
]
_PIECES += [b"@", b"*", b"\r", b"\n", b"tag=", b"rport", b"sip:", b"REGISTER", b"expires=0", b"2147483648"]
_HARMLESS = [bytes([c]) for c in b"abefnrstAFR0179-."]


def _damaged(number: int = 800) -> dict[str, bytes]:
    # Of all its methods, random() alone gives the same numbers in each version of Python.
    chance = random.Random(7616).random
    found = {}
    for n in range(number):
        data = _BASES[n % len(_BASES)]
        for _ in range(1 + int(chance() * 2)):
            at, kind = int(chance() * len(data)), int(chance() * 6)
            if kind == 0:
                data = data[:at] + data[at + 1 + int(chance() * 8) :]
            elif kind == 1:
                data = data[:at] + bytes([int(chance() * 256)]) + data[at + 1 :]
            elif kind == 2:
                data = data[:at] + _PIECES[int(chance() * len(_PIECES))] + data[at:]
            elif kind == 3:
                size = 1 + int(chance() * 60)
                data = data[: at + size] + data[at:]
            else:  # a letter or a digit, with which more remain what they were
                data = data[:at] + _HARMLESS[int(chance() * len(_HARMLESS))] + data[at + 1 :]
        found[f"damage {n}"] = data
    return found


@functools.cache
def datagrams() -> dict[str, bytes]:
    """All datagrams, each once; with those of the torture tests where they are at hand."""
    found: dict[str, bytes] = {}
    seen: set[bytes] = set()
    parts = [corpora.sip_requests(), _forms(), _with_credentials(), _beginnings(), _damaged()]
    for part in [*parts, {TORTURE + name: data for name, data in corpora.torture_requests().items()}]:
        for name, data in part.items():
            if data not in seen and len(data) <= 65_535:
                assert name not in found, name
                seen.add(data)
                found[name] = data
    return found
